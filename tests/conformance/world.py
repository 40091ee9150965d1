"""The gateway as it is shipped, in a process of its own, and what it needs:
certificates, credentials, an origin. Everything on free ports of this machine;
nothing outlives `close`.
"""

import datetime
import ipaddress
import json
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from upstream import Upstream

CONFIG = """
[server]
listen = ["127.0.0.1:{data}"]
drain_timeout = "2s"
[server.tls]
listen = ["127.0.0.1:{tls}"]
certificates = [{{ cert = "leaf.pem", key = "leaf.key" }}]
[server.limits]
header_timeout = "5s"
[admin]
listen = "127.0.0.1:{admin}"
[metrics]
listen = "127.0.0.1:{metrics}"
[store]
engine = "sled"
path = "state"
[oauth]
issuer = "http://127.0.0.1:{data}"
audience = "campaign-api"
token_info_path = "/token"
[[upstream]]
name = "origin"
addresses = ["127.0.0.1:{origin}"]
[[upstream]]
name = "sockets"
addresses = ["127.0.0.1:{sockets}"]
[[upstream]]
name = "grpc"
addresses = ["127.0.0.1:{grpc}"]
protocol = "h2c"
[[role]]
id = "reader"
label = "Reader"
description = "Reads"
scopes = ["campaign.list"]
[[role]]
id = "writer"
label = "Writer"
description = "Writes"
scopes = ["campaign.create"]
[[route]]
name = "any"
path = "/any/{{account}}/{{*rest}}"
upstream = "origin"
environment = "any"
allow = {{ GET = "@authenticated", POST = "@authenticated", PUT = "@authenticated", PATCH = "@authenticated", DELETE = "@authenticated", OPTIONS = "@authenticated" }}
[[route]]
name = "protected"
path = "/protected"
upstream = "origin"
account = "any"
environment = "any"
allow = {{ GET = "campaign.list" }}
[[route]]
name = "public"
path = "/public/{{*rest}}"
upstream = "origin"
allow = {{ GET = "@public", POST = "@public" }}
[[route]]
name = "socket"
path = "/sockets/{{*rest}}"
upstream = "sockets"
account = "any"
environment = "any"
allow = {{ GET = "@authenticated" }}
[[route]]
name = "open-socket"
path = "/open-sockets/{{*rest}}"
upstream = "sockets"
allow = {{ GET = "@public" }}
[[route]]
name = "echo"
path = "/demo.Echo/{{method}}"
upstream = "grpc"
account = "any"
environment = "any"
allow = {{ POST = "@authenticated" }}
[[route]]
name = "closed"
path = "/demo.Closed/{{method}}"
upstream = "grpc"
account = "any"
environment = "any"
allow = {{ POST = "campaign.create" }}
"""


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def make_certificates(folder):
    """An authority, `ca.pem`, and what it signed for localhost: `leaf.pem`, `leaf.key`."""

    def name(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.datetime.now(datetime.timezone.utc)
    authority, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def certificate(subject, key):
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("Conformance authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=30))
        )

    root = (
        certificate("Conformance authority", authority)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(authority, hashes.SHA256())
    )
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        certificate("localhost", leaf)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(authority, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(root.public_bytes(pem))
    (folder / "leaf.pem").write_bytes(made.public_bytes(pem))
    key = leaf.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "leaf.key").write_bytes(key)


class World:
    def __init__(self, program):
        self.program = program
        self.folder = Path(tempfile.mkdtemp(prefix="conformance-"))
        self.children = []
        self.upstream = Upstream()
        ports = ["data", "tls", "admin", "metrics", "sockets", "grpc"]
        self.ports = {name: free_port() for name in ports} | {"origin": self.upstream.port}
        make_certificates(self.folder)
        (self.folder / "portcullis.toml").write_text(CONFIG.format(**self.ports))
        made = self.run("admin", "create", "--name", "root", "--role", "super-admin")
        self.key = made.stdout.strip()
        self.gateway = self.spawn(
            [program, "serve", "--config", "portcullis.toml"], "gateway", cwd=self.folder
        )
        self.wait_until(lambda: self.get(self.metrics + "/readyz"), "the gateway to be ready")
        self.credential = self.mint(["reader"])
        self.token = self.trade(self.credential)

    base = property(lambda self: f"http://127.0.0.1:{self.ports['data']}")
    secure = property(lambda self: f"https://localhost:{self.ports['tls']}")
    admin = property(lambda self: f"http://127.0.0.1:{self.ports['admin']}")
    metrics = property(lambda self: f"http://127.0.0.1:{self.ports['metrics']}")
    ca = property(lambda self: str(self.folder / "ca.pem"))

    def run(self, *arguments):
        command = [self.program, *arguments, "--config", "portcullis.toml"]
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=True, timeout=60
        )

    def spawn(self, command, name, **more):
        """Starts what `close` ends; what it says goes to `{name}.log`."""
        log = open(self.folder / f"{name}.log", "w")
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **more)
        self.children.append(child)
        return child

    def stop(self, child):
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        self.children.remove(child)

    def close(self):
        for child in list(reversed(self.children)):
            self.stop(child)
        shutil.rmtree(self.folder, ignore_errors=True)

    def wait_until(self, condition, what, patience=30):
        end = time.monotonic() + patience
        while time.monotonic() < end:
            try:
                if condition():
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise TimeoutError(f"waited {patience} s for {what}")

    def wait_for_port(self, port):
        self.wait_until(lambda: socket.create_connection(("127.0.0.1", port)).close() is None, port)

    def get(self, url):
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read()

    def get_with(self, path, token=None):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(self.base + path, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    def post(self, url, body, key=None):
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def mint(self, roles):
        body = {"name": "conformance", "account": "acme", "roles": roles}
        return self.post(self.admin + "/v1/credentials", body, self.key)

    def trade(self, credential):
        body = {"grant_type": "client_credentials"}
        body |= {key: credential[key] for key in ("client_id", "client_secret")}
        return self.post(self.base + "/oauth2/token", body)["access_token"]

    def connect(self, secure=False, protocols=("h2",)):
        """A raw connection to the data plane."""
        port = self.ports["tls" if secure else "data"]
        plain = socket.create_connection(("127.0.0.1", port), timeout=20)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not secure:
            return plain
        context = ssl.create_default_context(cafile=self.ca)
        context.set_alpn_protocols(list(protocols))
        return context.wrap_socket(plain, server_hostname="localhost")

    def is_alive(self):
        return self.gateway.poll() is None

    def memory_kib(self):
        for line in Path(f"/proc/{self.gateway.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        return 0

    def panics(self):
        return "panicked" in (self.folder / "gateway.log").read_text(errors="replace")
