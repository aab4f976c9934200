"""Members and items of values: `$x.y`, `$x.y=z`, going through a value, and its kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from cellmesh.common.errors import BadArg, BadCast, NoSuchName, NoSuchType, StormRuntimeError
from cellmesh.cortex.storm.runtime.functions import NativeFunction, StormFunction, StormGenerator
from cellmesh.cortex.storm.runtime.interface import UNDEF
from cellmesh.cortex.storm.runtime.libraries import Library, near_match
from cellmesh.cortex.storm.runtime.queries import StormQuery
from cellmesh.cortex.storm.runtime.values import toint, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


def get_member(context: RunContext, value: Any, key: Any) -> Any:
    """Return `value.key`.

    Missing keys of dictionaries, and anything of null, give null.

    Raises:
        NoSuchName: the value has no such member.
        NoSuchType: it is of a kind that has no members at all.
        StormRuntimeError: a list is too short.
        BadCast: the position in a list is no number.
    """
    kind = type(value)
    if kind is dict:
        return _dict_item(value, key)
    if kind is Library:
        return value.get(context, key)
    if value is None:
        return None
    entry = context.run.engine.types.of(kind)
    if entry is not None and type(key) is str:
        method = entry.methods.get(key)
        if method is not None:
            return method.of(value)
        attribute = entry.attributes.get(key)
        if attribute is not None:
            return attribute.get(context, value)
    if kind is list or kind is tuple:
        return _list_item(value, key, entry.methods if entry is not None else ())
    if entry is not None and entry.spec.get_item is not None:
        return entry.spec.get_item(context, value, key)
    if kind in _WITHOUT_MEMBERS:
        raise NoSuchType(f"{with_article(typename(context, value))} has no members", name=tostr(key))
    known = [*entry.methods, *entry.attributes] if entry is not None else []
    raise NoSuchName(
        f"{with_article(typename(context, value))} has no member {key}", name=key, **near_match(key, known)
    )


def _dict_item(value: dict[Any, Any], key: Any) -> Any:
    try:
        return value.get(key)
    except TypeError:  # what can change is no key, so it is not there
        return None


def _list_item(value: list[Any] | tuple[Any, ...], key: Any, methods: Iterable[str]) -> Any:
    try:
        position = toint(key)
    except BadCast as error:
        if type(key) is str:
            raise BadCast(
                f"a list has no member {key}, and that is no number of an item",
                name="int",
                type="str",
                **near_match(key, methods),
            ) from error
        raise
    try:
        return value[position]
    except IndexError:
        raise StormRuntimeError(
            f"the list has no item {position}, only {len(value)} items", valu=position, len=len(value)
        ) from None


def set_member(context: RunContext, value: Any, key: Any, item: Any) -> None:
    """Do `value.key=item`; an item of `$lib.undef` removes the member.

    Raises:
        StormRuntimeError: the value cannot be changed so, or none of its members can.
        NoSuchName: other members of it can be set, this one cannot.
        BadArg: a list or dictionary is no key of a dictionary.
    """
    kind = type(value)
    if kind is dict:
        _set_dict_item(value, key, item)
        return
    if kind is list:
        _set_list_item(value, key, item)
        return
    if kind is Library:
        value.set(context, key, item)
        return
    entry = context.run.engine.types.of(kind)
    if entry is not None:
        attribute = entry.attributes.get(key) if type(key) is str else None
        if attribute is not None and attribute.set is not None:
            attribute.set(context, value, item)
            return
        if entry.spec.set_item is not None:
            entry.spec.set_item(context, value, key, item)
            return
        if any(attribute.set is not None for attribute in entry.attributes.values()):
            raise NoSuchName(f"{tostr(key)} of a {typename(context, value)} cannot be set", name=tostr(key))
    raise StormRuntimeError(f"members of a {typename(context, value)} cannot be set", name=key)


def _set_dict_item(value: dict[Any, Any], key: Any, item: Any) -> None:
    try:
        if item is UNDEF:
            value.pop(key, None)
        else:
            value[key] = item
    except TypeError:
        raise BadArg(f"a {type(key).__name__} can change, so it cannot be a key", name="key") from None


def _set_list_item(value: list[Any], key: Any, item: Any) -> None:
    position = toint(key)
    try:
        if item is UNDEF:
            value.pop(position)
        else:
            value[position] = item
    except IndexError:
        raise StormRuntimeError(
            f"the list has no item {position}, only {len(value)} items", valu=position, len=len(value)
        ) from None


def toiter(context: RunContext, value: Any) -> Iterator[Any]:
    """Return an iterator over what a value holds: null holds nothing, a dictionary pairs, a query its nodes.

    What is added to a list on the way is gone through too; other containers are copied first.

    Raises:
        StormRuntimeError: the value holds nothing that can be gone through.
    """
    kind = type(value)
    if kind is list or kind is tuple or kind is str:
        return iter(value)
    if value is None:
        return iter(())
    if kind is StormGenerator:
        return iter(value)
    if kind is dict:
        return iter(tuple(value.items()))
    if kind is set or kind is frozenset:
        return iter(tuple(value))
    if kind is StormQuery:
        return (row.node for row in context.run_query(value))
    entry = context.run.engine.types.of(kind)
    if entry is not None and entry.spec.iterate is not None:
        return entry.spec.iterate(context, value)
    raise StormRuntimeError(
        f"{with_article(typename(context, value))} cannot be gone through", type=type(value).__name__
    )


def tolist(context: RunContext, value: Any) -> list[Any]:
    """Return what a value holds as a new list; raises what `toiter` does."""
    items: list[Any] = []
    # In steps of its own: while it grows, what it holds can be added up.
    for item in toiter(context, value):
        items.append(item)
    return items


def with_article(name: str) -> str:
    """A name of a type with its article."""
    return f"an {name}" if name[:1] in ("a", "e", "i", "o", "u") else f"a {name}"


_KINDS = {
    type(None): "null",
    bool: "boolean",
    int: "int",
    Decimal: "number",
    float: "number",
    str: "str",
    bytes: "bytes",
    list: "list",
    tuple: "list",
    dict: "dict",
    set: "set",
    type(UNDEF): "undef",
    StormQuery: "storm:query",
    StormGenerator: "generator",
    StormFunction: "function",
    NativeFunction: "function",
    Library: "lib",
}


_WITHOUT_MEMBERS = frozenset({int, StormGenerator, StormFunction, NativeFunction})


def typename(context: RunContext, value: Any) -> str:
    """Return the kind of a value as `$lib.vars.type()` says it."""
    kind = _KINDS.get(type(value))
    if kind is not None:
        return kind
    entry = context.run.engine.types.of(type(value))
    return entry.spec.name if entry is not None else type(value).__name__
