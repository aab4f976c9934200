"""AHA's address. The other cells remember it, so it stays the same from one start to the next."""

from __future__ import annotations

import re
import socket
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from cellmesh.common.addresses import split_host_port
from cellmesh.common.errors import BadConfValu, NoSuchCert
from cellmesh.common.files import write_atomically
from cellmesh.common.tls.folder import IdentityFolder

HOST: Final = "127.0.0.1"
CONFIG_FILE: Final = "cell.toml"

_LISTEN = re.compile(r'^listen *= *"[^"]*"$', re.MULTILINE)


def read_settings(folder: Path) -> dict[str, object]:
    """The settings in a cell's folder.

    Raises:
        BadConfValu: the file cannot be read.
    """
    path = folder / CONFIG_FILE
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadConfValu(f"the settings file {path} cannot be read: {error}", origin=str(path)) from error


def write_first_settings(folder: Path, network: str) -> None:
    """Write AHA's settings when its folder is made."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = (
        "# Written by `cellmesh up`. The other cells remember this address, so it stays the same.\n"
        f'network = "{network}"\nlisten = "{HOST}:{free_port()}"\n'
    )
    write_atomically(folder / CONFIG_FILE, text.encode())


def move_if_busy(folder: Path, identities: Iterable[IdentityFolder]) -> str:
    """Give AHA another port when a program took the one it had, and tell those who remember the old one.

    Only while none of them runs: who runs would keep the old address.

    Returns:
        The new address, or empty when the old one is free.
    """
    listen = str(read_settings(folder).get("listen", ""))
    if not listen:
        return ""
    try:
        host, port = split_host_port(listen)
    except ValueError:
        # AHA itself says best what is wrong with it.
        return ""
    if host != HOST or not port or is_free(host, port):
        return ""
    address = f"{HOST}:{free_port()}"
    path = folder / CONFIG_FILE
    text, count = _LISTEN.subn(f'listen = "{address}"', path.read_text("utf-8"), count=1)
    if not count:
        # Not as we write it, so a person chose it: AHA will say that the port is taken.
        return ""
    write_atomically(path, text.encode())
    for identity in identities:
        try:
            mesh = identity.mesh()
        except NoSuchCert:
            continue
        if mesh is not None:
            identity.store_mesh(replace(mesh, registry_addresses=(address,)))
    return address


def is_free(host: str, port: int) -> bool:
    """Whether a port can be listened at."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
