"""Key bytes of every database of the graph: built and split here and nowhere else.

Integers are big-endian and unsigned, so that keys sort as the numbers do. An encoded value is what
`Type.encode` gives, at most 256 bytes, always last in its key.
"""

from __future__ import annotations

import struct
from typing import Final

from cellmesh.common.storage.codecs import prefix_end

LAYER_SIZE: Final = 4
NUMBER_SIZE: Final = 4
FORM_SIZE: Final = 2

PROP_PREFIX_SIZE: Final = LAYER_SIZE + NUMBER_SIZE
TAG_PROP_PREFIX_SIZE: Final = LAYER_SIZE + 2 * NUMBER_SIZE

_NUMBER: Final = struct.Struct(">I")
_NID: Final = struct.Struct(">Q")
_FORM: Final = struct.Struct(">H")

pack_number = _NUMBER.pack
pack_nid = _NID.pack
pack_form = _FORM.pack
pack_count = _NID.pack


def unpack_number(data: bytes, at: int = 0) -> int:
    """Read a 4-byte number."""
    number: int = _NUMBER.unpack_from(data, at)[0]
    return number


def unpack_nid(data: bytes, at: int = 0) -> int:
    """Read a nid, or another 8-byte number."""
    nid: int = _NID.unpack_from(data, at)[0]
    return nid


def unpack_nids(data: bytes) -> tuple[int, ...]:
    """Read nids laid end to end."""
    return struct.unpack(f">{len(data) // 8}Q", data)


def unpack_form(data: bytes, at: int = 0) -> int:
    """Read a form's number."""
    number: int = _FORM.unpack_from(data, at)[0]
    return number


def form_key_of(nid: bytes) -> bytes:
    """Return the last bytes of a packed nid, which hold its form's number."""
    return nid[6:]


def end_of(prefix: bytes) -> bytes | None:
    """Return the least key above all that start with a prefix; None if there is no such key."""
    return prefix_end(prefix)


def prop_prefix(layer: bytes, prop_number: int) -> bytes:
    """All index entries of a property in a layer."""
    return layer + _NUMBER.pack(prop_number)


def tag_prefix(layer: bytes, tag_number: int) -> bytes:
    """All nodes with a tag in a layer; a form's number behind it narrows it."""
    return layer + _NUMBER.pack(tag_number)


def tag_key(layer: bytes, tag_number: int, form_number: int) -> bytes:
    """The nodes of a form with a tag in a layer."""
    return layer + _NUMBER.pack(tag_number) + _FORM.pack(form_number)


def tag_prop_prefix(layer: bytes, tag_number: int, prop_number: int) -> bytes:
    """All index entries of a tag property on a tag in a layer."""
    return layer + _NUMBER.pack(tag_number) + _NUMBER.pack(prop_number)


def count_key(layer: bytes, prop_number: int, form_number: int) -> bytes:
    """The count of the nodes of a form that have a property."""
    return layer + _NUMBER.pack(prop_number) + _FORM.pack(form_number)


def edge(verb_number: int, nid: int) -> bytes:
    """An edge at one of its ends: the verb and the node at the other end."""
    return _NUMBER.pack(verb_number) + _NID.pack(nid)


def split_edge(data: bytes) -> tuple[int, int]:
    """Undo `edge`."""
    return _NUMBER.unpack_from(data)[0], _NID.unpack_from(data, NUMBER_SIZE)[0]
