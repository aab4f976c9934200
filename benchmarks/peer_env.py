"""Makes the throwaway environment in which the peer runs; it is never a dependency of ours."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

PEER = "synapse==2.256.0"


def peer_python() -> Path:
    """Return the interpreter of the peer's environment, making it first where needed (about a minute).

    It lies in $CELLMESH_PEER, or in the user's cache folder.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(os.environ.get("CELLMESH_PEER") or cache / "cellmesh-peer")
    python = home / "bin" / "python"
    if (
        not python.exists()
        or subprocess.run([python, "-c", "import synapse"], capture_output=True).returncode
    ):
        print(f"installing {PEER} into {home}, about a minute", file=sys.stderr)
        venv.create(home, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", PEER], check=True)
    return python
