"""The identifiers of the graph, as types of their own.

Buid     32 bytes: SHA-256 over the msgpack of (form, value). The same in every Cortex.
Nid      64 bits, of this Cortex alone: the form's number in the upper 16, a sequence in the lower 48.
         Thus a nid tells the form without reading anything, and the nids of a form lie together.
LayerId  32 hexadecimal digits
ViewId   32 hexadecimal digits
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from typing import Final, NewType

from cellmesh.common import hashing, msgpack

Buid = NewType("Buid", bytes)
Nid = NewType("Nid", int)
LayerId = NewType("LayerId", str)
ViewId = NewType("ViewId", str)

NID_SIZE: Final = 8
FORM_BITS: Final = 16
FORM_NUMBER_MAX: Final = (1 << FORM_BITS) - 1
# One bit is left unused, so that a nid is positive wherever a signed number holds it.
NID_SEQUENCE_MAX: Final = (1 << 47) - 1


def buid_of(form: str, value: object) -> Buid:
    """Return the buid of a node by its form and stored value."""
    if type(value) is str or type(value) is int:
        # Most values, for which the array and its first item are made once a form.
        return Buid(sha256(_buid_head(form) + msgpack.encode(value)).digest())
    return Buid(hashing.buid((form, value)))


@cache
def _buid_head(form: str) -> bytes:
    """The msgpack of (form, value) up to the value. There are as many as forms."""
    return b"\x92" + msgpack.encode(form)


def make_nid(form_number: int, sequence: int) -> Nid:
    """Put a nid together."""
    assert 0 < form_number <= FORM_NUMBER_MAX, "form numbers have 16 bits"
    assert 0 <= sequence <= NID_SEQUENCE_MAX, "nid sequences have 47 bits"
    return Nid(sequence << FORM_BITS | form_number)


def form_number_of(nid: int) -> int:
    """Return the number of the form a nid belongs to."""
    return nid & FORM_NUMBER_MAX


def sequence_of(nid: int) -> int:
    """Return the place of a nid among all."""
    return nid >> FORM_BITS


def new_layer_id() -> LayerId:
    """Return a fresh random layer id."""
    return LayerId(hashing.guid())


def new_view_id() -> ViewId:
    """Return a fresh random view id."""
    return ViewId(hashing.guid())
