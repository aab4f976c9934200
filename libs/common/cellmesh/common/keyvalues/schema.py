"""The database of the key-values, and paths as its keys: in order, whatever is below a path right behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cellmesh.api.common.v1 import key_value_change_pb2
from cellmesh.common.errors import BadHivePath, StorageCorrupt
from cellmesh.common.storage import SubDb
from cellmesh.common.storage.codecs import TERMINATED_TEXT

KEYVALUES: Final = SubDb(
    "keyvalues", "the names of the path, each text with an end -> cellmesh.api.common.v1.StoredKeyValue"
)
DATABASES: Final = (KEYVALUES,)

TYPE_NAME: Final = key_value_change_pb2.KeyValueChange.DESCRIPTOR.full_name

DEPTH_MAX: Final = 32
NAME_SIZE_MAX: Final = 200
KEY_SIZE_MAX: Final = 480
"""A key as stored, of the 511 bytes that LMDB allows: each name takes 2 more than its text."""
VALUE_SIZE_MAX: Final = 1 << 20
CHANGE_COUNT_MAX: Final = 10_000
"""Most values set or deleted in one transaction."""

Path = tuple[str, ...]


def check_path(names: Sequence[str], *, may_be_root: bool = False) -> Path:
    """The names as a path.

    Raises:
        BadHivePath: they cannot be one; it tells which name and why.
    """
    path = tuple(names)
    if not path and not may_be_root:
        raise BadHivePath("a path has one name at least", path=[])
    if len(path) > DEPTH_MAX:
        raise BadHivePath(f"a path has {DEPTH_MAX} names at most, not {len(path)}", path=_shown(path))
    for place, name in enumerate(path, 1):
        try:
            size = len(name.encode())
        except UnicodeEncodeError:
            raise BadHivePath(f"name {place} of the path is no proper text", path=_shown(path)) from None
        if not 0 < size <= NAME_SIZE_MAX:
            raise BadHivePath(
                f"a name in a path takes 1 to {NAME_SIZE_MAX} bytes, name {place} takes {size}",
                path=_shown(path),
            )
    size = len(key_of(path))
    if size > KEY_SIZE_MAX:
        raise BadHivePath(
            f"the names of a path take {KEY_SIZE_MAX} bytes at most, with 2 more for each; these take {size}",
            path=_shown(path),
        )
    return path


def key_of(path: Path) -> bytes:
    """The key of a path, with which the keys of all paths below begin; empty for the root."""
    return b"".join([TERMINATED_TEXT.encode(name) for name in path])


def path_of(key: bytes) -> Path:
    """The path of a key. Raises StorageCorrupt."""
    names: list[str] = []
    offset = 0
    try:
        while offset < len(key):
            name, offset = TERMINATED_TEXT.decode_from(key, offset)
            names.append(name)
    except ValueError as error:
        raise StorageCorrupt("a key of the key-values does not read back") from error
    return tuple(names)


def behind_tree(key: bytes) -> bytes | None:
    """The bound above a key and all below it; None for the root, which has none."""
    # Nothing else sorts between: a name that goes on behind a zero byte has FF there.
    return key[:-1] + b"\x01" if key else None


def text_of(path: Sequence[str]) -> str:
    """A path for people."""
    return "/".join(path) or "/"


def _shown(path: Path) -> list[str]:
    # What is wrong with it may be its size, or that it cannot be encoded.
    return [name[:64].encode(errors="replace").decode() for name in path[: DEPTH_MAX + 1]]
