"""Named bounds shared by all cells. A bound that one module alone needs stands in that module."""

from __future__ import annotations

from typing import Final

# Protobuf parsers refuse messages nested more than 100 deep; a Value may lie some messages deep in a
# response, and each list costs two levels, each map three.
VALUE_WIRE_DEPTH_MAX: Final = 90

# A gRPC message, either way. Larger things are streamed.
MESSAGE_SIZE_MAX: Final = 64 * 1024 * 1024

# One msgpack item, written or read, and how deep its lists and maps may nest. The depth is that of the
# msgpack library's C stack, so it cannot be raised here alone.
MSGPACK_SIZE_MAX: Final = 256 * 1024 * 1024
MSGPACK_DEPTH_MAX: Final = 1024
