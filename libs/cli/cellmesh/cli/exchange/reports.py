"""What became of the files of an import."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from cellmesh.cli.exchange.feeding import Totals
from cellmesh.cli.exchange.mapping import Columns
from cellmesh.cli.exchange.preview import Preview

REASONS_SHOWN: Final = 5


@dataclass(slots=True)
class FileReport:
    """What became of one file.

    Attributes:
        fault: Why it could not be imported whole; empty if it was.
        was_done: Whether it was passed over, as an import that is resumed had it whole.
        preview: Of a dry run.
    """

    name: str
    format: str
    totals: Totals = field(default_factory=Totals)
    reasons: Counter[str] = field(default_factory=Counter)
    resumed_at: int = 0
    fault: str = ""
    was_done: bool = False
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
        if self.was_done:
            found["done_before"] = True
        if self.fault:
            found["error"] = self.fault
        return found


def report_text(report: FileReport) -> str:
    """A report for people."""
    totals = report.totals
    if report.was_done:
        return f"{report.name}: {report.format}, imported before"
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


class Sum:
    """What became of all files of an import."""

    def __init__(self) -> None:
        self._files = self._faults = 0
        self._totals = Totals()
        self._seconds = 0.0

    def add(self, report: FileReport) -> None:
        """Count a file."""
        self._files += 1
        self._faults += bool(report.fault)
        self._seconds += report.seconds
        for name in ("records", "edges", "nodes_made", "edges_made", "edits", "rejects"):
            setattr(self._totals, name, getattr(self._totals, name) + getattr(report.totals, name))

    def text(self, *, is_dry: bool) -> str:
        """For people; empty for a single file, whose report tells everything."""
        if self._files < 2:
            return ""
        totals = self._totals
        lines = [f"{self._files:,} files: {totals.records:,} records in {self._seconds:.1f} s"]
        if not is_dry:
            lines.append(
                f"  {totals.nodes_made:,} nodes and {totals.edges_made:,} edges made, {totals.edits:,} edits in all"
            )
        if totals.rejects:
            lines.append(f"  {totals.rejects:,} rejects")
        if self._faults:
            lines.append(f"  {self._faults:,} of the files are not whole, see above")
        return "\n".join(lines)
