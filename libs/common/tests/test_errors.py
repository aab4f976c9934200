"""The error hierarchy: complete, readable, with the ways users know."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from pathlib import Path

import pytest
from cellmesh.api.common.v1 import errors_pb2
from cellmesh.common import errors
from cellmesh.common.errors import reasons


def test_every_reason_has_exactly_one_class() -> None:
    wanted = {number for number in errors_pb2.ErrorReason.values() if number}
    assert set(errors.CLASS_BY_REASON) == wanted
    assert len(errors.ALL_ERRORS) == len(wanted)


def test_reason_names_follow_the_class_names() -> None:
    for item in errors.ALL_ERRORS:
        squeezed = item.reason_name().removeprefix("ERROR_REASON_").replace("_", "").lower()
        assert squeezed == item.__name__.lower()


def test_every_grpc_code_but_ok_has_a_class_that_stands_in() -> None:
    codes = set(reasons.StatusCode) - {reasons.StatusCode.OK}
    assert set(reasons.CLASS_BY_CODE) == codes


def test_package_exports_every_class() -> None:
    exported = {
        item for item in vars(errors).values() if inspect.isclass(item) and issubclass(item, Exception)
    }
    assert exported == set(errors.ALL_ERRORS)
    assert {item.__name__ for item in errors.ALL_ERRORS} <= set(errors.__all__)


def test_every_class_says_what_it_means_in_a_sentence() -> None:
    for item in errors.ALL_ERRORS:
        assert item.__doc__, item
        assert item.__doc__.split("\n")[0].endswith("."), item
        assert all(item.field_docs.values()), item


def test_the_names_and_parents_that_synapse_users_know_are_kept() -> None:
    pairs = json.loads((Path(__file__).parent / "vectors" / "exceptions.json").read_text())
    assert len(pairs) > 140
    wanted = [pair for pair in pairs if pair[0] != "SynErr"]
    found = [
        [name, getattr(errors, name).__mro__[1].__name__.replace("CellError", "SynErr")] for name, _ in wanted
    ]
    assert found == wanted
    assert errors.SynErr is errors.CellError


@pytest.mark.parametrize(
    ("child", "parent"),
    [
        (errors.BadEccExchange, errors.CryptoErr),
        (errors.LinkShutDown, errors.LinkErr),
        (errors.NotReady, errors.Retry),
        (errors.StormVarListError, errors.StormRuntimeError),
        (errors.StorageFull, errors.DbOutOfSpace),
        (errors.CellUnreachable, errors.LinkErr),
        (errors.BadTypeValu, errors.SynErr),
    ],
)
def test_tree(child: type[errors.CellError], parent: type[errors.CellError]) -> None:
    assert issubclass(child, parent)


def test_fields_are_reached_by_name() -> None:
    error = errors.BadTypeValu("not an address", name="inet:ipv4", valu="asdf")
    error.set("form", "inet:ipv4")
    error.setdefault("form", "other")
    error.setdefault("prop", "asn")
    assert error.get("mesg") == "not an address"
    assert error.get("nope") is None
    assert error.get("nope", 5) == 5
    assert error.name == "BadTypeValu"
    assert dict(error.items()) == error.errinfo
    assert error.errinfo == {
        "name": "inet:ipv4",
        "valu": "asdf",
        "mesg": "not an address",
        "form": "inet:ipv4",
        "prop": "asn",
    }


def test_mesg_as_keyword_is_the_message() -> None:
    assert errors.SynErr(mesg="as ported code writes it").message == "as ported code writes it"


def test_text_names_the_bad_input_and_ends_with_the_hint() -> None:
    error = errors.NoSuchForm(name="inet:foo", hint="did you mean inet:fqdn?")
    assert str(error) == "The model defines no form of this name (name='inet:foo'): did you mean inet:fqdn?"


def test_text_does_not_repeat_what_the_message_says() -> None:
    assert str(errors.NoSuchForm("no form named inet:foo", name="inet:foo")) == "no form named inet:foo"


def test_text_is_cut_and_shows_objects_by_kind() -> None:
    text = str(errors.BadArg("bad", valu="x" * 100_000, other=object()))
    assert len(text) < 300
    assert text.endswith("other=<object>)")


def test_errors_survive_copy_and_pickle() -> None:
    error = errors.NoSuchProp("no", name="foo", form="inet:ipv4")
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(again) is errors.NoSuchProp
        assert again.errinfo == error.errinfo
