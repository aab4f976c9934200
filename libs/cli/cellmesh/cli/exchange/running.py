"""An import of several files, from recognition to its report."""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any, Final

from cellmesh.api.cortex.v1 import model_pb2
from cellmesh.api.cortex.v1.feed_service_pb2_grpc import FeedServiceStub
from cellmesh.api.cortex.v1.model_service_pb2_grpc import ModelServiceStub
from cellmesh.cli.exchange.feeding import BATCH_COUNT, Feeder, Totals
from cellmesh.cli.exchange.links import Links
from cellmesh.cli.exchange.mapping import Columns, Forms, Target, read_maps
from cellmesh.cli.exchange.preview import Preview
from cellmesh.cli.exchange.readers import Reading
from cellmesh.cli.exchange.recognise import TITLES, Format, Recognised, recognise
from cellmesh.cli.exchange.records import Record, set_value
from cellmesh.cli.exchange.showing import Showing
from cellmesh.cli.exchange.sources import Malformed, Source, open_sources
from cellmesh.cli.exchange.state import State
from cellmesh.client import CellClient
from cellmesh.common.errors import BadArg, CellError

REASONS_KEPT_MAX: Final = 200
REASONS_SHOWN: Final = 5

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


@dataclass(slots=True)
class FileReport:
    """What became of one file.

    Attributes:
        fault: Why it could not be imported whole; empty if it was.
        preview: Of a dry run.
    """

    name: str
    format: str
    totals: Totals = field(default_factory=Totals)
    reasons: Counter[str] = field(default_factory=Counter)
    resumed_at: int = 0
    fault: str = ""
    seconds: float = 0.0
    preview: Preview | None = None
    columns: Columns | None = None

    def fields(self) -> dict[str, Any]:
        """As JSON holds it."""
        totals = self.totals
        found: dict[str, Any] = {
            "file": self.name,
            "format": self.format,
            "records": totals.records,
            "edges": totals.edges,
            "rejects": totals.rejects,
            "seconds": round(self.seconds, 3),
        }
        if self.preview is not None:
            found["preview"] = self.preview.fields()
        else:
            found |= {
                "accepted": totals.nodes,
                "edits": totals.edits,
                "nodes_made": totals.nodes_made,
                "edges_made": totals.edges_made,
                "resumed_at": self.resumed_at,
            }
        if self.fault:
            found["error"] = self.fault
        return found


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
            row["record"] = record.nodes[0].form
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.count += 1

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

    def run(self, names: Sequence[str]) -> list[FileReport]:
        """Import files, one after the other.

        All of them are recognised before the first one is imported.

        Raises:
            BadArg: one is not there, or is of no kind that can be imported; nothing has been imported.
            CellError: the Cortex refuses; what was imported before has been told.
        """
        with tempfile.TemporaryDirectory(prefix="cellmesh-import-") as folder, closing(self.rejects):
            files = [(source, self._recognise(source)) for source in open_sources(list(names), Path(folder))]
            reading = Reading(self._forms, self._maps, self._options.delimiter)
            galaxies = [source for source, found in files if found.format is Format.MISP_GALAXY]
            if galaxies:
                from cellmesh.cli.exchange.galaxies import Galaxies

                try:
                    reading.galaxies = Galaxies(galaxies)
                except Malformed as error:
                    raise BadArg(f"{error}; nothing was imported") from None
            return [self._file(source, found, reading, Path(folder)) for source, found in files]

    def _recognise(self, source: Source) -> Recognised:
        try:
            return recognise(source, self._options.format)
        except Malformed as error:
            raise BadArg(f"{source.name}: {error}; nothing was imported", name=source.name) from None

    def _read_forms(self) -> Forms:
        stub = self._client.stub(ModelServiceStub)
        model = model_pb2.GetModelResponse()
        for part in stub.GetModel(model_pb2.GetModelRequest()):
            model.MergeFrom(part)
        return Forms(model)

    def _read_maps(self) -> Sequence[tuple[str, Target]]:
        return read_maps(self._options.maps, self._forms()) if self._options.maps else []

    def _file(self, source: Source, found: Recognised, reading: Reading, folder: Path) -> FileReport:
        report = FileReport(source.name, TITLES[found.format])

        def note_columns(columns: Columns) -> None:
            report.columns = columns

        reading.columns = note_columns
        showing = Showing(source.name, source.size, "records", is_quiet=self._options.is_quiet)
        path = Path(tempfile.mkstemp(suffix=".links", dir=folder)[1])
        try:
            with closing(Links(path)) as links:
                records = reading.records(source, found, links, showing.at)
                if self._options.is_dry:
                    self._preview(report, records, showing)
                else:
                    self._feed(report, source, records, showing)
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

    def _feed(self, report: FileReport, source: Source, records: Iterable[Record], showing: Showing) -> None:
        options = self._options
        state = State(options.state_folder or _state_folder(), source, options.identity(self._url))
        before = state.read()
        skipped = before if options.resumes else 0
        report.resumed_at = skipped
        if before and not options.resumes:
            self._say(
                f"{source.name}: an import of this file ended after {before:,} records; "
                "this one begins anew, --resume goes on there"
            )
        feeder = Feeder(
            self._client.stub(FeedServiceStub),
            view=options.view,
            batch_count=options.batch_count,
            reject=lambda record, reason: self._reject(report, record, reason),
            done=state.note,
            totals=report.totals,
        )
        feeder.skip(skipped)
        try:
            for number, record in enumerate(records):
                if number < skipped:
                    continue
                for reason in record.problems:
                    self._reject(report, record, reason)
                self._tag(record)
                feeder.add(record)
                showing.count(report.totals.records + report.totals.edges)
        except Malformed as error:
            feeder.flush()
            report.fault = f"{error.place}: {error.reason}" if error.place else error.reason
            return
        except (CellError, KeyboardInterrupt) as error:
            feeder.close()
            if isinstance(error, BadArg) and not report.totals.records:
                raise
            self._say(self._told_half(report, state.read(), error))
            raise
        feeder.flush()
        state.clear()

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


def report_text(report: FileReport) -> str:
    """A report for people."""
    totals = report.totals
    lines = []
    if report.columns is not None and (report.preview is not None or report.columns.ignored):
        shown = ", ".join(f"{name} is {target}" for name, target in report.columns.targets)
        ignored = report.columns.ignored
        lines.append(f"columns: {shown}" + (f"; not used: {', '.join(ignored)}" if ignored else ""))
    head = f"{report.name}: {report.format}, {totals.records:,} records"
    if totals.edges:
        head += f", {totals.edges:,} edges between them"
    if report.preview is not None:
        lines += [f"{head} (nothing is imported)", report.preview.text()]
    else:
        done = totals.records + totals.edges
        speed = f", {done / report.seconds:,.0f}/s" if done >= 1000 and report.seconds else ""
        resumed = f", from record {report.resumed_at:,} on" if report.resumed_at else ""
        lines.append(f"{head}{resumed} in {report.seconds:.1f} s{speed}")
        lines.append(
            f"  {totals.nodes_made:,} nodes and {totals.edges_made:,} edges made, {totals.edits:,} edits in all"
        )
    if totals.rejects:
        lines.append(f"  {totals.rejects:,} rejects:")
        lines += [f"    {count:>7,}  {reason}" for reason, count in report.reasons.most_common(REASONS_SHOWN)]
        rest = totals.rejects - sum(count for _, count in report.reasons.most_common(REASONS_SHOWN))
        if rest:
            lines.append(f"    {rest:>7,}  of other kinds")
    if report.fault:
        lines.append(f"ERROR: {report.name}, {report.fault}")
        if report.preview is None:
            told = f"the {totals.records:,} records before that are imported; edges that end at later ones are not"
            lines.append(f"  {told if totals.records else 'nothing is imported'}")
    return "\n".join(lines)
