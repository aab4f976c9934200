"""Endpoints of the extended HTTP API as values. They hold idens: what they say is of now, what is set is stored."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.auth.rules import parse_path
from cellmesh.common.errors import BadArg, CellError, NoSuchName, NoSuchUser, NoSuchView, StormRuntimeError
from cellmesh.cortex.stores.http_apis import METHODS, check_path, check_runas, shown
from cellmesh.cortex.storm.objects.principals import UserObject
from cellmesh.cortex.storm.objects.stacks import ViewObject
from cellmesh.cortex.storm.packages import parsed
from cellmesh.cortex.storm.runtime.interface import (
    UNDEF,
    AttributeSpec,
    FunctionSpec,
    ParameterSpec,
    TypeSpec,
)
from cellmesh.cortex.storm.runtime.members import toiter
from cellmesh.cortex.storm.runtime.queries import StormQuery
from cellmesh.cortex.storm.runtime.rights import AUTH
from cellmesh.cortex.storm.runtime.values import equal, tobool, toint, toprim, torepr, tostr

if TYPE_CHECKING:
    from collections.abc import Callable

    from cellmesh.cortex.stores.http_apis import HttpApis
    from cellmesh.cortex.storm.runtime.context import RunContext

LIBRARY: Final = "httpapi"
"""The part of `$lib` that gives endpoints."""

SET: Final = ("storm", "lib", "cortex", "httpapi", "set")
"""What who changes an endpoint needs."""


class HttpApiObject:
    """An endpoint, by its iden.

    Args:
        store: The store of endpoints.
        row: What is known of it now.
    """

    __slots__ = ("iden", "label", "store")

    def __init__(self, store: HttpApis, row: dict[str, Any]) -> None:
        self.store = store
        self.iden: str = row["iden"]
        self.label = f"{row['name']} ({self.iden}), path={row['path']}"

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"http:api: {self.label}"

    def row(self, context: RunContext) -> dict[str, Any]:
        """Return what is known of it now; raises NoSuchIden."""
        return self.store.require(context.session, self.iden)

    def change(self, context: RunContext, change: Callable[[dict[str, Any]], None]) -> None:
        """Change it, for a user who may."""
        context.check_writable()
        context.confirm(SET)
        self.store.change(context.session, self.iden, change)


class _ApiPart:
    """Something that an endpoint has several of.

    Args:
        api: The endpoint.
        key: What the endpoint has it under.
        data: What it was when it was read last: what is printed.
    """

    __slots__ = ("api", "data", "key")

    def __init__(self, api: HttpApiObject, key: str, data: Any) -> None:
        self.api = api
        self.key = key
        self.data = data

    def storm_plain(self) -> Any:
        """Return what it holds."""
        return self.data

    def storm_text(self) -> str:
        """Return what is printed."""
        return torepr(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def read(self, context: RunContext) -> Any:
        """Return what it holds now."""
        self.data = self.api.row(context)[self.key]
        return self.data

    def change(self, context: RunContext, change: Callable[[Any], Any]) -> None:
        """Change it in place, for a user who may."""
        self.api.change(context, lambda row: change(row[self.key]))
        self.read(context)


class HttpApiMethods(_ApiPart):
    """The queries of an endpoint by method."""

    __slots__ = ()

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"http:api:methods: {torepr(self.data)}"


class HttpApiPerms(_ApiPart):
    """The permissions that an endpoint asks for."""

    __slots__ = ()


class HttpApiVars(_ApiPart):
    """The variables that an endpoint's queries begin with."""

    __slots__ = ()


def _part(kind: type[_ApiPart], key: str, context: RunContext, self: HttpApiObject) -> _ApiPart:
    return kind(self, key, self.row(context)[key])


def _set_fact(context: RunContext, self: HttpApiObject, name: str, value: Any) -> None:
    self.change(context, lambda row: row.update({name: value}))


def _set_path(context: RunContext, self: HttpApiObject, value: Any) -> None:
    path = tostr(value)
    check_path(path)
    _set_fact(context, self, "path", path)


def _set_runas(context: RunContext, self: HttpApiObject, value: Any) -> None:
    runas = tostr(value)
    check_runas(runas)
    _set_fact(context, self, "runas", runas)


def _set_text(name: str, context: RunContext, self: HttpApiObject, value: Any) -> None:
    _set_fact(context, self, name, torepr(value))


def _set_flag(name: str, context: RunContext, self: HttpApiObject, value: Any) -> None:
    _set_fact(context, self, name, tobool(value))


def _user(name: str, context: RunContext, self: HttpApiObject) -> Any:
    iden = self.row(context)[name]
    auth: Any = context.engine.capabilities.get(AUTH)
    return UserObject(auth, iden) if auth is not None else {"iden": iden, "name": context.user}


def _set_owner(context: RunContext, self: HttpApiObject, value: Any) -> None:
    iden = tostr(getattr(value, "iden", value))
    auth: Any = context.engine.capabilities.get(AUTH)
    if auth is not None and iden not in auth.policy.users:
        raise NoSuchUser("there is no user of this iden", iden=iden[:200])
    _set_fact(context, self, "owner", iden)


def _view(context: RunContext, self: HttpApiObject) -> ViewObject:
    return ViewObject(context.session.graph.view(self.row(context)["view"]))


def _set_view(context: RunContext, self: HttpApiObject, value: Any) -> None:
    try:
        iden = str(value.view.id) if isinstance(value, ViewObject) else tostr(value)
        view = context.session.graph.view(iden or "-")
    except CellError as error:
        raise NoSuchView("there is no such view", iden=torepr(value)[:200]) from error
    _set_fact(context, self, "view", str(view.id))


def _no_member(kind: str, context: RunContext, self: Any, name: Any, value: Any) -> None:
    raise NoSuchName(f"{tostr(name)} of a {kind} cannot be set", name=tostr(name))


# Methods.


def _query_of(name: str, context: RunContext, self: HttpApiMethods) -> Any:
    return self.read(context).get(name)


def _set_query(name: str, context: RunContext, self: HttpApiMethods, value: Any) -> None:
    if value is UNDEF:
        self.change(context, lambda queries: queries.pop(name, None))
        return
    text = (value.text if isinstance(value, StormQuery) else tostr(value)).strip()
    # It must be a query; what it uses is known when it runs only.
    parsed(text)
    self.change(context, lambda queries: queries.update({name: text}))


def _each_query(context: RunContext, self: HttpApiMethods) -> Iterator[Any]:
    return iter(list(self.read(context).items()))


# Permissions.


def permission_of(value: Any) -> dict[str, Any]:
    """Return a permission given as text or dictionary; raises BadArg."""
    plain = toprim(value)
    if isinstance(plain, str):
        plain = {"perm": list(parse_path(plain))}
    path = plain.get("perm") if isinstance(plain, dict) else None
    if not isinstance(path, (list, tuple)) or not path or not all(isinstance(part, str) for part in path):
        raise BadArg("a permission is text, or a dictionary with perm and default", name="perms")
    return {"perm": list(path), "default": tobool(plain.get("default", False))}


def _perms(context: RunContext, self: HttpApiPerms) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = self.read(context)
    return found


def _set_perms(context: RunContext, self: HttpApiObject, value: Any) -> None:
    _set_fact(context, self, "perms", [permission_of(item) for item in toiter(context, value)])


def _append(context: RunContext, self: HttpApiPerms, value: Any) -> None:
    permission = permission_of(value)
    self.change(context, lambda known: known.append(permission))


def _extend(context: RunContext, self: HttpApiPerms, values: Any) -> None:
    permissions = [permission_of(item) for item in toiter(context, values)]
    self.change(context, lambda known: known.extend(permissions))


def _has(context: RunContext, self: HttpApiPerms, value: Any) -> bool:
    wanted = permission_of(value)
    return any(equal(item, wanted) for item in _perms(context, self))


def _index(context: RunContext, self: HttpApiPerms, position: Any) -> Any:
    found, place = _perms(context, self), toint(position)
    try:
        return found[place]
    except IndexError:
        raise StormRuntimeError(f"there is no permission {place}, only {len(found)}", valu=place) from None


def _pop(context: RunContext, self: HttpApiPerms) -> Any:
    taken: list[Any] = []

    def take(known: list[Any]) -> None:
        if not known:
            raise StormRuntimeError("there is no permission to be taken out", name="perms")
        taken.append(known.pop())

    self.change(context, take)
    return taken[0]


def _reverse(context: RunContext, self: HttpApiPerms) -> None:
    self.change(context, lambda known: known.reverse())


def _slice(context: RunContext, self: HttpApiPerms, start: Any, end: Any) -> list[Any]:
    found = _perms(context, self)
    return found[toint(start) :] if end is None else found[toint(start) : toint(end)]


# Variables.


def _vars(context: RunContext, self: HttpApiVars) -> dict[str, Any]:
    found: dict[str, Any] = self.read(context)
    return found


def _set_vars(context: RunContext, self: HttpApiObject, value: Any) -> None:
    plain = toprim(value)
    if not isinstance(plain, dict):
        raise BadArg("the variables of an endpoint are a dictionary", name="vars")
    _set_fact(context, self, "vars", {tostr(name): item for name, item in plain.items()})


def _set_var(context: RunContext, self: HttpApiVars, name: Any, value: Any) -> None:
    key = tostr(name)
    if value is UNDEF:
        self.change(context, lambda known: known.pop(key, None))
    else:
        plain = toprim(value)
        self.change(context, lambda known: known.update({key: plain}))


def _pack(context: RunContext, self: HttpApiObject) -> dict[str, Any]:
    return shown(self.row(context))


def _fact(name: str, doc: str, returns: str, set_it: Any = None) -> AttributeSpec:
    return AttributeSpec(name, doc, lambda c, s: s.row(c)[name], returns, set_it)


_VALUE: Final = ParameterSpec("valu", doc="The permission: text, or a dictionary with perm and default.")

TYPES: Final = (
    TypeSpec(
        "http:api",
        HttpApiObject,
        "An endpoint of the extended HTTP API.",
        (FunctionSpec("pack", "All that is known of it.", _pack, (), "dict"),),
        (
            _fact(
                "authenticated",
                "Whether only users may call it.",
                "bool",
                partial(_set_flag, "authenticated"),
            ),
            _fact("created", "When it was made, in milliseconds since 1970.", "int"),
            AttributeSpec("creator", "Who made it.", partial(_user, "creator"), "auth:user"),
            _fact("desc", "What it is for.", "str", partial(_set_text, "desc")),
            AttributeSpec("iden", "Its iden.", lambda c, s: s.iden, "str"),
            AttributeSpec(
                "methods",
                "Its queries, by method in small letters.",
                partial(_part, HttpApiMethods, "methods"),
                "http:api:methods",
            ),
            _fact("name", "Its name.", "str", partial(_set_text, "name")),
            AttributeSpec("owner", "Whom it runs as.", partial(_user, "owner"), "auth:user", _set_owner),
            _fact("path", "The pattern of its paths, a regular expression.", "str", _set_path),
            AttributeSpec(
                "perms",
                "The permissions that a user needs to call it.",
                partial(_part, HttpApiPerms, "perms"),
                "http:api:perms",
                _set_perms,
            ),
            _fact(
                "pool",
                "Kept for other programs; nothing here depends on it.",
                "bool",
                partial(_set_flag, "pool"),
            ),
            _fact("readonly", "Whether its queries may not edit.", "bool", partial(_set_flag, "readonly")),
            _fact("runas", "Whom it runs as: `owner`, or `user` for who calls.", "str", _set_runas),
            _fact("updated", "When it was changed last, in milliseconds since 1970.", "int"),
            AttributeSpec(
                "vars",
                "What its queries begin with.",
                partial(_part, HttpApiVars, "vars"),
                "http:api:vars",
                _set_vars,
            ),
            AttributeSpec("view", "The view that it runs in.", _view, "view", _set_view),
        ),
        set_item=partial(_no_member, "http:api"),
        library=LIBRARY,
    ),
    TypeSpec(
        "http:api:methods",
        HttpApiMethods,
        "The queries of an endpoint, by method.",
        (),
        tuple(
            AttributeSpec(
                name,
                f"The query for {name.upper()}.",
                partial(_query_of, name),
                "str",
                partial(_set_query, name),
            )
            for name in METHODS
        ),
        set_item=partial(_no_member, "http:api:methods"),
        library=LIBRARY,
        iterate=_each_query,
    ),
    TypeSpec(
        "http:api:perms",
        HttpApiPerms,
        "The permissions that an endpoint asks for.",
        (
            FunctionSpec("append", "Add one at the end.", _append, (_VALUE,), changes_state=True),
            FunctionSpec(
                "extend",
                "Add several at the end.",
                _extend,
                (ParameterSpec("valu", type="list", doc="The permissions."),),
                changes_state=True,
            ),
            FunctionSpec("has", "Whether one is among them.", _has, (_VALUE,), "bool"),
            FunctionSpec(
                "index",
                "The one at a place.",
                _index,
                (ParameterSpec("valu", type="int", doc="The place; negative ones count from the end."),),
                "dict",
            ),
            FunctionSpec("length", "How many there are.", lambda c, s: len(_perms(c, s)), (), "int"),
            FunctionSpec("pop", "Take the last one out.", _pop, (), "dict", changes_state=True),
            FunctionSpec("reverse", "Turn the order round.", _reverse, (), changes_state=True),
            FunctionSpec("size", "How many there are.", lambda c, s: len(_perms(c, s)), (), "int"),
            FunctionSpec(
                "slice",
                "Some of them.",
                _slice,
                (
                    ParameterSpec("start", type="int", doc="The first place."),
                    ParameterSpec("end", None, "int", "The place behind the last one."),
                ),
                "list",
            ),
        ),
        get_item=_index,
        iterate=lambda c, s: iter(_perms(c, s)),
        library=LIBRARY,
    ),
    TypeSpec(
        "http:api:vars",
        HttpApiVars,
        "The variables that an endpoint's queries begin with.",
        get_item=lambda c, s, name: _vars(c, s).get(tostr(name)),
        set_item=_set_var,
        iterate=lambda c, s: iter(list(_vars(c, s).items())),
        library=LIBRARY,
    ),
)
