"""backup.json: the description that every backup ends with, `cellmesh.api.common.v1.Backup` as JSON."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Final

from cellmesh.api.common.v1 import backup_service_pb2
from cellmesh.common.errors import BadDataValu, BadName, BadVersion
from google.protobuf import json_format

MANIFEST_FILE: Final = "backup.json"
FORMAT_VERSION: Final = 1
SLAB_FILE: Final = "slab/data.mdb"
MANIFEST_SIZE_MAX: Final = 16 << 20

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check_name(name: str) -> str:
    """Return the name if a backup can have it. Raises BadName."""
    if not _NAME.fullmatch(name):
        raise BadName(
            f"{name!r} cannot be the name of a backup",
            name=name,
            hint='use letters, digits, ".", "_" and "-", 100 at most, a letter or digit first',
        )
    return name


def manifest_text(backup: backup_service_pb2.Backup) -> bytes:
    """The description as it is stored."""
    return json_format.MessageToJson(backup, preserving_proto_field_name=True, indent=2).encode() + b"\n"


def parse_manifest(data: bytes, where: str) -> backup_service_pb2.Backup:
    """Read a stored description.

    Raises:
        BadDataValu: it is none, or names files outside of a folder.
        BadVersion: a newer program wrote it.
    """
    try:
        backup = json_format.Parse(data, backup_service_pb2.Backup(), ignore_unknown_fields=True)
    except (json_format.ParseError, UnicodeDecodeError) as error:
        raise BadDataValu(f"{MANIFEST_FILE} of {where} is damaged", name=where) from error
    if backup.format_version != FORMAT_VERSION:
        raise BadVersion(
            f"{where} has backup format {backup.format_version}, this program reads {FORMAT_VERSION}",
            hint="restore it with the version of Cellmesh that made it",
        )
    for file in backup.files:
        path = PurePosixPath(file.path)
        if path.is_absolute() or not path.parts or ".." in path.parts or len(file.sha256) != 32:
            raise BadDataValu(f"{MANIFEST_FILE} of {where} names a file it cannot have: {file.path!r}")
    return backup


def read_manifest(folder: Path) -> backup_service_pb2.Backup:
    """The description of the backup in a folder.

    Raises:
        BadDataValu: the folder holds no whole backup.
        BadVersion: a newer program made it.
    """
    try:
        data = (folder / MANIFEST_FILE).read_bytes()
    except OSError as error:
        raise BadDataValu(
            f"{folder} is no backup: its {MANIFEST_FILE} cannot be read", name=str(folder)
        ) from error
    return parse_manifest(data, str(folder))
