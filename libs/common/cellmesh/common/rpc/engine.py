"""Which of gRPC's two engines for connections a process uses.

With the newer one (its "event engine") each message passes one more thread on each side. Without it a small call on an open
stream took 0.40 ms in place of 0.53, and a quarter less of the server's processor time (`docs/performance.md`, "Storm").
gRPC has no other switch than a list of experiments in the environment, which it reads once, when it is imported. It
complains about names that it doesn't know, so they are given to releases only that were tried.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Final

VARIABLE: Final = "GRPC_EXPERIMENTS"
EXPERIMENTS: Final = "-event_engine_client,-event_engine_listener"
TRIED: Final = ("1.85",)
"""Releases of grpcio that know the experiments."""


def choose_engine() -> bool:
    """Have gRPC use its older engine in this process, and those that it starts.

    To be called where a process begins, before gRPC is imported. A variable that is set already is left as it is.

    Returns:
        Whether it was chosen: not where gRPC has been imported, is of a release that wasn't tried, or was told otherwise.
    """
    if "grpc" in sys.modules or VARIABLE in os.environ or not _is_tried():
        return False
    os.environ[VARIABLE] = EXPERIMENTS
    return True


def _is_tried() -> bool:
    """Look up gRPC's version by what its installation left; `importlib.metadata` would cost a start 40 ms."""
    spec = importlib.util.find_spec("grpc")
    if spec is None or spec.origin is None:
        return False
    installed = Path(spec.origin).parent.parent
    return any(next(installed.glob(f"grpcio-{release}.*.dist-info"), None) for release in TRIED)
