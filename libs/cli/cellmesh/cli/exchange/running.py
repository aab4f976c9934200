"""An import of several files, from recognition to its report."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Final

from cellmesh.api.cortex.v1 import model_pb2
from cellmesh.api.cortex.v1.feed_service_pb2_grpc import FeedServiceStub
from cellmesh.api.cortex.v1.model_service_pb2_grpc import ModelServiceStub
from cellmesh.cli.exchange.feeding import BATCH_COUNT, Feeder
from cellmesh.cli.exchange.links import Links
from cellmesh.cli.exchange.mapping import Columns, Forms, Target, read_maps
from cellmesh.cli.exchange.preview import Preview
from cellmesh.cli.exchange.readers import Reading
from cellmesh.cli.exchange.recognise import TITLES, Format, Recognised, recognise
from cellmesh.cli.exchange.records import Record, excerpt_of, set_value
from cellmesh.cli.exchange.reports import FileReport
from cellmesh.cli.exchange.showing import Showing
from cellmesh.cli.exchange.sources import Malformed, Source, open_sources
from cellmesh.cli.exchange.state import State
from cellmesh.cli.output import value_text
from cellmesh.client import CellClient
from cellmesh.common.errors import BadArg, CellError
from cellmesh.common.values import from_value

REASONS_KEPT_MAX: Final = 200

_NAMES: Final = re.compile(r"(?:[\w-]+--)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{32,}\b")
_VALUES: Final = re.compile(r"^(\S+: BadTypeValu): .*? is no ", re.DOTALL)
"""What differs from reject to reject of the same kind."""


@dataclass(frozen=True, slots=True)
class Options:
    """How an import is done; see `cellmesh import --help`."""

    format: str = ""
    maps: tuple[str, ...] = ()
    delimiter: str = ""
    view: str = ""
    tags: tuple[str, ...] = ()
    batch_count: int = BATCH_COUNT
    is_dry: bool = False
    resumes: bool = False
    rejects: Path = Path("rejects.jsonl")
    state_folder: Path | None = None
    is_quiet: bool = False

    def identity(self, url: str) -> dict[str, object]:
        """What decides which records there are, and where they go."""
        return {
            "format": self.format,
            "maps": self.maps,
            "delimiter": self.delimiter,
            "view": self.view,
            "tags": self.tags,
            "cortex": url,
        }


class Rejects:
    """The file of rejects, made when there is the first one."""

    def __init__(self, path: Path, *, appends: bool) -> None:
        self.path = path
        self.count = 0
        self._appends = appends
        self._file: IO[str] | None = None

    def add(self, name: str, record: Record, reason: str) -> None:
        """Write one line."""
        if self._file is None:
            self._file = self.path.open("a" if self._appends else "w", encoding="utf-8")
        row = {"file": name, "place": record.place, "error": reason, "record": record.what}
        if not record.what and record.nodes:
            node = record.nodes[0]
            row["record"] = excerpt_of(f"{node.form}={value_text(from_value(node.value))}")
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.count += 1

    def flush(self) -> None:
        """Have what was written outlive this process."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Finish the file."""
        if self._file is not None:
            self._file.close()


class Import:
    """An import.

    Args:
        client: The Cortex.
        options: How.
        say: Called with what is worth telling meanwhile.
    """

    def __init__(self, client: CellClient, url: str, options: Options, say: Callable[[str], None]) -> None:
        self._client = client
        self._url = url
        self._options = options
        self._say = say
        self._forms = cache(self._read_forms)
        self._maps = cache(self._read_maps)
        self.rejects = Rejects(options.rejects, appends=options.resumes)

    def run(self, names: Sequence[str]) -> Iterator[FileReport]:
        """Import files, one after the other; yields the report of each as soon as it is done.

        All of them are recognised before the first one is imported.

        Raises:
            BadArg: one is not there, or is of no kind that can be imported; nothing has been imported.
            CellError: the Cortex refuses; what was imported before has been told.
        """
        with tempfile.TemporaryDirectory(prefix="cellmesh-import-") as folder, closing(self.rejects):
            files = [(source, self._recognise(source)) for source in open_sources(list(names), Path(folder))]
            reading = Reading(self._forms, self._maps, self._options.delimiter)
            for source, found in files:
                self._check(source, found, reading)
            galaxies = [source for source, found in files if found.format is Format.MISP_GALAXY]
            if galaxies:
                from cellmesh.cli.exchange.galaxies import Galaxies

                try:
                    reading.galaxies = Galaxies(galaxies)
                except Malformed as error:
                    raise BadArg(f"{error}; nothing was imported") from None
            states = []
            for source, found in files:
                state = None if self._options.is_dry else self._state(source)
                yield self._file(source, found, reading, Path(folder), state)
                if state is not None:
                    states.append(state)
            # Notes of files that are done are kept until all are, so that --resume need not read them again.
            for state in states:
                state.clear_done()

    def _state(self, source: Source) -> State:
        folder = self._options.state_folder or _state_folder()
        return State(folder, source, self._options.identity(self._url))

    def _recognise(self, source: Source) -> Recognised:
        try:
            return recognise(source, self._options.format)
        except Malformed as error:
            raise BadArg(f"{source.name}: {error}; nothing was imported", name=source.name) from None

    def _check(self, source: Source, found: Recognised, reading: Reading) -> None:
        try:
            reading.check(source, found, is_told=bool(self._options.format))
        except Malformed:
            # Told with what came before it, when it is read.
            return
        except BadArg as error:
            raise BadArg(
                f"{source.name}: {error.message}", name=source.name, hint=error.get("hint")
            ) from None

    def _read_forms(self) -> Forms:
        stub = self._client.stub(ModelServiceStub)
        model = model_pb2.GetModelResponse()
        for part in stub.GetModel(model_pb2.GetModelRequest()):
            model.MergeFrom(part)
        return Forms(model)

    def _read_maps(self) -> Sequence[tuple[str, Target]]:
        return read_maps(self._options.maps, self._forms()) if self._options.maps else []

    def _file(
        self, source: Source, found: Recognised, reading: Reading, folder: Path, state: State | None
    ) -> FileReport:
        report = FileReport(source.name, TITLES[found.format])
        if state is not None and self._options.resumes and state.read().is_done:
            report.was_done = True
            return report

        def note_columns(columns: Columns) -> None:
            report.columns = columns

        reading.columns = note_columns
        showing = Showing(source.name, source.size, "records", is_quiet=self._options.is_quiet)
        path = Path(tempfile.mkstemp(suffix=".links", dir=folder)[1])
        try:
            with closing(Links(path)) as links:
                records = reading.records(source, found, links, showing.at)
                if state is None:
                    self._preview(report, records, showing)
                else:
                    self._feed(report, records, showing, state, links)
        finally:
            report.seconds = showing.seconds
            showing.close()
            path.unlink()
        return report

    def _reject(self, report: FileReport, record: Record, reason: str) -> None:
        self.rejects.add(report.name, record, reason)
        report.totals.rejects += 1
        kind = _VALUES.sub(r"\1: a value is no ", _NAMES.sub("…", reason))
        if kind in report.reasons or len(report.reasons) < REASONS_KEPT_MAX:
            report.reasons[kind] += 1

    def _preview(self, report: FileReport, records: Iterable[Record], showing: Showing) -> None:
        preview = report.preview = Preview()
        try:
            for record in records:
                for reason in record.problems:
                    self._reject(report, record, reason)
                self._tag(record)
                preview.add(record)
                report.totals.records = preview.records
                showing.count(preview.records)
        except Malformed as error:
            report.fault = f"{error.place}: {error.reason}" if error.place else error.reason

    def _feed(
        self,
        report: FileReport,
        records: Iterable[Record],
        showing: Showing,
        state: State,
        links: Links,
    ) -> None:
        options = self._options
        known = state.read()
        before = 0 if known.is_done else known.count

        def note(count: int) -> None:
            # What of these records could not be used is told before they are taken for done.
            self.rejects.flush()
            state.note(count)

        skipped = before if options.resumes else 0
        report.resumed_at = skipped
        if before and not options.resumes:
            self._say(
                f"{report.name}: an import of this file ended after {before:,} records; "
                "this one begins anew, --resume goes on there"
            )
        feeder = Feeder(
            self._client.stub(FeedServiceStub),
            view=options.view,
            batch_count=options.batch_count,
            reject=lambda record, reason: self._reject(report, record, reason),
            done=note,
            totals=report.totals,
        )
        feeder.skip(skipped)
        first_edge: int | None = None
        try:
            for number, record in enumerate(records):
                if number < skipped:
                    continue
                for reason in record.problems:
                    self._reject(report, record, reason)
                self._tag(record)
                feeder.add(record)
                if record.is_edge:
                    # The file has been read to its end.
                    if first_edge is None:
                        first_edge = number
                        showing.turn("(edges)", links.count)
                    showing.at(number - first_edge)
                showing.count(report.totals.records + report.totals.edges)
        except Malformed as error:
            feeder.flush()
            report.fault = f"{error.place}: {error.reason}" if error.place else error.reason
            return
        except (CellError, KeyboardInterrupt) as error:
            feeder.close()
            if isinstance(error, BadArg) and not report.totals.records:
                raise
            self._say(self._told_half(report, state.read().count, error))
            raise
        feeder.flush()
        self.rejects.flush()
        state.note_done(feeder.count)

    def _tag(self, record: Record) -> None:
        for node in record.nodes:
            for tag in self._options.tags:
                if tag not in node.tags:
                    set_value(node.tags[tag], None, tag)

    def _told_half(self, report: FileReport, count: int, error: BaseException) -> str:
        what = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        totals = report.totals
        return (
            f"{report.name}: {what} after {count:,} records that are in the Cortex for certain "
            f"({totals.nodes_made:,} nodes and {totals.edges_made:,} edges made); "
            "the same command with --resume goes on there"
        )


def _state_folder() -> Path:
    from cellmesh.cli.exchange.state import default_folder

    return default_folder()
