"""Builds the program and its helper as they are shipped, and prints where the
helper lies: cargo gives benches names that change."""
import json
import os
import subprocess
import sys


def main():
    cargo = os.environ.get("CARGO", "cargo")
    command = [cargo, "build", "--quiet", "--locked", "--release", "--bin", "portcullis", "--bench", "helper"]
    done = subprocess.run([*command, "--message-format=json-render-diagnostics"], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(done.returncode)
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "helper":
            print(message["executable"])


main()
