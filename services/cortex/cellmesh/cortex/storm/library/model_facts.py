"""`$lib.model.tags`, `$lib.model.deprecated` and `$lib.model.edge`: what is kept of the model beside its definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import NoSuchName
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import tobool, toprim, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

EDGE_KEYS: Final = ("doc",)


# Tags.


def _tag_rules(context: RunContext, tag: Any) -> Any:
    return context.capability("model.tags").rules_of(tostr(tag))


def _tag_list(context: RunContext) -> Any:
    return context.capability("model.tags").rules()


def _tag_set(context: RunContext, tag: Any, name: Any, value: Any) -> None:
    context.capability("model.tags").set_rule(context.session, tostr(tag), tostr(name), toprim(value))


def _tag_pop(context: RunContext, tag: Any, name: Any) -> Any:
    return context.capability("model.tags").pop_rule(context.session, tostr(tag), tostr(name))


def _tag_del(context: RunContext, tag: Any) -> None:
    context.capability("model.tags").remove(context.session, tostr(tag))


# Deprecated names.


def _lock(context: RunContext, name: Any, locked: Any) -> None:
    context.capability("model.locks").set(context.session, tostr(name), tobool(locked))


def _locks(context: RunContext) -> Any:
    return context.capability("model.locks").rules.all()


# Edge verbs.


def _used_verb(context: RunContext, verb: Any) -> str:
    """Return the name of a verb that the view has edges of."""
    name = tostr(verb)
    if name not in context.session.edge_verbs():
        raise NoSuchName(f"no light edge has the verb {name}", name=name)
    return name


def _edge_get(context: RunContext, verb: Any) -> Any:
    return context.capability("model.verbs").get(context.session, _used_verb(context, verb), {})


def _edge_set(context: RunContext, verb: Any, key: Any, value: Any) -> None:
    text = tostr(value)
    context.capability("model.verbs").say(context.session, _used_verb(context, verb), tostr(key), text)


def _edge_del(context: RunContext, verb: Any, key: Any) -> None:
    context.capability("model.verbs").unsay(context.session, _used_verb(context, verb), tostr(key))


def _edge_list(context: RunContext) -> Any:
    verbs = context.capability("model.verbs")
    return [(verb, verbs.get(context.session, verb, {})) for verb in sorted(context.session.edge_verbs())]


_TAG: Final = ParameterSpec("tagname", type="str", doc="The tag the rule is set for.")
_RULE: Final = ParameterSpec("propname", type="str", doc="The rule: `regex` or `prune`.")
_VERB: Final = ParameterSpec("verb", type="str", doc="The verb.")
_KEY: Final = ParameterSpec("key", type="str", doc="What is said: `doc`.")

LIBRARIES: Final = (
    LibrarySpec(
        ("model", "deprecated"),
        "Deprecated forms and properties, which can be locked against use.",
        (
            FunctionSpec(
                "lock",
                "Lock or unlock a deprecated form or property.",
                _lock,
                (
                    ParameterSpec("name", type="str", doc="Its full name."),
                    ParameterSpec("locked", type="bool", doc="Whether it may not be used any more."),
                ),
                changes_state=True,
            ),
            FunctionSpec("locks", "All deprecated names, and whether they are locked.", _locks, (), "dict"),
        ),
    ),
    LibrarySpec(
        ("model", "edge"),
        "What is said of the verbs of light edges.",
        (
            FunctionSpec("del", "Take back what was said.", _edge_del, (_VERB, _KEY), changes_state=True),
            FunctionSpec("get", "All that is said of a verb.", _edge_get, (_VERB,), "dict"),
            FunctionSpec("list", "The verbs in use, with what is said of them.", _edge_list, (), "list"),
            FunctionSpec(
                "set",
                "Say something of a verb in use.",
                _edge_set,
                (_VERB, _KEY, ParameterSpec("valu", type="str", doc="The text.")),
                changes_state=True,
            ),
            FunctionSpec("validkeys", "What can be said.", lambda c: list(EDGE_KEYS), (), "list"),
        ),
    ),
    LibrarySpec(
        ("model", "tags"),
        "Rules for tags: patterns of their parts, and pruning.",
        (
            FunctionSpec("del", "Remove all rules of a tag.", _tag_del, (_TAG,), changes_state=True),
            FunctionSpec("get", "The rules of a tag; null if it has none.", _tag_rules, (_TAG,), "dict"),
            FunctionSpec("list", "Tags and their rules.", _tag_list, (), "list"),
            FunctionSpec(
                "pop",
                "Remove a rule of a tag; gives what it was.",
                _tag_pop,
                (_TAG, _RULE),
                "prim",
                changes_state=True,
            ),
            FunctionSpec(
                "set",
                "Set a rule of a tag: `regex`, a list with a pattern for each part of the tag and of those below it, "
                "null for any; or `prune`, how many levels from the tag down go with the last tag below them.",
                _tag_set,
                (_TAG, _RULE, ParameterSpec("propvalu", type="prim", doc="The rule.")),
                changes_state=True,
            ),
        ),
    ),
)
