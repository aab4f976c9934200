"""A stock gRPC client as a process of its own, and its bootstrap. `xds_client.py` is what it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

CLIENT = Path(__file__).with_name("xds_client.py")


class Client:
    """A stock client in a process of its own. A context manager."""

    def __init__(self, face: str, bootstrap: Path) -> None:
        environment = {
            **os.environ,
            "GRPC_XDS_BOOTSTRAP": str(bootstrap),
            "GRPC_EXPERIMENTAL_XDS_ENDPOINT_FALLBACK": "true",
        }
        self._process = subprocess.Popen(
            [sys.executable, str(CLIENT), face],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *unused: object) -> None:
        self._process.kill()
        self._process.wait()

    def begin(self, name: str, call: str = "info", **options: Any) -> None:
        """Have it call."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"name": name, "call": call, **options}) + "\n")
        self._process.stdin.flush()

    def end(self) -> dict[str, Any]:
        """What came of it: how often which answer, and when each was first seen."""
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def ask(self, name: str, call: str = "info", **options: Any) -> dict[str, int]:
        """Call; how often which answer came."""
        self.begin(name, call, **options)
        return self.end()["found"]


def write_bootstrap(identity: Path, out: Path, *options: str) -> list[str]:
    """Have the command write a bootstrap; the servers that are in it."""
    command = [str(Path(sys.executable).parent / "cellmesh"), "aha", "bootstrap", "--out", str(out)]
    subprocess.run([*command, "--identity", str(identity), *options], check=True, timeout=30)
    return [server["server_uri"] for server in json.loads(out.read_text())["xds_servers"]]
