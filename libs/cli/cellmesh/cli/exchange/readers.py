"""A recognised file -> its records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, assert_never

from cellmesh.cli.exchange.links import Links
from cellmesh.cli.exchange.mapping import Forms, Target
from cellmesh.cli.exchange.recognise import Format, Recognised
from cellmesh.cli.exchange.records import Record
from cellmesh.cli.exchange.rows import check_csv, csv_records, json_records, jsonl_records, require_maps
from cellmesh.cli.exchange.sources import Source

if TYPE_CHECKING:
    from cellmesh.cli.exchange.galaxies import Galaxies


@dataclass(slots=True)
class Reading:
    """How files are read.

    Attributes:
        forms: Asks the Cortex for its forms, once, where a mapping needs them.
        maps: Reads the `--map` options, once.
        delimiter: Of CSV; empty to find out.
        galaxies: All galaxies of the import.
        columns: Called with the mapping of columns, once it is known.
    """

    forms: Callable[[], Forms]
    maps: Callable[[], Sequence[tuple[str, Target]]]
    delimiter: str = ""
    galaxies: Galaxies | None = None
    columns: Callable[[Any], None] = field(default=lambda columns: None)

    def records(
        self,
        source: Source,
        found: Recognised,
        links: Links,
        note: Callable[[int], None] | None = None,
    ) -> Iterator[Record]:
        """Yield the records of a file, and then those of its edges.

        Args:
            source: The file.
            found: What it is.
            links: Where edges are kept until the end.
            note: Called with how many bytes of the file have been read.

        Raises:
            Malformed: the file cannot be read on.
            BadArg: a mapping does not fit it.
        """
        if found.format is Format.MISP_GALAXY:
            assert self.galaxies is not None
            yield from self.galaxies.records(source)
            return
        with source.open(note) as stream:
            yield from self._stream(source, found, stream, links)

    def check(self, source: Source, found: Recognised, *, is_told: bool) -> None:
        """Refuse a file whose records would not be known, before anything is imported.

        Args:
            source: The file.
            found: What it is.
            is_told: Whether the user has said so.

        Raises:
            BadArg: it needs a mapping, or another one.
        """
        if found.format is Format.CSV:
            with source.open() as stream:
                check_csv(stream, self.forms(), self.maps(), self.delimiter, is_told=is_told)
        elif found.format in (Format.JSONL, Format.JSON) and not found.is_own:
            require_maps(self.maps(), found.fields)

    def _stream(self, source: Source, found: Recognised, stream: BinaryIO, links: Links) -> Iterator[Record]:
        match found.format:
            case Format.NODES:
                from cellmesh.cli.exchange.packed import packed_records

                yield from packed_records(stream, links)
            case Format.STIX:
                from cellmesh.cli.exchange.stix import stix_records

                yield from stix_records(stream, links)
            case Format.MISP_EVENT:
                from cellmesh.cli.exchange.misp import event_records

                yield from event_records(stream)
            case Format.MISP_WARNING_LIST:
                from cellmesh.cli.exchange.misp import warning_list_records

                with source.open() as head:
                    yield from warning_list_records(head, stream)
            case Format.CSV:
                yield from csv_records(stream, self.forms(), self.maps(), self.delimiter, self.columns)
            case Format.JSONL | Format.JSON:
                maps = self.maps()
                if not found.is_own:
                    require_maps(maps, found.fields)
                read = jsonl_records if found.format is Format.JSONL else json_records
                yield from read(stream, self.forms() if maps else None, maps)
            case Format.MISP_GALAXY:
                raise AssertionError("galaxies are read together")
            case _:
                assert_never(found.format)
