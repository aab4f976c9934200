"""What users keep, and what they are told: their variables and settings, their JSON values, their notices."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.cortex.storm.objects.kept import UserProfile, UserVars
from cellmesh.cortex.storm.runtime.interface import UNDEF, FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.values import toprim, tostored, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

JSON_ROOT: Final = "users"
"""Where the JSON store keeps what belongs to users."""

NOTICES: Final = "notices"
"""The kind of user values that holds what a user was told."""


class OtherVars(UserVars):
    """The variables of a user, for administrators and itself."""

    __slots__ = ()

    def storm_plain(self) -> str:
        """Return the user's iden."""
        return self.owner


class OtherProfile(UserProfile):
    """The settings of a user, for those who may see them and itself."""

    __slots__ = ()

    def storm_plain(self) -> str:
        """Return the user's iden."""
        return self.owner


class UserJson:
    """What a user keeps in the JSON store."""

    __slots__ = ("owner",)

    def __init__(self, owner: str) -> None:
        self.owner = owner


def _confirm_profile(context: RunContext, owner: str, verb: str, name: str) -> None:
    rights = context.run.rights
    if rights is not None and rights.user_id != owner:
        context.confirm(("auth", "user", verb, "profile", *([name] if name else ())))


def _kept_get(context: RunContext, self: OtherVars | OtherProfile, name: Any) -> Any:
    if isinstance(self, OtherProfile):
        _confirm_profile(context, self.owner, "get", tostr(name))
    return self.store.get(context.session, self.owner, self.kind, tostr(name))


def _kept_set(context: RunContext, self: OtherVars | OtherProfile, name: Any, value: Any) -> None:
    context.check_writable()
    if isinstance(self, OtherProfile):
        _confirm_profile(context, self.owner, "pop" if value is UNDEF else "set", tostr(name))
    if value is UNDEF:
        self.store.pop(context.session, self.owner, self.kind, tostr(name))
    else:
        self.store.put(context.session, self.owner, self.kind, tostr(name), tostored(value))


def _kept_iterate(context: RunContext, self: OtherVars | OtherProfile) -> Iterator[Any]:
    if isinstance(self, OtherProfile):
        _confirm_profile(context, self.owner, "get", "")
    return iter(self.store.all(context.session, self.owner, self.kind))


def _json_path(self: UserJson, path: Any) -> tuple[str, ...]:
    found = toprim(path)
    steps = found if isinstance(found, (list, tuple)) else tostr(found or "").split("/")
    return (JSON_ROOT, self.owner, "json", *(tostr(step) for step in steps if step != ""))


def _prop_path(prop: Any) -> tuple[str, ...]:
    if prop is None:
        return ()
    found = toprim(prop)
    return tuple(
        tostr(step) for step in (found if isinstance(found, (list, tuple)) else tostr(found).split("/"))
    )


def _confirm_json(context: RunContext, self: UserJson, verb: str) -> None:
    rights = context.run.rights
    if rights is not None and rights.user_id != self.owner:
        context.confirm(("user", "json", verb))


def _json_get(context: RunContext, self: UserJson, path: Any, prop: Any) -> Any:
    _confirm_json(context, self, "get")
    return context.capability("jsonstor").get(context.session, _json_path(self, path), _prop_path(prop))


def _json_has(context: RunContext, self: UserJson, path: Any) -> bool:
    _confirm_json(context, self, "get")
    return bool(context.capability("jsonstor").has(context.session, _json_path(self, path)))


def _json_set(context: RunContext, self: UserJson, path: Any, value: Any, prop: Any) -> Any:
    _confirm_json(context, self, "set")
    store = context.capability("jsonstor")
    return store.set(context.session, _json_path(self, path), tostored(value), _prop_path(prop))


def _json_del(context: RunContext, self: UserJson, path: Any, prop: Any) -> Any:
    _confirm_json(context, self, "set")
    store = context.capability("jsonstor")
    return store.remove(context.session, _json_path(self, path), _prop_path(prop))


def _json_iter(context: RunContext, self: UserJson, path: Any) -> Iterator[Any]:
    _confirm_json(context, self, "get")
    steps, after = _json_path(self, path), None
    while True:
        page, after = context.capability("jsonstor").page(context.session, steps, after)
        for item in page:
            context.tick()
            yield item
        if after is None:
            return


# What users are told.


def notify(context: RunContext, owner: str, kind: str, data: dict[str, Any]) -> str:
    """Leave a notice for a user; returns its number as text."""
    store = context.capability("user.values")
    time_us = time.time_ns() // 1000
    known = {name for name, _ in store.all(context.session, owner, NOTICES)}
    number = time_us
    while f"{number:020}" in known:
        number += 1
    name = f"{number:020}"
    sender = context.model.iden_of("user", context.user) or ""
    store.put(
        context.session,
        owner,
        NOTICES,
        name,
        {"from": sender, "user": owner, "type": kind, "time": time_us // 1000, "data": data},
    )
    return name


_PATH: Final = ParameterSpec("path", type="str", doc="The path, with slashes.")
_PROP: Final = ParameterSpec("prop", None, "str", "A property inside of what is kept there.")

TYPES: Final = (
    TypeSpec(
        "auth:user:vars",
        OtherVars,
        "The variables of a user.",
        get_item=_kept_get,
        set_item=_kept_set,
        iterate=_kept_iterate,
    ),
    TypeSpec(
        "auth:user:profile",
        OtherProfile,
        "The settings of a user.",
        get_item=_kept_get,
        set_item=_kept_set,
        iterate=_kept_iterate,
    ),
    TypeSpec(
        "auth:user:json",
        UserJson,
        "What a user keeps in the JSON store.",
        (
            FunctionSpec(
                "del", "Remove what is kept at a path.", _json_del, (_PATH, _PROP), "bool", changes_state=True
            ),
            FunctionSpec("get", "What is kept at a path, or null.", _json_get, (_PATH, _PROP), "any"),
            FunctionSpec("has", "Whether something is kept at a path.", _json_has, (_PATH,), "bool"),
            FunctionSpec(
                "iter",
                "Paths below one, and what is kept there.",
                _json_iter,
                (ParameterSpec("path", None, "str", "The path, with slashes."),),
                "pairs",
                is_generator=True,
            ),
            FunctionSpec(
                "set",
                "Keep something at a path.",
                _json_set,
                (_PATH, ParameterSpec("valu", type="prim", doc="What to keep."), _PROP),
                "bool",
                changes_state=True,
            ),
        ),
    ),
)
