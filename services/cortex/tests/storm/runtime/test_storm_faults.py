"""What Python raises inside a query reaches nobody as it is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cellmesh.common.errors import CellError, Internal
from cellmesh.cortex.storm.commands import COMMANDS
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.library import LIBRARIES
from cellmesh.cortex.storm.primitives import TYPES
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec
from cellmesh.cortex.storm.runtime.messages import Error, Fini
from cellmesh.cortex.views.graph import Graph

RAISED: dict[str, Exception] = {
    "mistake": KeyError("secret"),
    "deep": RecursionError("secret"),
    "full": MemoryError("secret"),
    "large": OverflowError("secret"),
    "odd": UnicodeEncodeError("utf-8", "secret", 0, 1, "secret"),
}
NAMES = {
    "mistake": "Internal",
    "deep": "RecursionLimitHit",
    "full": "LimitExceeded",
    "large": "StormRuntimeError",
    "odd": "StormRuntimeError",
}


def _raiser(error: Exception) -> Callable[[Any], None]:
    def run(context: Any) -> None:
        raise error

    return run


@pytest.fixture
def faulty(graph: Graph) -> Engine:
    functions = tuple(FunctionSpec(name, "Fails.", _raiser(error)) for name, error in RAISED.items())
    library = LibrarySpec(("faulty",), "Fails.", functions)
    return Engine(graph, COMMANDS, (*LIBRARIES, library), TYPES)


def _errors(engine: Engine, text: str) -> Iterator[CellError]:
    messages = list(engine.storm(text))
    assert isinstance(messages[-1], Fini)
    yield from (message.error for message in messages if isinstance(message, Error))
    with pytest.raises(CellError) as raised:
        engine.call(text)
    yield raised.value
    with pytest.raises(CellError) as raised:
        engine.count(text)
    yield raised.value


@pytest.mark.parametrize("name", RAISED)
def test_errors_of_python_have_names_and_places_of_storm(
    faulty: Engine, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    found = list(_errors(faulty, f"$x=1 $lib.faulty.{name}()"))

    assert [error.name for error in found] == [NAMES[name]] * 3
    assert [(error.get("line"), error.get("column")) for error in found] == [(1, 6)] * 3
    for error in found:
        told = f"{error.message} {dict(error.items())}"
        assert "secret" not in told
        assert type(RAISED[name]).__name__ not in told


def test_the_log_has_a_mistake_under_its_reference(faulty: Engine, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Internal) as raised:
        faulty.call("$lib.faulty.mistake()")

    record = next(record for record in caplog.records if raised.value.get("reference") in record.getMessage())
    assert record.exc_info is not None
    assert record.exc_info[0] is KeyError


@pytest.mark.parametrize("word", ["return(1)", "break ", "continue ", "stop "])
def test_statements_out_of_place_are_told_with_their_place(faulty: Engine, word: str) -> None:
    error = next(message.error for message in faulty.storm(f"$x=1\n{word}") if isinstance(message, Error))

    assert error.name == "StormRuntimeError"


@pytest.mark.parametrize(
    ("names", "type_name"),
    [("$x", "null"), ("({'MyErr': 1})", "dict"), ("$lib.set(MyErr)", "set"), (":severity", "null")],
)
def test_catch_takes_names_only(graph: Graph, names: str, type_name: str) -> None:
    engine = Engine(graph, COMMANDS, LIBRARIES, TYPES)
    text = f"$x=$lib.null try {{ $lib.raise(MyErr, no) }} catch {names} as err {{ }}"
    for error in _errors(engine, text):
        assert error.name == "StormRuntimeError"
        assert error.get("type") == type_name


def test_catch_takes_lists_of_names(graph: Graph) -> None:
    engine = Engine(graph, COMMANDS, LIBRARIES, TYPES)
    text = "$x=(['Other', $lib.null, 'MyErr']) try { $lib.raise(MyErr, no) } catch $x as err { return($err.name) }"
    assert engine.call(text) == "MyErr"


@pytest.mark.parametrize(
    "edit",
    [
        "[ +#tag ]",
        "[ -#tag ]",
        "[ :doc=x ]",
        "[ .seen=now ]",
        "[ +(refs)> { inet:asn } ]",
        "[ <(refs)+ { inet:asn } ]",
        "[ -(refs)> { inet:asn } ]",
        "[ <(refs)- { inet:asn } ]",
        "$node.data.set(name, 1)",
        "| delnode",
    ],
)
def test_nodes_of_the_model_are_not_edited(graph: Graph, edit: str) -> None:
    engine = Engine(graph, COMMANDS, LIBRARIES, TYPES)
    engine.count("[ inet:asn=1 ]")
    assert [error.name for error in _errors(engine, f"syn:form=inet:asn {edit}")] == ["IsRuntForm"] * 3
    assert engine.call("syn:form=inet:asn return($node.data.pop(name))") is None


@pytest.mark.parametrize("options", ['({"enums": 5})', '({"enums": [[1]]})', '({"enums": [["b", "two"]]})'])
def test_options_of_a_type_that_cannot_be_used_are_named_errors(graph: Graph, options: str) -> None:
    engine = Engine(graph, COMMANDS, LIBRARIES, TYPES)
    text = f"$lib.model.ext.addType(_x:odd, int, {options}, ({{}}))"
    for error in _errors(engine, text):
        assert error.name == "BadTypeDef"
        assert error.get("name") == "_x:odd"
