"""JSON of any size, one item after the other.

A document is an object or a list. Of the lists asked for, each item is decoded by itself, so that memory is that of the
largest item. The decoder of the standard library does the work; here is only decided where it starts.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final

from cellmesh.cli.exchange.sources import CHUNK_SIZE, Malformed

ITEM_SIZE_MAX: Final = 64 * 1024 * 1024
"""Characters of one item."""

DEPTH_MAX: Final = 200
"""Lists and objects within each other, in one item."""

_SPACES: Final = " \t\r\n"
_COMPACT_SIZE: Final = 1024 * 1024


class JsonStream:
    """A JSON document, read from its begin.

    Args:
        stream: Its bytes, UTF-8 with or without a byte order mark.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0
        self._gone = 0
        self._byte_count = 0
        self._is_done = False
        self._scan = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode

    @property
    def place(self) -> str:
        """Where it is."""
        return f"character {self._gone + self._at:,}"

    def parts(self, streamed: Callable[[str], bool]) -> Iterator[tuple[str, Any, int]]:
        """Yield the parts of the document as (key, value, index).

        Of an object: each entry; index is -1. An entry whose value is a list, and whose key is asked for, comes item by
        item, with the item's index. Of a list: each item, with an empty key. Anything else is a value by itself.

        Args:
            streamed: Whether the list under a key is wanted item by item.

        Raises:
            Malformed: it is no JSON, ends early, or has an item beyond the bounds.
        """
        char = self._peek()
        if char == "[":
            for index, item in enumerate(self._items()):
                yield "", item, index
        elif char == "{":
            yield from self._entries(streamed)
        else:
            yield "", self._value(), -1
        if self._peek(may_end=True):
            raise Malformed(self.place, "there is more behind the end of the document")

    def values(self) -> Iterator[Any]:
        """Yield values that follow each other, with space between them or without."""
        while self._peek(may_end=True):
            yield self._value()

    def _entries(self, streamed: Callable[[str], bool]) -> Iterator[tuple[str, Any, int]]:
        self._take("{")
        if self._peek() == "}":
            self._at += 1
            return
        while True:
            if self._peek() != '"':
                raise Malformed(self.place, "a key should be here")
            key = self._value()
            self._take(":")
            if self._peek() == "[" and streamed(key):
                for index, item in enumerate(self._items()):
                    yield key, item, index
            else:
                yield key, self._value(), -1
            if self._take(",}") == "}":
                return

    def _items(self) -> Iterator[Any]:
        self._take("[")
        if self._peek() == "]":
            self._at += 1
            return
        while True:
            yield self._value()
            if self._take(",]") == "]":
                return

    def _peek(self, *, may_end: bool = False) -> str:
        """Return the next character that is no space."""
        while True:
            text, at, size = self._text, self._at, len(self._text)
            while at < size and text[at] in _SPACES:
                at += 1
            self._at = at
            if at < size:
                return text[at]
            if not self._more():
                if may_end:
                    return ""
                raise Malformed(self.place, "the file ends within the document")

    def _take(self, chars: str) -> str:
        char = self._peek()
        if char not in chars:
            wanted = " or ".join(chars)
            raise Malformed(self.place, f"{wanted} should be here, not {char!r}")
        self._at += 1
        return char

    def _value(self) -> Any:
        self._peek()
        if self._at > _COMPACT_SIZE:
            self._compact()
        while True:
            try:
                value, end = self._scan(self._text, self._at)
            except RecursionError:
                raise Malformed(self.place, f"lists and objects lie more than {DEPTH_MAX} deep") from None
            except ValueError as error:
                # Perhaps just the end of what has been read: decoders complain at the end of the text then.
                if self._is_done or not self._may_be_cut(error):
                    raise self._no_json(error) from None
                self._grow()
                continue
            # A number may go on in what has not been read.
            if end == len(self._text) and not self._is_done and self._text[end - 1] not in '"]}':
                self._grow()
                continue
            opened = self._text.count("[", self._at, end) + self._text.count("{", self._at, end)
            if opened > DEPTH_MAX and _depth_of(value) > DEPTH_MAX:
                raise Malformed(self.place, f"lists and objects lie more than {DEPTH_MAX} deep")
            self._at = end
            return value

    def _may_be_cut(self, error: ValueError) -> bool:
        if not isinstance(error, json.JSONDecodeError):
            return False
        # An open text is told by its begin, the rest by where it goes wrong: at most some characters before the end.
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - 16

    def _no_json(self, error: ValueError) -> Malformed:
        if not isinstance(error, json.JSONDecodeError):
            return Malformed(self.place, str(error))
        place = f"character {self._gone + error.pos:,}"
        rest = self._text[error.pos :].rstrip()
        is_cut = any(word.startswith(rest) for word in ("true", "false", "null"))
        if error.msg.startswith("Unterminated string") or is_cut:
            return Malformed(place, "the file ends within a value")
        return Malformed(place, f"no JSON: {error.msg[0].lower()}{error.msg[1:]}")

    def _grow(self) -> None:
        """Read as much again as the open item has already, so that trying again stays cheap."""
        size = len(self._text) - self._at
        if size > ITEM_SIZE_MAX:
            raise Malformed(self.place, f"one item has more than {ITEM_SIZE_MAX:,} characters")
        wanted = min(max(CHUNK_SIZE, size), ITEM_SIZE_MAX + CHUNK_SIZE - size)
        self._compact()
        self._more(wanted)

    def _compact(self) -> None:
        self._gone += self._at
        self._text = self._text[self._at :]
        self._at = 0

    def _more(self, size: int = CHUNK_SIZE) -> bool:
        if self._is_done:
            return False
        data = self._stream.read(size)
        held = len(self._decode.getstate()[0])
        try:
            text = self._decode.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise Malformed(f"byte {self._byte_count - held + error.start:,}", "no UTF-8") from None
        self._byte_count += len(data)
        self._is_done = not data
        if self._at == len(self._text):
            self._gone += self._at
            self._text, self._at = text, 0
        else:
            self._text += text
        return bool(data)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _depth_of(value: Any) -> int:
    """How deep lists and objects lie in each other; stops counting beyond the bound."""
    level = [value]
    depth = 0
    while depth <= DEPTH_MAX:
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(part for part in item.values() if isinstance(part, (dict, list)))
            elif isinstance(item, list):
                inner.extend(part for part in item if isinstance(part, (dict, list)))
        if not inner:
            return depth + 1
        level = inner
        depth += 1
    return depth
