"""Methods of lists, dictionaries and sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import StormRuntimeError
from cellmesh.cortex.storm.container_tools import in_order, set_item
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.members import toiter, tolist
from cellmesh.cortex.storm.runtime.values import equal, tobool, toint

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

POINTER_BYTES: Final = 8
"""What an item takes in a list, beside itself."""


def _append(context: RunContext, self: list[Any], value: Any) -> None:
    self.append(value)


def _extend(context: RunContext, self: list[Any], values: Any) -> None:
    self.extend(tolist(context, values))
    context.run.budget.weigh(POINTER_BYTES * len(self))


def _has(context: RunContext, self: Any, value: Any) -> bool:
    return any(equal(item, value) for item in self)


def _index(context: RunContext, self: Any, position: Any) -> Any:
    place = toint(position)
    try:
        return self[place]
    except IndexError as error:
        raise StormRuntimeError(
            f"list index {place} is out of range for {len(self)} items", valu=place
        ) from error


def _pop(context: RunContext, self: list[Any], index: Any) -> Any:
    place = toint(index)
    try:
        return self.pop(place)
    except IndexError as error:
        raise StormRuntimeError(f"cannot pop item {place} of a list of {len(self)}", valu=place) from error


def _remove(context: RunContext, self: list[Any], item: Any, every: Any) -> bool:
    if tobool(every):
        kept = [present for present in self if not equal(present, item)]
        found = len(kept) != len(self)
        self[:] = kept
        return found
    for place, present in enumerate(self):
        if equal(present, item):
            del self[place]
            return True
    return False


def _reverse(context: RunContext, self: list[Any]) -> None:
    self.reverse()


def _slice(context: RunContext, self: Any, start: Any, end: Any) -> list[Any]:
    return list(self[toint(start) :] if end is None else self[toint(start) : toint(end)])


def _sort(context: RunContext, self: list[Any], reverse: Any) -> None:
    self[:] = in_order(self, tobool(reverse))


def _unique(context: RunContext, self: Any) -> list[Any]:
    found: list[Any] = []
    for item in self:
        if not any(equal(item, present) for present in found):
            found.append(item)
    return found


def _iterate(context: RunContext, self: Any) -> Iterator[Any]:
    return iter(self)


_ITEM: Final = ParameterSpec("valu", type="any", doc="The item.")

READING: Final = (
    FunctionSpec("has", "Whether an item is in it.", _has, (_ITEM,), "bool"),
    FunctionSpec(
        "index",
        "The item at a place.",
        _index,
        (ParameterSpec("valu", type="int", doc="The place, from 0; below 0 counted from the end."),),
        "any",
    ),
    FunctionSpec("length", "How many items it has.", lambda c, s: len(s), (), "int", deprecated="use size()"),
    FunctionSpec("size", "How many items it has.", lambda c, s: len(s), (), "int"),
    FunctionSpec(
        "slice",
        "A part of it.",
        _slice,
        (
            ParameterSpec("start", type="int", doc="Where it begins; below 0 counted from the end."),
            ParameterSpec(
                "end", None, "int", "Where it ends, this place left out; at the end when left out."
            ),
        ),
        "list",
    ),
    FunctionSpec("unique", "Its items, each once, in order.", _unique, (), "list"),
)

WRITING: Final = (
    FunctionSpec("append", "Add an item at the end.", _append, (_ITEM,)),
    FunctionSpec(
        "extend",
        "Add items at the end.",
        _extend,
        (ParameterSpec("valu", type="list", doc="What to take the items from."),),
    ),
    FunctionSpec(
        "pop",
        "Take an item out and give it back.",
        _pop,
        (ParameterSpec("index", -1, "int", "Which; the last."),),
        "any",
    ),
    FunctionSpec(
        "rem",
        "Take an item out; says whether it was there.",
        _remove,
        (
            ParameterSpec("item", type="any", doc="The item."),
            ParameterSpec("all", False, "bool", "Every one of its kind."),
        ),
        "bool",
    ),
    FunctionSpec("reverse", "Turn the order round.", _reverse),
    FunctionSpec(
        "sort", "Put it in order.", _sort, (ParameterSpec("reverse", False, "bool", "Largest first."),)
    ),
)


def _on_copy(spec: FunctionSpec) -> FunctionSpec:
    """Return a method that changes a copy of its list, which is gone after it: the list itself cannot change."""
    change = spec.function

    def changed(context: RunContext, self: tuple[Any, ...], *arguments: Any) -> Any:
        return change(context, list(self), *arguments)

    return replace(spec, function=changed)


WITHOUT_EFFECT: Final = tuple(_on_copy(spec) for spec in WRITING)


def _set_add(context: RunContext, self: set[Any], items: tuple[Any, ...]) -> None:
    self.update(set_item(item) for item in items)


def _set_adds(context: RunContext, self: set[Any], lists: tuple[Any, ...]) -> None:
    for items in lists:
        self.update(set_item(item) for item in toiter(context, items))


def _set_rem(context: RunContext, self: set[Any], items: tuple[Any, ...]) -> None:
    self.difference_update(set_item(item) for item in items)


def _set_rems(context: RunContext, self: set[Any], lists: tuple[Any, ...]) -> None:
    for items in lists:
        self.difference_update(set_item(item) for item in toiter(context, items))


SET_METHODS: Final = (
    FunctionSpec("add", "Put items in.", _set_add, rest="items"),
    FunctionSpec("adds", "Put the items of lists in.", _set_adds, rest="items"),
    FunctionSpec(
        "has",
        "Whether an item is in it.",
        lambda c, s, item: set_item(item) in s,
        (ParameterSpec("item", doc="The item."),),
        "bool",
    ),
    FunctionSpec("list", "Its items.", lambda c, s: list(s), (), "list"),
    FunctionSpec("rem", "Take items out.", _set_rem, rest="items"),
    FunctionSpec("rems", "Take the items of lists out.", _set_rems, rest="items"),
    FunctionSpec("size", "How many items it has.", lambda c, s: len(s), (), "int"),
)

TYPES: Final = (
    TypeSpec("list", list, "A list.", (*READING, *WRITING), iterate=_iterate),
    TypeSpec("list", tuple, "A list that does not change.", (*READING, *WITHOUT_EFFECT), iterate=_iterate),
    TypeSpec(
        "dict",
        dict,
        "Values by key. Functions on dictionaries are in `$lib.dict`: a dictionary's own names are its keys.",
    ),
    TypeSpec("set", set, "Values, each once.", SET_METHODS, iterate=_iterate),
)
