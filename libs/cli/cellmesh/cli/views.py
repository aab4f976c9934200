"""Views by the names that people give them: `--view`, and `\\view` in the shell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cellmesh.client import CellClient

DEFAULT: Final = "default"
"""Stands for the default view; it has no name in a Cortex that was not given one."""

TIMEOUT_S: Final = 60.0
LIST_VIEWS: Final = '$found=([]) for $view in $lib.view.list() { $found.append(([$view.iden, $view.get("name")])) } return($found)'
"""Returns the iden and the name of each view that the caller may read."""

_IDEN: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class View:
    """A view: its iden and its name, which may be empty."""

    iden: str
    name: str


def pick_view(views: Sequence[View], text: str) -> View | None:
    """Return the view of a name or an iden, or of the beginning of one iden; None if that is none, or several."""
    found = [view for view in views if text in (view.iden, view.name)]
    found = found or [view for view in views if view.iden.startswith(text)]
    return found[0] if len(found) == 1 else None


def no_view(views: Sequence[View], text: str) -> str:
    """Say why `pick_view` found none."""
    count = sum(text == view.name for view in views) or sum(view.iden.startswith(text) for view in views)
    what = "more than one view is" if count > 1 else "no view that you may read is"
    return f"{what} named {text}"


def view_iden(client: CellClient, text: str) -> str:
    """Return the iden of a view as a person names it; empty for the default view.

    The Cortex is asked only if it is not an iden already.

    Raises:
        BadArg: no view has that name, or several have.
        CellError: the Cortex cannot be asked.
    """
    if text in ("", DEFAULT) or _IDEN.fullmatch(text):
        return "" if text == DEFAULT else text
    from cellmesh.api.cortex.v1 import storm_pb2
    from cellmesh.api.cortex.v1.storm_service_pb2_grpc import StormServiceStub
    from cellmesh.common.errors import BadArg
    from cellmesh.common.values import from_value

    request = storm_pb2.CallStormRequest(text=LIST_VIEWS, options=storm_pb2.StormOptions(readonly=True))
    answer = client.stub(StormServiceStub).CallStorm(request, timeout=TIMEOUT_S)
    views = [View(str(iden), str(name or "")) for iden, name in from_value(answer.value)]
    found = pick_view(views, text)
    if found is None:
        named = sorted(view.name for view in views if view.name)
        raise BadArg(
            no_view(views, text),
            view=text,
            hint=f"there are {', '.join(named[:10])}" if named else "no view has a name; give its iden",
        )
    return found.iden
