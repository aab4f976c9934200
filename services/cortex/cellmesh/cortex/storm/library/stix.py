"""`$lib.stix`: bundles of STIX 2.1 made of nodes and into nodes, checked for their form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, BadTypeValu, StormRuntimeError
from cellmesh.cortex.storm.formats.stix_import import StixIngest
from cellmesh.cortex.storm.formats.stix_mapping import export_config, import_config
from cellmesh.cortex.storm.objects.stix import EXTENSION, StixBundle, check_export_config, stix_time
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import toprim

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.views.node import Node

_IDEN: Final = re.compile(
    r"[a-z][a-z0-9-]*--[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII
)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_TIMES: Final = ("created", "modified", "first_seen", "last_seen", "valid_from", "valid_until")
_RELATION: Final = ("relationship_type", "source_ref", "target_ref")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _validate(context: RunContext, bundle: Any) -> dict[str, Any]:
    found = [*problems(toprim(bundle))]
    if found:
        return {
            "ok": False,
            "mesg": f"the bundle is not valid: {found[0]}",
            "result": {"result": False, "errors": found},
        }
    return {"ok": True, "mesg": "", "result": {"result": True}}


def problems(bundle: Any) -> Iterator[str]:
    """Yield what is wrong with a bundle: the form of it, of its objects and of what they refer to."""
    if not isinstance(bundle, dict) or "type" not in bundle or "id" not in bundle:
        yield "it has no id or type"
        return
    if bundle["type"] != "bundle":
        yield "it is no bundle"
    yield from _object_problems(bundle)
    objects = bundle.get("objects", [])
    if not isinstance(objects, (list, tuple)):
        yield "its objects are no list"
        return
    for one in objects:
        if not isinstance(one, dict) or "type" not in one or "id" not in one:
            yield "an object has no id or type"
            continue
        yield from _object_problems(one)


def _object_problems(one: dict[str, Any]) -> Iterator[str]:
    kind, iden = one["type"], one["id"]
    if not isinstance(iden, str) or _IDEN.fullmatch(iden) is None:
        yield f"{iden} is no id"
    elif not iden.startswith(f"{kind}--"):
        yield f"{iden} is no id of a {kind}"
    for name in _TIMES:
        if name in one and (not isinstance(one[name], str) or _TIME.fullmatch(one[name]) is None):
            yield f"{iden}: {name} is no time"
    for name, value in one.items():
        if name.endswith("_ref") and (not isinstance(value, str) or _IDEN.fullmatch(value) is None):
            yield f"{iden}: {name} refers to nothing"
    if kind == "relationship":
        yield from (f"{iden}: there is no {name}" for name in _RELATION if name not in one)


def _lift(context: RunContext, bundle: Any) -> Iterator[Node]:
    plain = toprim(bundle)
    if not isinstance(plain, dict):
        raise BadArg("a bundle is a dictionary", name="bundle")
    for one in plain.get("objects") or ():
        context.tick()
        extensions = one.get("extensions") if isinstance(one, dict) else None
        ndef = (extensions or {}).get(EXTENSION, {}).get("synapse_ndef")
        if not isinstance(ndef, (list, tuple)) or len(ndef) != NDEF_SIZE:
            continue
        form = context.model.form(ndef[0])
        if form is None:
            context.warn(f"the model has no form {ndef[0]}", name=str(ndef[0]))
            continue
        try:
            node = context.session.node(form, ndef[1])
        except BadTypeValu as error:
            context.warn(f"{ndef[0]} cannot be {ndef[1]}: {error}", name=ndef[0])
            continue
        if node is not None:
            yield node


NDEF_SIZE: Final = 2


def _timestamp(context: RunContext, tick: Any) -> str:
    if not isinstance(tick, int):
        raise StormRuntimeError("tick is a time, in milliseconds", name="tick")
    try:
        at = _EPOCH + timedelta(milliseconds=tick)
    except OverflowError:
        raise BadArg("tick is no time that STIX can tell", name="tick") from None
    return stix_time(at)


def _bundle(context: RunContext, config: Any) -> StixBundle:
    given = export_config() if config is None else toprim(config)
    return StixBundle(check_export_config(context, given))


def _ingest(context: RunContext, bundle: Any, config: Any) -> Iterator[Node]:
    given = import_config() if config is None else toprim(config)
    yield from StixIngest(context, toprim(bundle), given).run()


_BUNDLE: Final = ParameterSpec("bundle", type="dict", doc="The bundle.")

LIBRARIES: Final = (
    LibrarySpec(
        ("stix",),
        "STIX 2.1.",
        (
            FunctionSpec(
                "lift",
                "The nodes that a bundle's objects say they are of.",
                _lift,
                (_BUNDLE,),
                "nodes",
                is_generator=True,
            ),
            FunctionSpec(
                "validate",
                "Whether a bundle has the form that STIX asks for: ids, times, references. Vocabularies are not checked.",
                _validate,
                (_BUNDLE,),
                "dict",
            ),
        ),
    ),
    LibrarySpec(
        ("stix", "export"),
        "STIX 2.1 made of nodes.",
        (
            FunctionSpec(
                "bundle",
                "An empty bundle, to which nodes are added.",
                _bundle,
                (ParameterSpec("config", None, "dict", "How nodes are told in STIX; see config()."),),
                "stix:bundle",
            ),
            FunctionSpec(
                "config",
                "How nodes are told in STIX, to be changed and given to bundle().",
                lambda context: export_config(),
                (),
                "dict",
            ),
            FunctionSpec(
                "timestamp",
                "A time as STIX writes it.",
                _timestamp,
                (ParameterSpec("tick", type="time", doc="The time, in milliseconds."),),
                "str",
            ),
        ),
    ),
    LibrarySpec(
        ("stix", "import"),
        "STIX 2.1 made into nodes.",
        (
            FunctionSpec(
                "config",
                "How objects become nodes, to be changed and given to ingest().",
                lambda context: import_config(),
                (),
                "dict",
            ),
            FunctionSpec(
                "ingest",
                "Make nodes of the objects of a bundle and give them, the bundle's own first.",
                _ingest,
                (
                    _BUNDLE,
                    ParameterSpec("config", None, "dict", "How objects become nodes; see config()."),
                ),
                "nodes",
                is_generator=True,
                changes_state=True,
            ),
        ),
    ),
)
