"""Whom a follower names when it sends a call on to its leader.

    cellmesh-on-behalf-of: root | anonymous | user:USER-ID | spiffe://NETWORK/cell/00.cortex | spiffe://NETWORK/user/NAME

The leader takes the name from instances of its own service alone, and decides by its own users what the caller may.
"""

from __future__ import annotations

from typing import Final

from cellmesh.common.auth.context import (
    ANONYMOUS,
    LOCAL_ROOT,
    Caller,
    CallerKind,
    caller_of_identity,
)
from cellmesh.common.errors import BadName, Unauthenticated
from cellmesh.common.tls.identity import parse_identity

ON_BEHALF_KEY: Final = "cellmesh-on-behalf-of"

_ROOT: Final = "root"
_ANONYMOUS: Final = "anonymous"
_USER: Final = "user:"


def name_of(caller: Caller) -> str:
    """The name that stands for a caller on the way to the leader."""
    if caller.kind is CallerKind.LOCAL:
        return _ROOT
    if caller.identity is not None:
        return caller.identity.uri
    return f"{_USER}{caller.user_id}" if caller.user_id else _ANONYMOUS


def user_id_of(name: str) -> str:
    """The identifier of the user that a name stands for; empty when it stands for something else."""
    return name[len(_USER) :] if name.startswith(_USER) else ""


def caller_named(name: str) -> Caller:
    """The caller that a name stands for, as if it had come with its certificate, or without one.

    Raises:
        Unauthenticated: it is no such name.
    """
    if name == _ROOT:
        return LOCAL_ROOT
    if name == _ANONYMOUS:
        return ANONYMOUS
    try:
        return caller_of_identity(parse_identity(name))
    except BadName:
        raise Unauthenticated(f"{name[:100]!r} names nobody on whose behalf a call could be") from None
