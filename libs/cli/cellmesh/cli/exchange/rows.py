"""CSV and JSON Lines -> records."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Final

from cellmesh.cli.exchange.json_stream import JsonStream
from cellmesh.cli.exchange.mapping import (
    Columns,
    Forms,
    Target,
    field_of,
    mapping_for,
    names_text,
    node_of_object,
)
from cellmesh.cli.exchange.records import Record, Unusable, excerpt_of
from cellmesh.cli.exchange.sources import Malformed
from cellmesh.common.errors import BadArg

CELL_SIZE_MAX: Final = 16 * 1024 * 1024
"""Characters of one cell of a CSV file."""

HEAD_LINE_COUNT: Final = 20
"""Lines that are looked at for what divides their cells."""

HEAD_LINE_SIZE_MAX: Final = 1024 * 1024
DELIMITERS: Final = ",;\t|"
LINE_SIZE_MAX: Final = 64 * 1024 * 1024


def delimiter_of(head: str) -> str:
    """Return what most evenly divides the first lines; a comma where nothing does."""
    lines = [line for line in head.splitlines()[:20] if line.strip()]
    best, best_count = ",", 0
    for char in DELIMITERS:
        counts = {len(next(csv.reader([line], delimiter=char), [])) for line in lines}
        if len(counts) == 1 and (count := counts.pop()) > max(1, best_count):
            best, best_count = char, count
    if not best_count and lines:
        best = max(DELIMITERS, key=lambda char: (lines[0].count(char), char == ","))
    return best


def csv_records(
    stream: BinaryIO,
    forms: Forms,
    maps: Sequence[tuple[str, Target]],
    delimiter: str = "",
    note: Any = None,
) -> Iterator[Record]:
    """Yield the records of a CSV file with a header, or of one without when `maps` names columns by numbers.

    Args:
        note: Called with the Columns once they are known.

    Raises:
        BadArg: the columns do not fit `maps`.
        Malformed: it is no CSV, or no UTF-8.
    """
    text = _Lines(stream)
    if not delimiter:
        delimiter = delimiter_of(text.head())
    csv.field_size_limit(CELL_SIZE_MAX)
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    is_numbered = bool(maps) and all(name.isdigit() for name, _ in maps)
    columns: Columns | None = None
    names: list[str] = []
    while True:
        begin = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            place = (
                f"line {begin:,}" if begin == reader.line_num else f"lines {begin:,} to {reader.line_num:,}"
            )
            raise Malformed(place, f"no CSV: {error}") from None
        if row is None:
            return
        if not any(cell.strip() for cell in row) or (columns is None and row[0].startswith("#")):
            continue
        place = f"line {reader.line_num:,}"
        if columns is None:
            names = (
                [str(n) for n in range(1, len(row) + 1)] if is_numbered else [cell.strip() for cell in row]
            )
            columns = mapping_for(names, maps, forms)
            if note is not None:
                note(columns)
            if not is_numbered:
                continue
        if len(row) > len(names) or len(row) < len(names):
            yield Record(
                place,
                problems=[f"{len(row)} cells where the header has {len(names)}"],
                what=excerpt_of(delimiter.join(row)),
            )
            continue
        cells = dict(zip(names, row, strict=True))
        yield columns.record(place, delimiter.join(row), cells.get)


def check_csv(
    stream: BinaryIO, forms: Forms, maps: Sequence[tuple[str, Target]], delimiter: str, *, is_told: bool
) -> None:
    """Refuse what has no column that is known, before anything is imported.

    Args:
        is_told: Whether the user has said that it is CSV. Else any text is taken for it that is nothing else, and what
            does not look like a table is told to be of no known kind.

    Raises:
        BadArg: it cannot be imported, and why. What is wrong with its lines is left to `csv_records`.
    """
    head = b"".join(stream.readline(HEAD_LINE_SIZE_MAX) for _ in range(HEAD_LINE_COUNT))
    try:
        for _ in csv_records(io.BytesIO(head), forms, maps, delimiter):
            return
    except Malformed:
        return
    except BadArg as error:
        text = head.decode(errors="replace").removeprefix("\ufeff")
        if maps or is_told or _is_table(text, delimiter or delimiter_of(text)):
            raise
        first = next((line.strip() for line in text.splitlines() if line.strip()), "")
        raise BadArg(
            "it is of no known kind: no bundle, event, list or nodes, no JSON, and no table whose columns have names "
            f"that are known. It begins with: {names_text([first])}",
            hint="a list with one value a line: --map 1=FORM, such as --map 1=inet:ipv4",
        ) from error


def _is_table(text: str, delimiter: str) -> bool:
    """Whether most lines are divided into as many cells as the first one."""
    try:
        widths = [len(row) for row in csv.reader(text.splitlines(), delimiter=delimiter) if row]
    except csv.Error:
        return False
    return bool(widths) and widths[0] > 1 and widths.count(widths[0]) * 4 >= len(widths) * 3


class _Lines:
    """Lines of a UTF-8 stream, each within a bound."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._number = 0
        self._first: list[str | Malformed] = []

    def head(self) -> str:
        """Return the first lines without using them up."""
        while len(self._first) < HEAD_LINE_COUNT:
            try:
                line = self._read()
            except Malformed as error:
                # Told when it is reached: what stands before it is used.
                self._first.append(error)
                break
            if not line:
                break
            self._first.append(line)
        return "".join(line for line in self._first if isinstance(line, str))

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._first.pop(0) if self._first else self._read()
        if isinstance(line, Malformed):
            raise line
        if not line:
            raise StopIteration
        return line

    def _read(self) -> str:
        data = self._stream.readline(LINE_SIZE_MAX + 1)
        self._number += 1
        if len(data) > LINE_SIZE_MAX:
            raise Malformed(f"line {self._number:,}", f"a line of more than {LINE_SIZE_MAX:,} bytes")
        if b"\0" in data:
            raise Malformed(f"line {self._number:,}", "it has a zero byte: this is no text")
        if self._number == 1:
            data = data.removeprefix(b"\xef\xbb\xbf")
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise Malformed(
                f"line {self._number:,}, byte {error.start + 1:,}",
                "no UTF-8; another encoding can be changed with: iconv -f ENCODING -t UTF-8",
            ) from None


def jsonl_records(
    stream: BinaryIO, forms: Forms | None, maps: Sequence[tuple[str, Target]]
) -> Iterator[Record]:
    """Yield the records of JSON Lines: nodes as our own export writes them, or objects as `maps` says.

    Raises:
        Malformed: a line is no JSON because the file is cut off there, or no UTF-8.
    """
    for number, line in enumerate(_lines_of(stream), 1):
        if not line.strip():
            continue
        place = f"line {number:,}"
        try:
            row = json.loads(line)
        except RecursionError:
            yield Record(place, problems=["lists and objects nest too deep"], what=excerpt_of(_text(line)))
            continue
        except ValueError as error:
            if not line.endswith(b"\n"):
                raise Malformed(place, "the file ends within a line") from None
            yield Record(place, problems=[f"no JSON: {error}"], what=excerpt_of(_text(line)))
            continue
        yield from object_records(place, row, forms, maps)


def _lines_of(stream: BinaryIO) -> Iterator[bytes]:
    number = 0
    while line := stream.readline(LINE_SIZE_MAX + 1):
        number += 1
        if len(line) > LINE_SIZE_MAX:
            raise Malformed(f"line {number:,}", f"a line of more than {LINE_SIZE_MAX:,} bytes")
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            line.decode()
        except UnicodeDecodeError as error:
            raise Malformed(f"line {number:,}, byte {error.start + 1:,}", "no UTF-8") from None
        yield line


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip()


def json_records(
    stream: BinaryIO, forms: Forms | None, maps: Sequence[tuple[str, Target]]
) -> Iterator[Record]:
    """Yield the records of a JSON list of objects; as `jsonl_records`."""
    for _, row, index in JsonStream(stream).parts(lambda key: False):
        yield from object_records(f"item {max(index, 0):,}", row, forms, maps)


def object_records(
    place: str, row: Any, forms: Forms | None, maps: Sequence[tuple[str, Target]]
) -> Iterator[Record]:
    """Yield the record of one object; none for messages of a query that are no nodes."""
    if not isinstance(row, dict):
        yield Record(place, problems=["no object"], what=excerpt_of(row))
        return
    if maps:
        assert forms is not None
        yield Columns(forms, list(maps)).record(place, row, lambda path: field_of(row, path))
        return
    if isinstance(row.get("type"), str) and row["type"] != "node" and "form" not in row:
        return
    try:
        yield Record(place, [node_of_object(row)])
    except Unusable as problem:
        yield Record(place, problems=[str(problem)], what=excerpt_of(row))


def require_maps(maps: Sequence[tuple[str, Target]], keys: Sequence[str]) -> None:
    """Refuse objects of an unknown kind without `--map`; raises BadArg."""
    if not maps:
        raise BadArg(
            f"it is JSON of no kind that is known (its fields: {', '.join(list(keys)[:10]) or 'none'})",
            hint="say what its fields are with --map FIELD=FORM, such as --map ip=inet:ipv4",
        )


__all__ = [
    "check_csv",
    "csv_records",
    "delimiter_of",
    "json_records",
    "jsonl_records",
    "object_records",
    "require_maps",
]
