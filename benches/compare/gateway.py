"""Portcullis as a contender: configuration, credentials, tokens, revocations.

One store is made once and copied for each gateway, so that one set of tokens
is good at all of them.
"""
import base64
import hashlib
import hmac
import http.client
import json
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from machine import PROGRAM, PROXY_CORE, free_port

CLIENTS = 1000
ACCOUNT = "/v1/accounts/acme/account_environments/prod"
# The one that is asked for lies amid its neighbours, like theirs in shape.
PATH = f"{ACCOUNT}/campaigns/128"
OUT_OF_SCOPE = f"{ACCOUNT}/library/128"


def call(port, method, path, body=None, key=None, connection=None):
    """One JSON call; on a connection of its own unless one is given."""
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    own = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    own.request(method, path, body and json.dumps(body), headers)
    answer = own.getresponse()
    text = answer.read()
    if connection is None:
        own.close()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")
    return json.loads(text or b"null")


class Gateway:
    """One running Portcullis."""

    def __init__(self, machine, origin, name, routes=200, store=None, oauth="", wrap=(), patience=60):
        self.machine, self.name = machine, name
        self.port, self.admin, self.metrics = free_port(), free_port(), free_port()
        self.folder = machine.folder / name
        self.folder.mkdir()
        if store:
            shutil.copytree(store / "state", self.folder / "state")
            shutil.copy(store / "state.key", self.folder / "state.key")
        self.config = self.folder / "portcullis.toml"
        self.config.write_text(self.toml(origin, routes, oauth))
        self.wrap, self.patience = list(wrap), patience
        self.key = None

    def toml(self, origin, routes, oauth):
        shape = "/v1/accounts/{account}/account_environments/{environment}"
        named = [("campaigns", "campaign.list"), ("library", "library.clear")]
        named += [(f"r{n:05}", "campaign.list") for n in range(routes - len(named))]
        listed = "".join(
            f'[[route]]\nname = "{name}"\npath = "{shape}/{name}/{{id}}"\nupstream = "o"\n'
            f'allow = {{ GET = "{scope}" }}\n'
            for name, scope in named
        )
        return (
            f'[server]\nlisten = ["127.0.0.1:{self.port}"]\nthreads = 1\ndrain_timeout = "1s"\n'
            f'[admin]\nlisten = "127.0.0.1:{self.admin}"\n[metrics]\nlisten = "127.0.0.1:{self.metrics}"\n'
            f'[store]\npath = "{self.folder}/state"\nkey_file = "{self.folder}/state.key"\n'
            f'[oauth]\nissuer = "https://gateway.example"\n{oauth}\n'
            f'[[upstream]]\nname = "o"\naddresses = ["127.0.0.1:{origin}"]\n'
            '[[role]]\nid = "reader"\nlabel = "r"\ndescription = "r"\nscopes = ["campaign.list"]\n' + listed
        )

    def make_admin(self):
        made = subprocess.run(
            [PROGRAM, "admin", "create", "--config", self.config, "--name", "bench", "--role", "super-admin"],
            check=True, capture_output=True, text=True,
        )
        self.key = made.stdout.strip()

    def revoke_beforehand(self, helper, count):
        """Fills the store while nobody holds it."""
        subprocess.run([helper, "revoke", self.folder / "state", str(count)], check=True)

    def start(self):
        # All ports are bound together, after everything is loaded.
        self.process = self.machine.start(
            PROXY_CORE, [*self.wrap, PROGRAM, "serve", "--config", self.config], self.metrics, self.patience
        )
        return self

    def stop(self):
        self.machine.stop(self.process)

    def forget_tokens(self):
        """A reload makes a new snapshot, whose cache is empty."""
        reloads = "portcullis_config_reloads_total"
        before = self.metric(reloads)
        self.process.send_signal(signal.SIGHUP)
        for _ in range(500):
            if self.metric(reloads) > before:
                return
            time.sleep(0.01)
        raise RuntimeError("SIGHUP was not followed by a reload")

    def metric(self, name):
        """The sum over its labels; 0 if it is not there."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics, timeout=20)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        lines = (line for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name)
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def credentials(self, count):
        wanted = {"name": "bench", "account": "acme", "roles": ["reader"]}
        # Several at once: one sync is good for all that wait for it.
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(
                lambda _: call(self.admin, "POST", "/v1/credentials", wanted, self.key), range(count)
            ))

    def tokens(self, credentials, count):
        """Minted over HTTP, in rotation over the credentials."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        made = []
        for n in range(count):
            body = token_request(credentials[n % len(credentials)])
            made.append(call(None, "POST", "/oauth2/token", body, None, connection)["access_token"])
        return made


def token_request(credential):
    return {
        "grant_type": "client_credentials",
        "client_id": credential["client_id"],
        "client_secret": credential["client_secret"],
    }


def claims(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed_hs256(token, secret):
    """The same claims, signed as HAProxy's cheapest check wants it."""
    text = encoded(b'{"alg":"HS256","typ":"JWT"}') + "." + token.split(".")[1]
    return text + "." + encoded(hmac.new(secret, text.encode(), hashlib.sha256).digest())


def garbled(token):
    """The same token with a signature that is no good but well-formed."""
    text, signature = token.rsplit(".", 1)
    return text + "." + ("A" if signature[0] != "A" else "B") + signature[1:]
