"""Builds the images of deploy/Containerfile without an engine, and tries them: `make images`.

    base     root file systems out of Debian packages, as images to build on: one to build with, one to run on
    wheels   what is to be installed, fetched by this machine's pip with its own settings
    build    `buildah build` of the Containerfile, once for each kind of cell
    try      a mesh of one container each, as the image's user, in a chroot; health over HTTP, calls over mutual TLS

Needs root, and buildah and mmdebstrap. Where packages come from is this machine's matter: its apt sources, its pip settings.
Give BASE and BUILD_BASE to build on images of your own, such as those that the Containerfile names.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

from cellmesh.api.common.v1 import cell_service_pb2, cell_service_pb2_grpc
from cellmesh.cli.mesh import ports
from cellmesh.cli.mesh.mesh import provision
from cellmesh.client import open_cell
from cellmesh.common.cell.folder import read_run

ROOT: Final = Path(__file__).resolve().parents[1]
KINDS: Final = ("aha", "axon", "cryotank", "cortex")
USER: Final = 10001
NEEDED: Final = ("buildah", "mmdebstrap")
RELEASE: Final = "bookworm"
PYTHON: Final = "3.11"
HOST: Final = "127.0.0.1"
SERVES_S: Final = 60.0
STOPS_S: Final = 30.0

PACKAGES: Final = (
    "base-files", "base-passwd", "ca-certificates", "coreutils", "dash", "debconf", "diffutils", "dpkg", "findutils",
    "grep", "gzip", "libc-bin", "libstdc++6", "perl-base", "python3", "sed", "tar",
)  # fmt: skip
"""A shell and what `kubectl exec` and the backup job use; perl-base is what packages are configured with."""

BUILD_PACKAGES: Final = ("python3-venv",)
LEFT_OUT: Final = ("doc", "man", "info", "locale", "lintian")
QUERY: Final = "[ inet:ipv4=192.0.2.7 ]"


class Images:
    """Builds and tries the images.

    Args:
        folder: Where base images, wheels, images and the folders of the tried cells are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
        self._environment.setdefault("STORAGE_DRIVER", "vfs")

    def tag(self, kind: str) -> str:
        """What an image is called."""
        return f"localhost/cellmesh/{kind}:{_project()['version']}"

    def buildah(self, *arguments: str) -> str:
        """Run buildah on a storage of its own; what it prints. Tells what it said when it fails."""
        storage = ("--root", str(self.folder / "storage"), "--runroot", str(self.folder / "run"))
        done = subprocess.run(
            ["buildah", *storage, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"buildah {arguments[0]} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
        return done.stdout.strip()

    def make_base(self, name: str, packages: Sequence[str]) -> str:
        """An image out of Debian packages, from where this machine has its own; made once."""
        image = f"localhost/cellmesh-{name}"
        if image in self.buildah("images", "--format", "{{.Name}}").split():
            return image
        archive = self.folder / f"{name}.tar"
        sources = [path for path in Path("/etc/apt").rglob("*") if path.suffix in (".list", ".sources")]
        command = [
            "mmdebstrap", "--quiet", "--variant=custom", f"--include={','.join(packages)}",
            *(f"--dpkgopt=path-exclude=/usr/share/{left}/*" for left in LEFT_OUT),
            "--customize-hook=rm -rf $1/var/cache/apt $1/var/lib/apt/lists $1/var/log/*",
            RELEASE, str(archive), *map(str, sorted(sources)),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"mmdebstrap failed:\n{done.stderr[-4000:]}")
        container = self.buildah("from", "scratch")
        self.buildah("add", container, str(archive), "/")
        self.buildah("commit", "--rm", container, image)
        archive.unlink()
        return image

    def fetch_wheels(self) -> Path:
        """A folder of everything that the images install."""
        wheels = self.folder / "wheels"
        command = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check"]
        only = ["--only-binary=:all:", "--python-version", PYTHON, "--dest", str(wheels)]
        subprocess.run([*command, *only, *_requirements()], check=True)
        return wheels

    def build(self, kind: str, bases: Mapping[str, str], wheels: Path) -> None:
        """The image of one kind of cell."""
        given = {**bases, "CELL": kind, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
        self.buildah(
            "build", "--layers", "--file", str(ROOT / "deploy" / "Containerfile"),
            "--ignorefile", str(ROOT / "deploy" / "Containerfile.dockerignore"),
            *(f"--build-arg={name}={value}" for name, value in given.items()),
            "--volume", f"{wheels}:/wheels:ro", "--tag", self.tag(kind), str(ROOT),
        )  # fmt: skip

    def sizes(self, kind: str) -> tuple[int, int, int]:
        """Bytes of the files of an image, of those that are the cell's, and of what a registry would hold."""
        container = self.buildah("from", "--pull-never", self.tag(kind))
        root = Path(self.buildah("mount", container))
        found = _size_bytes(root), _size_bytes(root / "opt" / "cellmesh")
        self.buildah("rm", container)
        archive = self.folder / f"{kind}.tar"
        self.buildah("push", self.tag(kind), f"oci-archive:{archive}")
        packed = archive.stat().st_size
        archive.unlink()
        return *found, packed


class Trial:
    """A mesh out of the images: a container each. A context manager.

    Args:
        images: The images, built.
    """

    def __init__(self, images: Images) -> None:
        self._images = images
        self._folder = images.folder / "trial"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._roots: dict[str, tuple[Path, float]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Trial:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        return self

    def __exit__(self, *error: object) -> None:
        for kind, process in self._processes.items():
            if process.poll() is None:
                # The cell first: it would outlive the process that runs the container.
                run = read_run(self._cell(kind))
                if run is not None:
                    with suppress(ProcessLookupError):
                        os.kill(int(run["pid"]), signal.SIGKILL)
                process.kill()
                process.wait()
        self._stack.close()

    def run(self) -> None:
        """Start a cell of each kind, call each, stop them, and see that nothing was written but to the volume."""
        self._start("aha", {"enroll_listen": f"{HOST}:{ports.free_port()}", "network": "images"})
        for kind in KINDS[1:]:
            with open_cell(f"unix://{self._cell('aha')}") as client:
                url = provision(client, instance=f"00.{kind}")
            self._start(kind, {"enroll": url})
        identity = self._cell("aha") / "users" / "root"
        for kind in KINDS:
            with open_cell(f"aha://{kind}", identity=identity, timeout_s=20.0) as client:
                stub: Any = client.stub(cell_service_pb2_grpc.CellServiceStub)
                cell = stub.GetCellInfo(cell_service_pb2.GetCellInfoRequest()).cell
            assert cell.kind == kind, cell
            print(
                f"  {kind}: called as aha://{kind} over mutual TLS, it is {cell.name}, version {cell.version}"
            )
        # As `kubectl exec cortex-0 -- cellmesh storm` does: the command line of the image.
        told = self._in_container("cortex", "cellmesh", "storm", "--dir", "/data/cell", "-c", QUERY)
        assert "192.0.2.7" in told, told
        print(f"  cortex: {QUERY} answered by its own command line")
        for kind in reversed(KINDS):
            self._stop(kind)

    def _start(self, kind: str, settings: Mapping[str, str]) -> None:
        images, data = self._images, self._cell(kind)
        data.mkdir(parents=True)
        os.chown(data, USER, USER)
        container = images.buildah("from", "--pull-never", images.tag(kind))
        self._stack.callback(images.buildah, "rm", container)
        self._roots[kind] = Path(images.buildah("mount", container)), time.time()
        health = f"{HOST}:{ports.free_port()}"
        given = {
            "dir": "/data/cell",
            "listen": f"{HOST}:0",
            "metrics_listen": health,
            "stop_grace_s": "2",
            **settings,
        }
        self._processes[kind] = subprocess.Popen(
            self._command(kind, container, given, "cellmesh", kind, "serve"),
            env=images._environment,
            stdout=(self._folder / f"{kind}.log").open("wb"),
            stderr=subprocess.STDOUT,
        )
        self._wait_ready(kind, health)
        run = read_run(self._cell(kind))
        assert run is not None
        owner = Path(f"/proc/{run['pid']}").stat().st_uid
        assert owner == USER, f"the {kind} runs as user {owner}"
        print(f"  {kind}: serves as user {owner}, http://{health}/readyz says ready")

    def _command(self, kind: str, container: str, settings: Mapping[str, str], *command: str) -> list[str]:
        storage = (
            "--root",
            str(self._images.folder / "storage"),
            "--runroot",
            str(self._images.folder / "run"),
        )
        environment = [
            f"--env=CELLMESH_{kind.upper()}_{name.upper()}={value}" for name, value in settings.items()
        ]
        volume = f"--volume={self._cell(kind)}:/data/cell"
        return [
            "buildah",
            *storage,
            "run",
            "--isolation=chroot",
            volume,
            *environment,
            container,
            "--",
            *command,
        ]

    def _in_container(self, kind: str, *command: str) -> str:
        container = self._images.buildah("from", "--pull-never", self._images.tag(kind))
        try:
            done = subprocess.run(
                self._command(kind, container, {}, *command),
                env=self._images._environment, capture_output=True, text=True, check=True, timeout=60,
            )  # fmt: skip
        finally:
            self._images.buildah("rm", container)
        return done.stdout

    def _wait_ready(self, kind: str, health: str) -> None:
        end_s = time.monotonic() + SERVES_S
        while True:
            try:
                with urllib.request.urlopen(f"http://{health}/readyz", timeout=5.0) as answer:
                    assert answer.read().strip() == b"ready"
                return
            except OSError:
                ended = self._processes[kind].poll() is not None
                if ended or time.monotonic() > end_s:
                    sys.exit(
                        f"the {kind} does not serve:\n{(self._folder / f'{kind}.log').read_text()[-4000:]}"
                    )
                time.sleep(0.1)

    def _stop(self, kind: str) -> None:
        """SIGTERM, as from kubelet; then look what the cell has left in the root of its container."""
        run = read_run(self._cell(kind))
        assert run is not None
        os.kill(int(run["pid"]), signal.SIGTERM)
        code = self._processes[kind].wait(STOPS_S)
        assert code == 0, f"the {kind} ended with {code}"
        root, since = self._roots[kind]
        written = [path for path in root.rglob("*") if _is_written(path, since)]
        outside = [path for path in written if not _is_volume(path.relative_to(root))]
        assert not outside, f"the {kind} wrote to {outside}: its root could not be read-only"
        print(f"  {kind}: SIGTERM ends it with code 0, and it wrote nothing outside of /data and /tmp")

    def _cell(self, kind: str) -> Path:
        return self._folder / kind / "cell"


def _is_written(path: Path, since: float) -> bool:
    found = path.lstat()
    return path.is_file() and not path.is_symlink() and found.st_mtime > since


def _is_volume(path: Path) -> bool:
    # /etc/hosts, /etc/hostname, /etc/resolv.conf are put there by who runs containers.
    return path.parts[0] in ("data", "tmp", "proc", "sys", "dev", "run") or str(path) in (
        "etc/hosts", "etc/hostname", "etc/resolv.conf",
    )  # fmt: skip


def _size_bytes(root: Path) -> int:
    return sum(path.lstat().st_size for path in root.rglob("*") if path.is_symlink() or path.is_file())


def _project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: dict[str, Any] = tomllib.load(file)["project"]
    return found


def _requirements() -> list[str]:
    """What the images install and what their build takes, as pip names it."""
    project = _project()
    with (ROOT / "pyproject.toml").open("rb") as file:
        build: list[str] = tomllib.load(file)["build-system"]["requires"]
    wanted = [*project["dependencies"], *build]
    for extra in ("cell", *KINDS):
        wanted += [one for one in project["optional-dependencies"][extra] if not one.startswith("cellmesh")]
    return sorted(set(wanted))


def main() -> None:
    """Build, try, and print sizes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dir", type=Path, default=ROOT / "build" / "images", help="where everything is kept"
    )
    parser.add_argument("--no-try", action="store_true", help="only build")
    options = parser.parse_args()
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or os.geteuid():
        sys.exit(
            f"`make images` needs root, and these programs: {', '.join(missing or NEEDED)} (apt-get install)"
        )
    options.dir.mkdir(parents=True, exist_ok=True)
    images = Images(options.dir.resolve())
    began_s = time.monotonic()

    def told(what: str) -> None:
        print(f"{time.monotonic() - began_s:5.0f} s  {what}", flush=True)

    bases = {name: os.environ[name] for name in ("BASE", "BUILD_BASE") if os.environ.get(name)}
    if not bases:
        bases["BASE"] = images.make_base("base", PACKAGES)
        bases["BUILD_BASE"] = images.make_base("build-base", (*PACKAGES, *BUILD_PACKAGES))
    told(f"built on {json.dumps(bases)}")
    wheels = images.fetch_wheels()
    told(f"{len(list(wheels.iterdir()))} wheels")
    for kind in KINDS:
        images.build(kind, bases, wheels)
        whole, own, packed = (size / 1e6 for size in images.sizes(kind))
        told(f"{images.tag(kind)}: {whole:.0f} MB, {own:.0f} MB of them the cell's, {packed:.0f} MB packed")
    if not options.no_try:
        with Trial(images) as trial:
            trial.run()
        told("tried")


if __name__ == "__main__":
    main()
