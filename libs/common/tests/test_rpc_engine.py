"""Which engine gRPC uses, each case in a process of its own: gRPC reads its environment once."""

from __future__ import annotations

import os
import subprocess
import sys

from cellmesh.common.rpc.engine import EXPERIMENTS, VARIABLE

BEGIN = "import os\nfrom cellmesh.common.rpc.engine import choose_engine\n"
CONNECT = """
import grpc
grpc.insecure_channel("localhost:1").close()
print(os.environ.get("GRPC_EXPERIMENTS"))
"""


def run(code: str, **variables: str) -> tuple[str, str]:
    """What a process prints, and what it complains about."""
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE} | variables
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip(), done.stderr.strip()


def test_the_release_that_is_installed_knows_the_experiments() -> None:
    assert run(BEGIN + "print(choose_engine())" + CONNECT) == (f"True\n{EXPERIMENTS}", "")


def test_a_name_that_grpc_does_not_know_would_be_seen() -> None:
    _, complaint = run(BEGIN + CONNECT, **{VARIABLE: "-no_such_experiment"})
    assert "no_such_experiment" in complaint


def test_what_the_environment_says_stays() -> None:
    assert run(BEGIN + "print(choose_engine())" + CONNECT, **{VARIABLE: ""}) == ("False", "")


def test_it_is_too_late_behind_the_import() -> None:
    assert run("import grpc\n" + BEGIN + "print(choose_engine())" + CONNECT) == ("False\nNone", "")


def test_a_release_that_was_not_tried_is_left_alone() -> None:
    code = (
        BEGIN
        + "from cellmesh.common.rpc import engine\nengine.TRIED = ('0.1',)\nprint(choose_engine())"
        + CONNECT
    )
    assert run(code) == ("False\nNone", "")
