"""`cellmesh storm` on a small server that answers what a Cortex could answer."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from cellmesh.api.cortex.v1 import node_pb2, storm_pb2, storm_service_pb2_grpc
from cellmesh.cli.commands.storm import error_text, excerpt, node_lines
from cellmesh.cli.main import run
from cellmesh.cli.totals import totals_text
from cellmesh.common.errors import BadSyntax, BadTypeValu, NoSuchProp, NoSuchVar
from cellmesh.common.errors.status import to_abort, to_detail
from cellmesh.common.values import from_value, to_value


def node() -> node_pb2.Node:
    made = node_pb2.Node(form="inet:fqdn", value=to_value("vertex.link"), buid=b"\x01" * 32)
    made.props["zone"].CopyFrom(to_value("vertex.link"))
    made.props[".created"].CopyFrom(to_value(1_700_000_000_000))
    made.tags["cno"].SetInParent()
    made.tags["cno.seen"].interval.min = 0
    made.tags["cno.seen"].interval.max = 1000
    made.tag_props["cno"].props["risk"].CopyFrom(to_value(5))
    made.repr.props[".created"] = "2023/11/14 22:13:20.000"
    return made


class Cortex(storm_service_pb2_grpc.StormServiceServicer):
    """Answers by the text of the query, and keeps the last request."""

    def __init__(self) -> None:
        self.request = storm_pb2.StormRequest()

    def Storm(self, request: storm_pb2.StormRequest, context: Any) -> Iterator[storm_pb2.StormResponse]:
        self.request = request
        Message = storm_pb2.StormMessage
        fini = storm_pb2.StormFini(node_count=1, edit_count=2)
        fini.duration.FromMilliseconds(20)
        yield storm_pb2.StormResponse(messages=[Message(init=storm_pb2.StormInit(text=request.text))])
        if request.text.startswith("bad"):
            error = BadSyntax("unexpected character", line=2, column=4, at=9, text=request.text, token="!")
            yield storm_pb2.StormResponse(messages=[Message(err=to_detail(error))])
        else:
            yield storm_pb2.StormResponse(
                messages=[
                    Message(node=node()),
                    Message(print=storm_pb2.StormPrint(text="printed")),
                    Message(warn=storm_pb2.StormWarn(text="careful")),
                ]
            )
        if request.options.profile:
            yield storm_pb2.StormResponse(messages=[Message(profile=plan())])
        yield storm_pb2.StormResponse(messages=[Message(fini=fini)])

    def ExplainStorm(
        self, request: storm_pb2.ExplainStormRequest, context: grpc.ServicerContext
    ) -> storm_pb2.ExplainStormResponse:
        if request.text == "bad":
            code, text, metadata = to_abort(BadSyntax("unexpected character", line=1, column=1))
            context.set_trailing_metadata(metadata)
            context.abort(code, text)
        return storm_pb2.ExplainStormResponse(plan=plan())

    def CountStorm(self, request: storm_pb2.CountStormRequest, context: Any) -> storm_pb2.CountStormResponse:
        return storm_pb2.CountStormResponse(count=41)


@pytest.fixture
def cortex() -> Iterator[tuple[Cortex, str]]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    servicer = Cortex()
    storm_service_pb2_grpc.add_StormServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"grpc://127.0.0.1:{port}"
    server.stop(None)


def test_nodes_are_printed_with_properties_and_tags(
    cortex: tuple[Cortex, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["storm", "--url", cortex[1], "inet:fqdn"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "inet:fqdn=vertex.link",
        "        .created = 2023/11/14 22:13:20.000",
        "        :zone = vertex.link",
        "        #cno",
        "        #cno:risk = 5",
        "        #cno.seen = (1970/01/01 00:00:00.000, 1970/01/01 00:00:01.000)",
        "printed",
    ]
    assert "WARNING: careful" in told.err
    assert "1 node, 2 edits in 20 ms\n" in told.err


def test_json_lines_hold_every_message(
    cortex: tuple[Cortex, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["storm", "--url", cortex[1], "--jsonl", "inet:fqdn"]) == 0
    messages = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [message["type"] for message in messages] == ["init", "node", "print", "warn", "fini"]
    assert messages[1]["iden"] == "01" * 32
    assert messages[1]["props"] == {".created": 1_700_000_000_000, "zone": "vertex.link"}
    assert messages[1]["tags"] == {"cno": None, "cno.seen": [0, 1000]}


def test_options_reach_the_cortex(cortex: tuple[Cortex, str]) -> None:
    arguments = [
        "--limit",
        "3",
        "--readonly",
        "--view",
        "a" * 32,
        "--var",
        "n=5",
        "--var",
        "t=text",
        "--var",
        "l=[1]",
    ]
    assert run(["storm", "--url", cortex[1], *arguments, "inet:fqdn"]) == 0
    options = cortex[0].request.options
    assert (options.limit, options.readonly, options.view_id) == (3, True, "a" * 32)
    variables = {name: from_value(value) for name, value in options.vars.items()}
    assert variables == {"n": 5, "t": "text", "l": [1]}


def test_limits_reach_the_cortex(cortex: tuple[Cortex, str]) -> None:
    service, url = cortex
    given = ["--row-limit", "1000", "--memory-limit", "65536", "--depth-limit", "5", "--time-limit", "0.5"]
    assert run(["storm", "inet:fqdn", "--url", url, *given]) == 0
    options = service.request.options
    assert (options.row_limit, options.memory_limit, options.depth_limit) == (1000, 65536, 5)
    assert options.time_limit.ToMilliseconds() == 500
    assert run(["storm", "inet:fqdn", "--url", url]) == 0
    assert not service.request.options.HasField("time_limit")
    assert run(["storm", "inet:fqdn", "--url", url, "--row-limit", "0"]) == 2


def test_a_wrong_query_shows_the_place_with_a_caret(
    cortex: tuple[Cortex, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("bad |\n  :!x"))
    assert run(["storm", "--url", cortex[1], "-"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "ERROR: BadSyntax: unexpected character"
    assert lines[1].endswith("  :!x")
    assert lines[2].index("^") == lines[1].index("!")


def test_a_count_is_a_number(cortex: tuple[Cortex, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["storm", "--url", cortex[1], "--count", "inet:fqdn"]) == 0
    assert capsys.readouterr().out == "41\n"


def test_an_excerpt_of_a_long_line_keeps_the_place_in_sight() -> None:
    text = "a" * 500 + "!" + "b" * 500
    shown, caret = excerpt(BadSyntax(line=1, column=501), text)
    assert shown[caret.index("^")] == "!"
    assert len(shown) < 160
    assert excerpt(NoSuchProp("no such property"), text) == []
    assert excerpt(BadSyntax(line=9, column=1), text) == []


def test_an_excerpt_that_the_cortex_made_is_shown_as_it_is() -> None:
    error = NoSuchProp("no property nope", excerpt="inet:fqdn +:nope\n          ^^^^^^", line=1, column=11)
    assert excerpt(error, "inet:fqdn +:nope") == ["  inet:fqdn +:nope", "            ^^^^^^"]
    assert error_text(error) == "no property nope"
    assert error_text(error, "// here\ninet:fqdn +:nope") == "no property nope, at line 1, column 11"


def test_a_syntax_error_tells_each_thing_once() -> None:
    """Its message has place and excerpt, and the hint in brackets, behind which nothing may come."""
    error = BadSyntax(
        "expected ',', found ')' (write (a,)), at line 1, column 3:\n(a)\n  ^",
        hint="write (a,)",
        line=1,
        column=3,
    )
    assert error_text(error, "(a)") == "expected ',', found ')' (write (a,)), at line 1, column 3"
    assert excerpt(error, "(a)") == ["  (a)", "    ^"]


def test_fields_that_the_message_tells_are_not_repeated() -> None:
    assert error_text(NoSuchVar("no variable $y is set in this query", name="y")) == (
        "no variable $y is set in this query"
    )
    wrong = BadTypeValu(
        "('2020', 'zzz') is no ival: no time", valu=["2020", "zzz"], form="inet:ipv4", prop="asn"
    )
    assert error_text(wrong) == "('2020', 'zzz') is no ival: no time (form='inet:ipv4', prop='asn')"
    # A property is not told by the type whose name ends with it.
    wrong = BadTypeValu("foo is no inet:asn: not a whole number", valu="foo", prop="asn")
    assert error_text(wrong) == "foo is no inet:asn: not a whole number (prop='asn')"


def test_a_rate_is_told_of_many_nodes_only() -> None:
    def totals(count: int, milliseconds: int) -> str:
        fini = storm_pb2.StormFini(node_count=count)
        fini.duration.FromMilliseconds(milliseconds)
        return totals_text(fini)

    assert totals(1, 0) == "1 node in less than 1 ms"
    assert totals(2000, 500) == "2,000 nodes in 500 ms, 4,000 a second"


def test_no_nodes_are_not_told_behind_an_answer_that_is_none() -> None:
    fini = storm_pb2.StormFini(edit_count=2)
    fini.duration.FromMilliseconds(3)
    assert totals_text(fini) == "0 nodes, 2 edits in 3 ms"
    assert totals_text(fini, spoke=True) == "2 edits in 3 ms"
    assert totals_text(storm_pb2.StormFini(), spoke=True) == "in less than 1 ms"
    assert totals_text(storm_pb2.StormFini(node_count=1), spoke=True) == "1 node in less than 1 ms"


def test_a_node_without_repr_is_printed_all_the_same() -> None:
    made = node_pb2.Node(form="it:dev:int", value=to_value(5))
    assert node_lines(made) == ["it:dev:int=5"]


def test_a_value_with_line_breaks_stays_on_its_line() -> None:
    made = node_pb2.Node(form="it:dev:str", value=to_value("a\nb"))
    made.repr.value = "a\nb"
    made.props["norm"].CopyFrom(to_value("a\nb"))
    made.repr.props["norm"] = "A\nb"
    assert node_lines(made) == [r"it:dev:str='a\nb'", r"        :norm = 'A\nb'"]


def plan() -> storm_pb2.StormPlan:
    made = storm_pb2.StormPlan(may_change=True)
    lift = made.steps.add(kind="lift", text="inet:ipv4", line=1, column=1, notes=["all nodes of the form"])
    lift.run_count, lift.row_count = 1, 12345
    lift.duration.FromMicroseconds(2500)
    made.steps.add(kind="filter", text="+{ … }").steps.add(kind="pivot", text="-> *")
    return made


def test_the_plan_of_a_query_is_a_tree(
    cortex: tuple[Cortex, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["storm", "--url", cortex[1], "--explain", "inet:ipv4"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "inet:ipv4  // all nodes of the form",
        "+{ … }",
        "  -> *",
        "The query may change data. Each row goes through all steps in turn.",
    ]
    assert run(["storm", "--url", cortex[1], "--explain", "--jsonl", "inet:ipv4"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["may_change"] is True
    assert told["steps"][1]["steps"][0]["text"] == "-> *"


def test_a_query_without_a_plan_says_why(
    cortex: tuple[Cortex, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["storm", "--url", cortex[1], "--explain", "bad"]) == 1
    assert "ERROR: BadSyntax: unexpected character" in capsys.readouterr().err


def test_a_profile_comes_after_the_nodes(
    cortex: tuple[Cortex, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["storm", "--url", cortex[1], "--profile", "profiled"]) == 0
    assert cortex[0].request.options.profile
    lines = capsys.readouterr().err.splitlines()
    assert lines[1:5] == [
        "      rows         time     runs  step",
        "    12,345      2.50 ms        1  inet:ipv4  // all nodes of the form",
        "         -            -        -  +{ … }",
        "         -            -        -    -> *",
    ]
    assert run(["storm", "--url", cortex[1], "--profile", "--jsonl", "profiled"]) == 0
    messages = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert messages[-2]["type"] == "profile"
    assert messages[-2]["steps"][0]["rows"] == 12345
