"""Generate Python stubs, typed, from `protos/` into `build/gen/`.

Run by `make stubs` and by the wheel build. Does nothing when the stubs are newer than every .proto
and this file, so that every make target may ask for them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
OUT = ROOT / "build" / "gen"
STAMP = OUT / ".stamp"


def is_fresh(sources: list[Path]) -> bool:
    """Whether the stubs were made after every source last changed, from the same set of files."""
    if not STAMP.exists() or STAMP.read_text() != listing(sources):
        return False
    made = STAMP.stat().st_mtime
    return all(path.stat().st_mtime <= made for path in [*sources, Path(__file__)])


def listing(sources: list[Path]) -> str:
    """The source names, one a line: a removed .proto must make the stubs stale too."""
    return "\n".join(str(path.relative_to(PROTOS)) for path in sources)


def make() -> None:
    """Run protoc with the Python, pyi and gRPC plugins over every .proto."""
    sources = sorted(PROTOS.rglob("*.proto"))
    if is_fresh(sources):
        return
    work = ROOT / "build" / "gen.new"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    well_known = str(resources.files("grpc_tools") / "_proto")
    bin_dir = Path(sys.executable).parent
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{PROTOS}",
        f"-I{well_known}",
        f"--python_out={work}",
        f"--grpc_python_out={work}",
    ]
    for name, flag in (("protoc-gen-mypy", "--mypy_out"), ("protoc-gen-mypy_grpc", "--mypy_grpc_out")):
        plugin = shutil.which(name, path=str(bin_dir)) or shutil.which(name)
        if plugin is None:
            raise SystemExit(f"{name} is not installed: pip install mypy-protobuf")
        command += [f"--plugin={name}={plugin}", f"{flag}=readable_stubs,quiet:{work}"]
    subprocess.run([*command, *map(str, sources)], check=True)
    (work / STAMP.name).write_text(listing(sources))
    # Swapped by renaming, so that a program that starts meanwhile finds the old stubs or the new ones.
    old = ROOT / "build" / "gen.old"
    shutil.rmtree(old, ignore_errors=True)
    if OUT.exists():
        OUT.rename(old)
    work.rename(OUT)
    shutil.rmtree(old, ignore_errors=True)


if __name__ == "__main__":
    make()
