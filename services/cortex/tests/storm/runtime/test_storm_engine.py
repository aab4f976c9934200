"""What a query sends, in which order, and how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from cellmesh.common.errors import (
    BadTypeValu,
    CellError,
    LimitExceeded,
    NoSuchVar,
    RecursionLimitHit,
    StormRuntimeError,
)
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime.messages import Error, Fini, Init, Message, NodeRow, Print
from cellmesh.cortex.storm.runtime.options import QueryLimits, QueryOptions


def run(engine: Engine, text: str, **options: Any) -> list[Message]:
    return list(engine.storm(text, QueryOptions(**options)))


def values(messages: list[Message]) -> list[Any]:
    return [message.node.value for message in messages if isinstance(message, NodeRow)]


def prints(messages: list[Message]) -> list[str]:
    return [message.text for message in messages if isinstance(message, Print)]


def error_in(messages: list[Message]) -> CellError:
    found = [message.error for message in messages if isinstance(message, Error)]
    assert len(found) == 1, f"expected one error, got {found}"
    return found[0]


def test_a_query_begins_with_init_and_ends_with_fini(engine: Engine) -> None:
    messages = run(engine, "[ it:dev:int=1 it:dev:int=2 ]")
    assert isinstance(messages[0], Init)
    assert isinstance(messages[-1], Fini)
    assert messages[-1].node_count == 2
    assert messages[-1].edit_count > 0


def test_fini_follows_an_error_and_edits_before_it_stay(engine: Engine) -> None:
    messages = run(engine, "[ it:dev:int=1 it:dev:int=foo ]")
    assert isinstance(error_in(messages), BadTypeValu)
    assert isinstance(messages[-1], Fini)
    assert values(run(engine, "it:dev:int")) == [1]


def test_one_node_goes_through_the_whole_pipeline_before_the_next(engine: Engine) -> None:
    messages = run(
        engine,
        "[ it:dev:int=1 it:dev:int=2 ] $lib.print($node.value()) [ +#seen ] $lib.print(`{$node.value()} on`)",
    )
    kinds = [message.text if isinstance(message, Print) else "node" for message in messages[1:-1]]
    assert kinds == ["1", "1 on", "node", "2", "2 on", "node"]


def test_a_query_sees_its_own_writes(engine: Engine) -> None:
    assert values(run(engine, "[ inet:ipv4=1.2.3.4 :asn=5 ] -> inet:asn")) == [5]


def test_an_unknown_variable_is_reported_before_anything_runs(engine: Engine) -> None:
    messages = run(engine, "[ it:dev:int=1 ]\n$lib.print($nope)")
    error = error_in(messages)
    assert isinstance(error, NoSuchVar)
    assert (error.get("line"), error.get("column")) == (2, 12)
    assert values(run(engine, "it:dev:int")) == []


def test_an_error_names_its_place_in_the_text(engine: Engine) -> None:
    error = error_in(run(engine, "$x=5\n  $lib.print(($x + foo.bar))".replace("foo.bar", '"foo"')))
    assert (error.get("line"), error.get("column")) == (2, 15)
    assert error.get("excerpt").endswith("^")


def test_the_place_is_that_of_the_innermost_step(engine: Engine) -> None:
    error = error_in(run(engine, "function f(x) { return(($x + null)) }\n$lib.print($f(1))"))
    assert error.get("line") == 1


def test_a_read_only_query_refuses_edits(engine: Engine) -> None:
    messages = run(engine, "[ it:dev:int=1 ]", readonly=True)
    assert error_in(messages).name == "IsReadOnly"


def test_limit_stops_the_query(engine: Engine) -> None:
    run(engine, "for $i in $lib.range(10) { [ it:dev:int=$i ] }")
    assert values(run(engine, "it:dev:int", limit=3)) == [0, 1, 2]


def test_a_query_begins_with_the_nodes_of_the_options(engine: Engine) -> None:
    run(engine, "[ it:dev:int=1 it:dev:int=2 ]")
    iden = engine.call("it:dev:int=2 return($node.iden())")
    assert values(run(engine, "", ndefs=(("it:dev:int", 1),), idens=(iden,))) == [1, 2]


def test_show_keeps_the_kinds_asked_for(engine: Engine) -> None:
    messages = run(engine, "[ it:dev:int=1 ] $lib.print(x)", show=frozenset({"print"}))
    assert (values(messages), prints(messages)) == ([], ["x"])


def test_call_gives_the_returned_value_as_plain_data(engine: Engine) -> None:
    assert engine.call('return(({"a": [1, "x"], "b": null}))') == {"a": [1, "x"], "b": None}


def test_call_raises_with_the_place(engine: Engine) -> None:
    with pytest.raises(StormRuntimeError) as caught:
        engine.call("return((1 / 0))")
    assert caught.value.get("column") == 9


def test_count_agrees_with_the_nodes_whatever_way_it_is_found(engine: Engine) -> None:
    run(engine, "for $i in $lib.range(20) { [ inet:ipv4=$i :asn=($i % 3) +#t ] }")
    for text in (
        "inet:ipv4",
        "inet:ipv4:asn",
        "inet:ipv4:asn=1",
        "#t",
        "inet:ipv4#t",
        "inet:ipv4 +:asn=1",
        "#nope",
    ):
        assert engine.count(text) == len(values(run(engine, text))), text


def test_depth_is_bounded(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(limits=QueryLimits(depth_max=50))
    error = error_in(run(engine, "function f(n) { return($f(($n + 1))) } $f((0))"))
    assert isinstance(error, RecursionLimitHit)


def test_the_default_depth_fits_the_stack_of_a_thread(engine: Engine) -> None:
    found: list[CellError] = []
    text = "function f(n) { for $x in (1,) { if (true) { it:dev:int=1 return($f(($n + 1))) } } } [it:dev:int=1] $f((0))"
    thread = threading.Thread(target=lambda: found.append(error_in(run(engine, text))))
    thread.start()
    thread.join()
    assert isinstance(found[0], RecursionLimitHit)


def test_rows_are_bounded(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(limits=QueryLimits(row_count_max=1000))
    error = error_in(run(engine, "while (true) { $x=1 }"))
    assert isinstance(error, LimitExceeded)
    assert error.get("name") == "rows"


def test_time_is_bounded(engine: Engine) -> None:
    error = error_in(run(engine, "while (true) { $x=1 }", time_limit_s=0.05))
    assert isinstance(error, LimitExceeded)
    assert error.get("name") == "time"


def test_cancel_ends_a_query_soon(engine: Engine) -> None:
    query = engine.start("while (true) { $x=1 }")
    threading.Timer(0.05, query.cancel).start()
    began = time.monotonic()
    error = error_in(list(query.messages()))
    assert error.name == "Cancelled"
    assert time.monotonic() - began < 20


def test_messages_can_be_taken_as_they_arise(engine: Engine) -> None:
    taken: list[Message] = []
    engine.start("for $i in (1, 2) { $lib.print($i) }").send_to(taken.append)
    assert prints(taken) == ["1", "2"]
    assert isinstance(taken[-1], Fini)


def test_an_endless_generator_is_made_on_demand(engine: Engine) -> None:
    text = "function f() { $i=(0) while (true) { $i=($i + 1) emit $i } } for $x in $f() { if ($x = 3) { return($x) } }"
    assert engine.call(text) == 3


def test_two_threads_share_an_engine(engine: Engine) -> None:
    run(engine, "for $i in $lib.range(200) { [ inet:ipv4=$i :asn=($i % 5) ] }")
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda: counts.append(len(values(run(engine, "inet:asn -> inet:ipv4")))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [200] * 4


def test_arguments_and_defaults_see_what_stands_before_them(engine: Engine) -> None:
    run(engine, "for $i in $lib.range(5) { [ it:dev:int=$i ] }")
    assert values(run(engine, "$n=2 it:dev:int | limit $n")) == [0, 1]
    assert prints(run(engine, "$d=7 function f(x=$d) { return($x) } it:dev:int=1 $lib.print($f())")) == ["7"]


def test_a_join_passes_on_its_row_before_it_looks_where_it_leads(engine: Engine) -> None:
    """What comes behind may edit the node; and a missing way is an error of what follows the row."""
    ndefs = [
        m.node.ndef
        for m in engine.storm("[ ou:org=* ] -+> * +ou:org [ :name=bob ]")
        if isinstance(m, NodeRow)
    ]
    assert [form for form, _ in ndefs] == ["ou:org"]
    found = [m for m in engine.storm("ou:org -+> * [ +#seen ]") if isinstance(m, NodeRow)]
    assert [row.node.form.name for row in found] == ["ou:org", "ou:name"]
    messages = list(engine.storm("[ inet:asn=8 ] -+> inet:asn"))
    assert [m.node.value for m in messages if isinstance(m, NodeRow)] == [8]
    assert [m.error.name for m in messages if isinstance(m, Error)] == ["NoSuchPivot"]


def test_a_pivot_from_a_property_that_is_not_there_to_anything_leads_nowhere(engine: Engine) -> None:
    assert [type(m) for m in engine.storm("[ inet:ipv4=4 ] :nosuch -> *")] == [Init, Fini]
    assert [m.error.name for m in engine.storm("inet:ipv4 :nosuch -> inet:asn") if isinstance(m, Error)] == [
        "NoSuchProp"
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("$lib.layer.add(443)", "BadArg"),
        ("$lib.layer.add(([1]))", "BadArg"),
        ("return($lib.time.parse('2020', '%Y %Y'))", "StormRuntimeError"),
        ("return($lib.time.parse('2020', '%'))", "StormRuntimeError"),
        ("count :proc-yield", None),
        ("inet:ipv4 | limit $node.value()", None),
    ],
)
def test_what_is_given_wrongly_is_a_typed_error(engine: Engine, text: str, error: str | None) -> None:
    errors = [m.error.name for m in engine.storm(text) if isinstance(m, Error)]
    assert errors == ([] if error is None else [error])
