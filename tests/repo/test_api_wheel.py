"""The stubs are a wheel of their own: nothing but the stubs, which import without the rest."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_wheel_has_the_stubs_and_nothing_else(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index",
        "--disable-pip-version-check", str(ROOT / "packaging" / "api"), "-w", str(tmp_path),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 2**20
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "unpacked")
    stubs = [name for name in names if ".dist-info/" not in name]
    assert "cellmesh/api/py.typed" in stubs
    assert {name for name in stubs if not name.startswith("cellmesh/api/")} == set()
    for proto in (ROOT / "protos").rglob("*_service.proto"):
        path = proto.relative_to(ROOT / "protos").with_suffix("")
        assert f"{path}_pb2_grpc.py" in stubs
    code = (
        "import sys\n"
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in type(f).__module__]\n"
        f"sys.path = [{str(tmp_path / 'unpacked')!r}, *(p for p in sys.path if not p.startswith({str(ROOT / 'libs')!r})\n"
        f"    and not p.startswith({str(ROOT / 'services')!r}) and not p.startswith({str(ROOT / 'build')!r}))]\n"
        "import cellmesh.api.cortex.v1.storm_service_pb2_grpc as stubs\n"
        "print(stubs.__file__, [n for n in sys.modules if n.startswith('cellmesh.') and '.api' not in n])\n"
    )
    told = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    path, others = told.stdout.split(" ", 1)
    assert path.startswith(str(tmp_path))
    assert others.strip() == "[]"
