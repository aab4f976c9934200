"""A query that is one lift gives its nodes as they are stored, in blocks: the same, in the same order, as row by row."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from cellmesh.cortex.api.convert import message_bytes, nodes_bytes
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime.messages import Error, Fini, Message, NodeRecords, NodeRow, Print
from cellmesh.cortex.storm.runtime.options import QueryOptions
from storm_kit import open_engine

COUNT = 3000
MADE = """
for $i in $lib.range(3000) {
    [ inet:ipv4=$i :asn=($i / 100) +#t.odd=(2020, 2021) ]
    if (($i / 7 * 7) = $i) { [ +#t.seven:risk=$i ] }
}
[ it:dev:str=x it:dev:str=y ] | spin |
[ ps:person=* :names=(ann, bob) ] [ ps:person=* :names=(ann, carl) ]
"""

IN_BLOCKS = (
    "inet:ipv4",
    "reverse(inet:ipv4)",
    "inet:ipv4=5",
    "inet:ipv4=0.0.1.0/24",
    "inet:ipv4:asn",
    "inet:ipv4:asn=7",
    "inet:ipv4:asn>20",
    "reverse(inet:ipv4:asn*range=(3, 9))",
    "inet:ipv4:asn*in=(3, 9, 200)",
    "#t",
    "#t.odd",
    "inet:ipv4#t",
    "#t.seven:risk",
    "inet:ipv4#t.seven:risk>100",
    "it:dev:str^=x",
    "inet:asn=99999",
    "inet:ipv4=$ip",
    "ps:person:names*[=ann]",
)
BY_ROWS = (
    "inet:ipv4 +:asn=3",
    "inet:ipv4 | limit 3",
    "inet:ipv4#t.odd@=2020",
    "it:dev:str~=x",
    "inet:*",
    "[ inet:ipv4=5 ]",
    "syn:form=inet:ipv4",
    "inet:ipv4=5 inet:ipv4=6",
    "inet:ipv4=5 -> inet:asn",
)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterable[Engine]:
    with open_engine(tmp_path_factory.mktemp("blocks")) as engine:
        engine.call("$lib.model.ext.addTagProp(risk, (int, ({})), ({}))")
        messages = list(engine.storm(MADE))
        assert [message for message in messages if isinstance(message, Error)] == []
        yield engine


def told(engine: Engine, text: str, **options: Any) -> list[Message]:
    """What a query tells somebody who takes records."""
    found: list[Message] = []
    given = {"vars": {"ip": "0.0.0.9"}, **options}
    engine.start(text, QueryOptions(**given)).send_to(found.append, takes_records=True)
    return found


def in_rows(engine: Engine, text: str) -> list[bytes]:
    """The nodes of a query that is asked for rows."""
    options = QueryOptions(vars={"ip": "0.0.0.9"})
    return [message.node.packed() for message in engine.storm(text, options) if isinstance(message, NodeRow)]


@pytest.mark.parametrize("text", IN_BLOCKS)
def test_blocks_have_what_rows_have(filled: Engine, text: str) -> None:
    found = told(filled, text)
    assert not any(isinstance(message, NodeRow) for message in found)
    records = [record for message in found if isinstance(message, NodeRecords) for record in message.records]
    assert records == in_rows(filled, text)
    assert [message.node_count for message in found if isinstance(message, Fini)] == [len(records)]


def test_the_lifts_compared_find_something(filled: Engine) -> None:
    assert len(in_rows(filled, "inet:ipv4")) == COUNT
    assert [text for text in IN_BLOCKS if not in_rows(filled, text)] == ["inet:asn=99999"]


@pytest.mark.parametrize("text", BY_ROWS)
def test_other_queries_give_rows(filled: Engine, text: str) -> None:
    found = told(filled, text)
    assert any(isinstance(message, NodeRow) for message in found)
    assert not any(isinstance(message, NodeRecords) for message in found)


@pytest.mark.parametrize(
    "options",
    [{"limit": 5}, {"repr": True}, {"path": True}, {"profile": True}, {"ndefs": (("inet:ipv4", "7"),)}],
)
def test_options_that_ask_for_more_give_rows(filled: Engine, options: dict[str, Any]) -> None:
    found = told(filled, "inet:ipv4", **options)
    assert any(isinstance(message, NodeRow) for message in found)
    assert not any(isinstance(message, NodeRecords) for message in found)


def test_nodes_that_nobody_wants_are_counted(filled: Engine) -> None:
    found = told(filled, "inet:ipv4", show=frozenset({"print"}))
    assert not any(isinstance(message, NodeRow | NodeRecords) for message in found)
    assert [message.node_count for message in found if isinstance(message, Fini)] == [COUNT]


def test_a_fork_gives_rows(filled: Engine) -> None:
    fork = filled.call("return($lib.view.get().fork().iden)")
    found = told(filled, "inet:ipv4", view=fork)
    assert sum(isinstance(message, NodeRow) for message in found) == COUNT


@pytest.mark.parametrize("bound", [1, 2, 17, 18, 500, 2999])
def test_a_bound_on_rows_lets_as_many_through(filled: Engine, bound: int) -> None:
    found = told(filled, "inet:ipv4", row_limit=bound)
    assert sum(len(message.records) for message in found if isinstance(message, NodeRecords)) == bound
    assert [message.error.name for message in found if isinstance(message, Error)] == ["LimitExceeded"]
    by_row = list(filled.storm("inet:ipv4", QueryOptions(row_limit=bound)))
    assert sum(isinstance(message, NodeRow) for message in by_row) == bound


def test_all_rows_of_a_bound_are_no_error(filled: Engine) -> None:
    assert not any(isinstance(message, Error) for message in told(filled, "inet:ipv4", row_limit=COUNT))


def test_a_stopped_query_ends_between_blocks(filled: Engine) -> None:
    running = filled.start("inet:ipv4")
    found: list[Message] = []

    def take(message: Message) -> None:
        found.append(message)
        if isinstance(message, NodeRecords):
            running.cancel()

    running.send_to(take, takes_records=True)
    assert [message.error.name for message in found if isinstance(message, Error)] == ["Cancelled"]
    assert sum(isinstance(message, NodeRecords) for message in found) == 1


def test_a_value_is_worked_out_once(filled: Engine) -> None:
    """Also where the lift then can't be had in blocks."""
    for text in ("inet:ipv4=$f()", "it:dev:str~=$f()"):
        found = told(filled, "function f() { $lib.print(once) return(x) } " + text)
        assert sum(isinstance(message, Print) for message in found) == 1, text
    found = told(filled, "it:dev:str=$($lib.str.format('{v}', v=x))")
    assert sum(isinstance(message, NodeRecords) for message in found) == 1


def test_errors_say_where(filled: Engine) -> None:
    for text in ("inet:ipv4=nope", "inet:ipv4:no=1", "no:such:form"):
        ours = [message.error for message in told(filled, text) if isinstance(message, Error)]
        rows = [message.error for message in filled.storm(text) if isinstance(message, Error)]
        assert [(error.name, error.message, error.get("at")) for error in ours] == [
            (error.name, error.message, error.get("at")) for error in rows
        ]
        assert ours[0].get("at") is not None


def test_blocks_are_the_same_bytes_on_the_wire(filled: Engine) -> None:
    rows = [message for message in filled.storm("inet:ipv4:asn<5") if isinstance(message, NodeRow)]
    records = [row.node.packed() for row in rows]
    assert nodes_bytes(records) == b"".join(message_bytes(row, False) for row in rows)
    assert message_bytes(NodeRecords(records), False) == nodes_bytes(records)
