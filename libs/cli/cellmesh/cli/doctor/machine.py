"""This machine and its processes: limits, disk, folders, ports."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cellmesh.cli.doctor.finding import Finding, ok, problem, warning
from cellmesh.cli.output import size_text
from cellmesh.common.addresses import split_host_port

FILES_MIN: Final = 1024
"""Open files below which a cell soon refuses connections: each costs one, and so does each stream of a backup."""

FILES_GOOD: Final = 4096
DISK_GOOD_BYTES: Final = 1 << 30
DISK_GOOD_SHARE: Final = 0.05
SPACE_MIN_BYTES: Final = 64 << 20
"""The default of the setting space_min_bytes, below which a cell takes no writes."""

CONNECT_S: Final = 3.0
NETWORK_FILE_SYSTEMS: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs"}
)


def check_own_limits() -> Finding:
    """The open files that processes started from here may have."""
    return _files_finding(
        "this machine", resource.getrlimit(resource.RLIMIT_NOFILE)[0], "a process started here"
    )


def check_process_limits(subject: str, pid: int) -> Finding | None:
    """The open files that a running process may have; None where the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("Max open files"):
            soft = line.split()[3]
            limit = resource.RLIM_INFINITY if soft == "unlimited" else int(soft)
            return _files_finding(subject, limit, f"process {pid}")
    return None


def _files_finding(subject: str, limit: int, who: str) -> Finding:
    if limit == resource.RLIM_INFINITY or limit >= FILES_GOOD:
        shown = "any number of" if limit == resource.RLIM_INFINITY else str(limit)
        return ok("limits", subject, f"{who} may have {shown} files open")
    advice = "raise it before the cell starts: `ulimit -n 65536`, LimitNOFILE=65536 of a systemd unit"
    message = f"{who} may have only {limit} files open; each connection takes one"
    make = problem if limit < FILES_MIN else warning
    return make("limits", subject, message, advice)


def check_disk(subject: str, folder: Path) -> Iterator[Finding]:
    """The room on a folder's disk, and what kind of disk it is."""
    usage = shutil.disk_usage(folder)
    left = f"{size_text(usage.free)} of {size_text(usage.total)} are free at {folder}"
    advice = "make room: `cellmesh trim` and `cellmesh compact` give back what the cell no longer needs, and old backups take room"
    if usage.free < SPACE_MIN_BYTES:
        yield problem("disk", subject, f"{left}: cells take no writes", advice)
    elif usage.free < min(DISK_GOOD_BYTES, usage.total * DISK_GOOD_SHARE):
        yield warning("disk", subject, left, advice)
    else:
        yield ok("disk", subject, left)
    files = os.statvfs(folder)
    if files.f_files and files.f_favail == 0:
        yield problem("disk", subject, f"no inode is free at {folder}", "remove files there")
    kind = file_system(folder)
    if kind in NETWORK_FILE_SYSTEMS:
        yield problem(
            "disk",
            subject,
            f"{folder} is on a network file system ({kind}), where a memory-mapped database can be damaged",
            "move the folder to a disk of this machine, or a block volume",
        )


def file_system(folder: Path) -> str:
    """The kind of file system of a folder; empty where the system does not tell."""
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return ""
    path = folder.resolve()
    best, found = -1, ""
    for line in lines:
        _, mounted, kind, *_ = line.split(" ")
        at = Path(mounted.replace("\\040", " "))
        if (path == at or at in path.parents) and len(at.parts) >= best:
            best, found = len(at.parts), kind
    return found


def check_folder(subject: str, folder: Path) -> Finding:
    """Whether a cell's folder belongs to who asks, and to nobody else: who can open its socket is root there."""
    found = folder.stat()
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != os.getuid() and os.getuid() != 0:
        return problem(
            "folder",
            subject,
            f"{folder} belongs to user {found.st_uid}, not to {os.getuid()}",
            "run as the user that the cell runs as",
        )
    if mode & 0o077:
        return problem(
            "folder",
            subject,
            f"others may enter {folder} (mode {mode:o}): its socket gives every right",
            f"chmod 700 {folder}",
        )
    return ok("folder", subject, f"only its owner may enter {folder}")


def check_serving_port(subject: str, address: str) -> Finding:
    """Whether anybody listens at the address of a running cell."""
    try:
        host, port = split_host_port(address)
    except ValueError:
        return problem("port", subject, f"{address!r} is no address", "look at the setting `listen`")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        socket.create_connection((host, port), timeout=CONNECT_S).close()
    except OSError as error:
        return problem(
            "port",
            subject,
            f"nothing answers at {address}: {error.strerror or error}",
            "look whether the cell runs, and whether a firewall stands between",
        )
    return ok("port", subject, f"{address} takes connections")


def check_free_port(subject: str, address: str) -> Finding | None:
    """Whether the port that a stopped cell will want is free; None when it takes any."""
    try:
        host, port = split_host_port(address)
    except ValueError:
        return problem("port", subject, f"listen = {address!r} is no address", "give host:port")
    if not port:
        return None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        return problem(
            "port", subject, f"the host of {address} is unknown: {error}", "correct the setting `listen`"
        )
    family, kind, protocol, _, where = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
        except OSError as error:
            return problem(
                "port",
                subject,
                f"the cell cannot listen at {address}: {error.strerror}",
                f"find who does with `ss -ltnp 'sport = :{port}'`, or give the cell another `listen`",
            )
    return ok("port", subject, f"{address} is free")
