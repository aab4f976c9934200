"""Columns handed over by Arrow's C interface, without a copy and without a library.

The interface is two structures, ArrowSchema and ArrowArray, and a third for streams of them, handed over in capsules of
Python. The buffers are the bytes as they came; whoever reads them calls `release` when it needs them no more, and until
then they are kept here.

Source: https://arrow.apache.org/docs/format/CDataInterface.html, CStreamInterface.html and
CDataInterface/PyCapsuleInterface.html.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p, py_object, pythonapi
from typing import TYPE_CHECKING, Any, Final

from cellmesh.client.storm.frame import BOOL, BYTES, DOUBLE, INT64, JSON, NONE, PIECES, TEXT, TIME, Part

if TYPE_CHECKING:
    from cellmesh.client.storm.frame import Frame

FORMATS: Final[dict[int, bytes]] = {
    NONE: b"u",
    INT64: b"l",
    DOUBLE: b"g",
    BOOL: b"b",
    TEXT: b"u",
    BYTES: b"z",
    JSON: b"u",
    TIME: b"tsm:UTC",
}
STRUCT: Final = b"+s"
NULLABLE: Final = 2


class ArrowSchema(Structure):
    """As the interface lays it out."""


class ArrowArray(Structure):
    """As the interface lays it out."""


class ArrowArrayStream(Structure):
    """As the interface lays it out."""


_RELEASE = CFUNCTYPE(None, c_void_p)
_GET = CFUNCTYPE(c_int, c_void_p, c_void_p)
_LAST_ERROR = CFUNCTYPE(c_void_p, c_void_p)

ArrowSchema._fields_ = [
    ("format", c_char_p),
    ("name", c_char_p),
    ("metadata", c_char_p),
    ("flags", c_int64),
    ("n_children", c_int64),
    ("children", POINTER(POINTER(ArrowSchema))),
    ("dictionary", c_void_p),
    ("release", c_void_p),
    ("private_data", c_void_p),
]
ArrowArray._fields_ = [
    ("length", c_int64),
    ("null_count", c_int64),
    ("offset", c_int64),
    ("n_buffers", c_int64),
    ("n_children", c_int64),
    ("buffers", POINTER(c_void_p)),
    ("children", POINTER(POINTER(ArrowArray))),
    ("dictionary", c_void_p),
    ("release", c_void_p),
    ("private_data", c_void_p),
]
ArrowArrayStream._fields_ = [
    ("get_schema", c_void_p),
    ("get_next", c_void_p),
    ("get_last_error", c_void_p),
    ("release", c_void_p),
    ("private_data", c_void_p),
]

_kept: dict[int, Any] = {}
"""What was handed over and not yet released, by the number in its private_data. A consumer may release in any thread."""

_numbers = itertools.count(1)


def _keep(held: Any) -> int:
    number = next(_numbers)
    _kept[number] = held
    return number


def _release_schema(address: int) -> None:
    schema = ArrowSchema.from_address(address)
    for index in range(schema.n_children):
        child = schema.children[index].contents
        if child.release:
            _release_schema(ctypes.addressof(child))
    _drop(schema)


def _release_array(address: int) -> None:
    made = ArrowArray.from_address(address)
    for index in range(made.n_children):
        child = made.children[index].contents
        # A consumer may have moved a child out; it then releases it by itself.
        if child.release:
            _release_array(ctypes.addressof(child))
    _drop(made)


def _release_stream(address: int) -> None:
    _drop(ArrowArrayStream.from_address(address))


def _drop(structure: Any) -> None:
    number = structure.private_data
    structure.release = None
    structure.private_data = None
    _kept.pop(number, None)


def _address(function: Any) -> int:
    found = ctypes.cast(function, c_void_p).value
    assert found is not None
    return found


def fill_schema(target: ArrowSchema, frame: Frame) -> None:
    """Describe a frame: a structure with a field for each column."""
    children = [ArrowSchema() for _ in frame.kinds]
    for child, (name, kind) in zip(children, frame.kinds.items()):
        _fill_one_schema(child, FORMATS[kind], name.encode(), ())
    _fill_one_schema(target, STRUCT, b"", children)


def _fill_one_schema(
    target: ArrowSchema, format_text: bytes, name: bytes, children: Sequence[ArrowSchema]
) -> None:
    pointers = (POINTER(ArrowSchema) * len(children))(*map(ctypes.pointer, children))
    target.format = format_text
    target.name = name
    target.metadata = None
    target.flags = NULLABLE
    target.n_children = len(children)
    target.children = ctypes.cast(pointers, POINTER(POINTER(ArrowSchema)))
    target.dictionary = None
    target.release = _address(_RELEASE_SCHEMA)
    # The children are structures of ours as well: kept until they are released, each for itself.
    target.private_data = _keep((format_text, name, pointers, children))


def fill_array(target: ArrowArray, parts: Sequence[Part], count: int) -> None:
    """Hand over one batch: a structure with an array for each column."""
    children = [ArrowArray() for _ in parts]
    for child, part in zip(children, parts):
        buffers = [part.validity or None, part.values]
        if part.kind in PIECES:
            buffers = [part.validity or None, part.offsets, part.values]
        _fill_one_array(child, part.count, part.null_count, buffers, ())
    _fill_one_array(target, count, 0, [None], children)


def _fill_one_array(
    target: ArrowArray,
    count: int,
    null_count: int,
    buffers: Sequence[bytes | None],
    children: Sequence[ArrowArray],
) -> None:
    addresses = (c_void_p * len(buffers))(
        *(None if data is None else ctypes.cast(c_char_p(data), c_void_p) for data in buffers)
    )
    pointers = (POINTER(ArrowArray) * len(children))(*map(ctypes.pointer, children))
    target.length = count
    target.null_count = null_count
    target.offset = 0
    target.n_buffers = len(buffers)
    target.n_children = len(children)
    target.buffers = ctypes.cast(addresses, POINTER(c_void_p))
    target.children = ctypes.cast(pointers, POINTER(POINTER(ArrowArray)))
    target.dictionary = None
    target.release = _address(_RELEASE_ARRAY)
    target.private_data = _keep((addresses, pointers, tuple(buffers), children))


class _Stream:
    """What a stream of batches has to remember."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.next = 0


def _get_schema(stream_address: int, target_address: int) -> int:
    stream: _Stream = _kept[ArrowArrayStream.from_address(stream_address).private_data]
    fill_schema(ArrowSchema.from_address(target_address), stream.frame)
    return 0


def _get_next(stream_address: int, target_address: int) -> int:
    stream: _Stream = _kept[ArrowArrayStream.from_address(stream_address).private_data]
    target = ArrowArray.from_address(target_address)
    frame = stream.frame
    if stream.next == len(frame.batches):
        # The end is an array that is released already.
        target.release = None
        return 0
    fill_array(target, frame.batches[stream.next], frame.counts[stream.next])
    stream.next += 1
    return 0


def _get_last_error(stream_address: int) -> None:
    return None


# What C calls. Kept here for good: a consumer may hold their addresses to the end of the process.
_RELEASE_SCHEMA: Final = _RELEASE(_release_schema)
_RELEASE_ARRAY: Final = _RELEASE(_release_array)
_RELEASE_STREAM: Final = _RELEASE(_release_stream)
_GET_SCHEMA: Final = _GET(_get_schema)
_GET_NEXT: Final = _GET(_get_next)
_GET_LAST_ERROR: Final = _LAST_ERROR(_get_last_error)


# Capsules. A consumer that takes the contents marks the structure as released; a capsule that nobody took releases it.

_new_capsule = pythonapi.PyCapsule_New
_new_capsule.restype = py_object
_new_capsule.argtypes = [c_void_p, c_char_p, c_void_p]
_capsule_pointer = ctypes.PYFUNCTYPE(c_void_p, c_void_p, c_char_p)(("PyCapsule_GetPointer", pythonapi))

_SCHEMA_NAME: Final = b"arrow_schema"
_STREAM_NAME: Final = b"arrow_array_stream"

_structures: dict[int, Structure] = {}
"""The structures that capsules point at, by address, until the capsule goes."""


def _schema_capsule_gone(capsule: int) -> None:
    _capsule_gone(capsule, _SCHEMA_NAME, _release_schema)


def _stream_capsule_gone(capsule: int) -> None:
    _capsule_gone(capsule, _STREAM_NAME, _release_stream)


def _capsule_gone(capsule: int, name: bytes, release: Any) -> None:
    address = _capsule_pointer(capsule, name)
    structure: Any = _structures.pop(address)
    if structure.release:
        release(address)


_GONE = ctypes.PYFUNCTYPE(None, c_void_p)
_SCHEMA_CAPSULE_GONE: Final = _GONE(_schema_capsule_gone)
_STREAM_CAPSULE_GONE: Final = _GONE(_stream_capsule_gone)


def _capsule(structure: Structure, name: bytes, gone: Any) -> Any:
    address = ctypes.addressof(structure)
    _structures[address] = structure
    return _new_capsule(address, name, _address(gone))


def schema_capsule(frame: Frame) -> Any:
    """A capsule with the schema of a frame."""
    schema = ArrowSchema()
    fill_schema(schema, frame)
    return _capsule(schema, _SCHEMA_NAME, _SCHEMA_CAPSULE_GONE)


def stream_capsule(frame: Frame) -> Any:
    """A capsule with the batches of a frame."""
    stream = ArrowArrayStream()
    stream.get_schema = _address(_GET_SCHEMA)
    stream.get_next = _address(_GET_NEXT)
    stream.get_last_error = _address(_GET_LAST_ERROR)
    stream.release = _address(_RELEASE_STREAM)
    stream.private_data = _keep(_Stream(frame))
    return _capsule(stream, _STREAM_NAME, _STREAM_CAPSULE_GONE)


def kept_count() -> int:
    """How many structures are handed over and not yet released; for tests."""
    return len(_kept) + len(_structures)
