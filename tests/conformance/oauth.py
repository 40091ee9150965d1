"""OAuth clients: oauth4webapi and openid-client (npm), authlib, requests-oauthlib and
httpx-oauth (PyPI). Each trades, uses, introspects, revokes in its own way.
"""

import asyncio
import os
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import httpx
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from httpx_oauth.oauth2 import OAuth2
from oauthlib.oauth2 import BackendApplicationClient
from oauthlib.oauth2.rfc6749.errors import InvalidClientError, InvalidScopeError
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from report import Skip

NODE = Path(__file__).parent.parent / "clients/oauth"


def node(world, report, credential):
    with report.case("oauth4webapi and openid-client"):
        if not shutil.which("node") or not (NODE / "node_modules").exists():
            raise Skip("not installed")
        said = subprocess.run(
            ["node", "drive.mjs", world.base, credential["client_id"], credential["client_secret"]],
            cwd=NODE, capture_output=True, text=True, timeout=60,
        )
        lines = said.stdout.splitlines()
        failures = [line for line in lines if line.startswith("FAILED")]
        report.count(sum(line.startswith("ok ") for line in lines) - 1, failures)
        assert lines and (said.returncode == 0 or failures), said.stderr


def raises(kind, error, call):
    try:
        call()
    except kind as raised:
        assert raised.error == error, raised
        return
    raise AssertionError(f"no {error}")


def authlib(world, report, credential):
    token_url, introspect, revoke = (
        f"{world.base}/oauth2/{word}" for word in ("token", "introspect", "revoke")
    )
    for method in ("client_secret_basic", "client_secret_post"):
        session = AuthlibSession(
            credential["client_id"], credential["client_secret"],
            token_endpoint_auth_method=method, revocation_endpoint_auth_method=method,
        )
        with report.case(f"authlib, {method}: grant, use, introspect, revoke"):
            token = session.fetch_token(token_url, grant_type="client_credentials")
            assert token["token_type"] == "Bearer" and not token.is_expired()
            assert session.get(world.base + "/any/acme/x").status_code == 200
            assert session.introspect_token(introspect, token["access_token"]).json()["active"]
            assert session.revoke_token(revoke, token["access_token"]).status_code == 200
            answer = session.introspect_token(introspect, token["access_token"])
            assert answer.json() == {"active": False}, answer.text
            assert session.get(world.base + "/any/acme/x").status_code == 401
        with report.case(f"authlib, {method}: a scope that is not held"):
            raises(OAuthError, "invalid_scope", lambda: session.fetch_token(
                token_url, grant_type="client_credentials", scope="library.clear"))
        with report.case(f"authlib, {method}: a wrong secret"):
            wrong = AuthlibSession(credential["client_id"], "wrong", token_endpoint_auth_method=method)
            raises(OAuthError, "invalid_client", lambda: wrong.fetch_token(
                token_url, grant_type="client_credentials"))

    async def over_httpx():
        async with AsyncOAuth2Client(credential["client_id"], credential["client_secret"]) as client:
            await client.fetch_token(token_url, grant_type="client_credentials")
            assert (await client.get(world.base + "/any/acme/x")).status_code == 200

    with report.case("authlib over httpx"):
        asyncio.run(over_httpx())


def requests_oauthlib(world, report, credential):
    # It refuses plain HTTP otherwise; this is loopback.
    os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
    client_id, secret = credential["client_id"], credential["client_secret"]
    url = world.base + "/oauth2/token"
    for name, how in [
        ("basic", {"auth": HTTPBasicAuth(client_id, secret)}),
        ("post", {"client_secret": secret, "include_client_id": True}),
    ]:
        with report.case(f"requests-oauthlib, {name}: grant and use"):
            session = OAuth2Session(client=BackendApplicationClient(client_id))
            session.fetch_token(url, **how)
            assert session.authorized
            assert session.get(world.base + "/any/acme/x").status_code == 200
        with report.case(f"requests-oauthlib, {name}: a scope that is not held"):
            session = OAuth2Session(client=BackendApplicationClient(client_id, scope="library.clear"))
            raises(InvalidScopeError, "invalid_scope", lambda: session.fetch_token(url, **how))
    with report.case("requests-oauthlib: a wrong secret"):
        session = OAuth2Session(client=BackendApplicationClient(client_id))
        raises(InvalidClientError, "invalid_client", lambda: session.fetch_token(
            url, auth=HTTPBasicAuth(client_id, "wrong")))


def httpx_oauth(world, report, credential):
    for method in ("client_secret_basic", "client_secret_post"):
        with report.case(f"httpx-oauth, {method}: revoke"):
            token = world.trade(credential)
            client = OAuth2(
                credential["client_id"], credential["client_secret"], world.base + "/authorize",
                world.base + "/oauth2/token", revoke_token_endpoint=world.base + "/oauth2/revoke",
                token_endpoint_auth_method=method, revocation_endpoint_auth_method=method,
            )
            headers = {"Authorization": f"Bearer {token}"}
            assert httpx.get(world.base + "/any/acme/x", headers=headers).status_code == 200
            asyncio.run(client.revoke_token(token))
            assert httpx.get(world.base + "/any/acme/x", headers=headers).status_code == 401


def run(world, report):
    report.version = "authlib " + version("authlib")
    credential = world.mint(["reader"])
    for part in (node, authlib, requests_oauthlib, httpx_oauth):
        part(world, report, credential)
