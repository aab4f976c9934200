"""Five questions to the CTI pack, each a Storm query that returns rows, and the table it is shown in."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from cellmesh.api.cortex.v1 import storm_pb2
from cellmesh.api.cortex.v1.storm_service_pb2_grpc import StormServiceStub
from cellmesh.client import CellClient
from cellmesh.common.values import from_value, to_value
from rich.console import Console
from rich.table import Table

ANSWER_TIMEOUT_S = 300.0
ROWS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes:
        title: The question in words.
        text: The query; its return value is a list of rows.
        columns: What the rows hold.
        sort_by: Column to sort by, largest first, or None to sort by the first, smallest first.
        variables: Variables of the query.
    """

    title: str
    text: str
    columns: tuple[str, ...]
    sort_by: int | None = None
    variables: dict[str, Any] = field(default_factory=dict)


QUESTIONS: tuple[Question, ...] = (
    Question(
        "Which actors are known to phish (T1566), under any of their names, and aim at the energy sector?",
        """
        $rows = ([])
        it:mitre:attack:technique^=$technique <(uses)- risk:threat
        -> ou:name -> risk:threat | uniq |
        +{ -(targets)> ou:industry +:name=$sector }
        $rows.append(([:org:name, :country:code, $node.value()]))
        fini { return($rows) }
        """,
        ("actor", "country", "risk:threat"),
        variables={"technique": "T1566", "sector": "energy"},
    ),
    Question(
        "Which names stand for two or more actors?",
        """
        $rows = ([])
        risk:threat -> ou:name | uniq |
        +{ -> risk:threat | uniq }>=2
        $actors = ([])
        { -> risk:threat | uniq | $actors.append($node.iden()) }
        $rows.append(([$node.value(), $actors.size()]))
        fini { return($rows) }
        """,
        ("name", "actors"),
        sort_by=1,
    ),
    Question(
        "Which software do three or more actors use?",
        """
        $rows = ([])
        risk:tool:software +{ <(uses)- risk:threat | uniq }>=3
        $actors = ([])
        { <(uses)- risk:threat | uniq | $actors.append($node.iden()) }
        $rows.append(([:soft:name, $actors.size(), $node.value()]))
        fini { return($rows) }
        """,
        ("software", "actors", "risk:tool:software"),
        sort_by=1,
    ),
    Question(
        "Which mitigations cover most of the techniques that 40 or more actors use?",
        """
        $counts = ({})
        $names = ({})
        it:mitre:attack:technique +{ <(uses)- risk:threat | uniq }>=40
        <(mitigates)- it:mitre:attack:mitigation
        $id = $node.value()
        $names.$id = :name
        $count = $counts.$id
        if ($count = null) { $count = (0) }
        $counts.$id = ($count + 1)
        fini {
            $rows = ([])
            for ($id, $count) in $counts { $rows.append(([$id, $names.$id, $count])) }
            return($rows)
        }
        """,
        ("mitigation", "name", "techniques"),
        sort_by=2,
    ),
    Question(
        "Which hosts are cited most?",
        """
        $counts = ({})
        inet:url +:fqdn $host = :fqdn
        <(refs)- *
        $count = $counts.$host
        if ($count = null) { $count = (0) }
        $counts.$host = ($count + 1)
        fini {
            $rows = ([])
            for ($host, $count) in $counts { if ($count > 100) { $rows.append(([$host, $count])) } }
            return($rows)
        }
        """,
        ("host", "citations"),
        sort_by=1,
    ),
)


def ask(cortex: CellClient, question: Question) -> tuple[list[list[Any]], float]:
    """Return the rows of the answer, sorted, and the seconds it took."""
    request = storm_pb2.CallStormRequest(text=question.text)
    for name, value in question.variables.items():
        request.options.vars[name].CopyFrom(to_value(value))
    begin = time.perf_counter()
    value = from_value(cortex.stub(StormServiceStub).CallStorm(request, timeout=ANSWER_TIMEOUT_S).value)
    seconds = time.perf_counter() - begin
    rows = [list(row) for row in value or []]
    if question.sort_by is None:
        rows.sort(key=lambda row: str(row[0]))
    else:
        column = question.sort_by
        rows.sort(key=lambda row: (-row[column], str(row[0])))
    return rows, seconds


def show(console: Console, number: int, question: Question, rows: list[list[Any]], seconds: float) -> None:
    """Print a question with its answer as a table."""
    console.print(f"\n[bold]{number}. {question.title}[/bold]", highlight=False)
    table = Table(show_edge=False, pad_edge=False)
    for position, column in enumerate(question.columns):
        is_number = bool(rows) and isinstance(rows[0][position], int)
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in rows[:ROWS_SHOWN]:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    console.print(table)
    more = f", the first {ROWS_SHOWN} shown" if len(rows) > ROWS_SHOWN else ""
    console.print(f"{len(rows):,} rows{more}, {seconds:.2f} s", highlight=False)
