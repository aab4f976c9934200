"""What `$lib.trigger`, `$lib.cron`, `$lib.dmon` and their commands share."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cellmesh.common.errors import NoSuchUser
from cellmesh.common.hashing import guid
from cellmesh.cortex.storm.runtime.queries import StormQuery
from cellmesh.cortex.storm.runtime.values import tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


def query_text(value: Any) -> str:
    """Return the text of a query given as a query or as text."""
    return value.text if isinstance(value, StormQuery) else tostr(value)


def iden_of_user(context: RunContext, name: str) -> str:
    """Return the iden of a user; one made of the name where the cell keeps no users."""
    known = context.model.iden_of("user", name)
    return known if known is not None else guid(["user", name])


def user_of_iden(context: RunContext, iden: str) -> str:
    """Return the name of a user.

    Raises:
        NoSuchUser: nobody has the iden.
    """
    known = context.model.name_of("user", iden)
    if known is None and iden == iden_of_user(context, context.user):
        known = context.user
    if known is None:
        raise NoSuchUser("there is no user of this iden", iden=iden)
    return known


def moment(seconds: float | None) -> str:
    """Return a time for a table."""
    return "Never" if seconds is None else time.strftime("%Y-%m-%dT%H:%M", time.gmtime(seconds))


def yes(flag: object) -> str:
    """Return Y or N."""
    return "Y" if flag else "N"


def required_text(requirements: Mapping[str, int]) -> str:
    """Return the requirements of a recurrence for a table."""
    return str(dict(requirements)) if requirements else "<None>"
