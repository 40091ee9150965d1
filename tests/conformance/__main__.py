"""Runs the suites against the gateway: `python tests/conformance PROGRAM [SUITE...]`."""

import importlib
import os
import sys

from report import Report, Skip
from world import World

SUITES = ["metrics", "clients", "grpc_clients", "oauth", "http2", "websocket", "tls", "bypass"]


def main():
    program, wanted = os.path.abspath(sys.argv[1]), sys.argv[2:] or SUITES
    world, failed = World(program), False
    try:
        for name in wanted:
            report = Report(name)
            with report.case("the suite itself"):
                importlib.import_module(name).run(world, report)
                report.passed -= 1
            with report.case("nothing but requests reached the origin"):
                assert not world.upstream.nonsense, world.upstream.nonsense
            print(report.line(), flush=True)
            for failure in report.failures:
                print("   ", failure)
            failed |= bool(report.failures)
    finally:
        world.close()
    return 1 if failed else 0


sys.exit(main())
