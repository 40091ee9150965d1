"""How long revoking takes, and how much memory the gateway takes."""
import http.client
import json
import resource
import socket
import subprocess
import threading
import time

from gateway import PATH, call, claims, token_request
from machine import resident_mib


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def revocations(gateway, credential, count):
    """From the call to its receipt, which is durable, and to the first request with
    the token, which is used all the while, that is refused or cut; microseconds."""
    data = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    admin = http.client.HTTPConnection("127.0.0.1", gateway.admin, timeout=20)
    receipts, refusals = [], []
    for _ in range(count):
        token = call(None, "POST", "/oauth2/token", token_request(credential), None, data)["access_token"]
        accepted, refused = threading.Event(), []

        def use():
            own = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
            while not refused:
                try:
                    own.request("GET", PATH, headers={"Authorization": f"Bearer {token}"})
                    answer = own.getresponse()
                    answer.read()
                    over = answer.status == 401
                except (OSError, http.client.HTTPException):
                    over = True  # cut while it was under way
                if over:
                    refused.append(time.perf_counter())
                accepted.set()
            own.close()

        user = threading.Thread(target=use, daemon=True)
        user.start()
        accepted.wait(20)
        began = time.perf_counter()
        body = {"jti": claims(token)["jti"]}
        call(None, "POST", "/v1/revocations", body, gateway.key, admin)
        receipts.append(time.perf_counter() - began)
        user.join(20)
        if not refused:
            raise RuntimeError("a revoked token was not refused within 20 s")
        refusals.append(refused[0] - began)
    return {
        f"{what} {name}": percentile(times, share) * 1e6
        for what, times in (("receipt", receipts), ("first refusal", refusals))
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }


def slow_disk(machine, helper):
    """With every sync 2 ms slower."""
    folder = machine.folder / "slow"
    folder.mkdir()
    done = subprocess.run([helper, "slow-disk", folder], capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"slow-disk: {done.stderr[-500:]}")
    return json.loads(done.stdout)


def with_connections(gateway, token, wanted):
    """How many connections are held, each idle after one request, and the memory."""
    # The gateway has two descriptors for each, and some of its own.
    allowed = (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500) // 2
    request = f"GET {PATH} HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    held = []
    try:
        for _ in range(min(wanted, allowed)):
            connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=10)
            held.append(connection)
            connection.sendall(request)
            if not connection.recv(65536).startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"of {len(held)} connections the last was not served")
        return len(held), resident_mib(gateway.process)
    finally:
        for connection in held:
            connection.close()
