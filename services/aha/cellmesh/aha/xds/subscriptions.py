"""What one client wants of one type of resource, and what it was sent.

A request names what the client wants now, all of it, and by its nonce the answer it has seen last. A request about an older
answer crossed a newer one on its way: it counts for nothing, as the client will answer the newer one too. The first request
of a type has no nonce.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cellmesh.aha.xds.catalog import Catalog, Resource
from cellmesh.aha.xds.names import Kind
from cellmesh.aha.xds.security import Flavor
from cellmesh.common.errors import LimitExceeded

EVERYTHING: Final = "*"
NAME_COUNT_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Wish:
    """How a request has changed what is wanted."""

    added: frozenset[str]
    removed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is to be sent."""

    resources: tuple[Resource, ...]
    nonce: str


class Subscription:
    """One client, one type.

    Args:
        kind: The type.

    Attributes:
        everything: Whether it wants all there is.
        names: What it wants by name.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.everything = False
        self.names: frozenset[str] = frozenset()
        self._has: dict[str, int] = {}
        self._nonce = 0
        self._asked = False
        self._named = False
        self._waiting = False

    def is_stale(self, nonce: str) -> bool:
        """Whether a request with this nonce is about an answer that is not the last one."""
        return nonce != (str(self._nonce) if self._nonce else "") and bool(nonce or self._nonce)

    def want(self, names: Sequence[str]) -> Wish:
        """Take over what a request names.

        Raises:
            LimitExceeded: they are too many.
        """
        if len(names) > NAME_COUNT_MAX:
            raise LimitExceeded(
                "a client asks for too many resources", name="xds_name_count_max", limit=NAME_COUNT_MAX
            )
        wanted = frozenset(names) - {EVERYTHING}
        if EVERYTHING in names:
            everything = True
        elif wanted or not self.kind.whole:
            everything = False
        else:
            # None named at all: everything, from who has never named any; nothing, from who has.
            everything = not self._named
        self._named = self._named or bool(names)
        wish = Wish(wanted - self.names, self.names - wanted)
        if wish.added or (everything and not self.everything) or not self._asked:
            self._waiting = True
        for name in wish.removed:
            # Who asks for it again has dropped it and needs it again.
            self._has.pop(name, None)
        if self.everything and not everything:
            self._has = {name: revision for name, revision in self._has.items() if name in wanted}
        self.names, self.everything, self._asked = wanted, everything, True
        return wish

    def answer(self, catalog: Catalog, flavor: Flavor) -> Answer | None:
        """What the client must be sent now; None when it has everything."""
        wanted = sorted(self.names.union(catalog.names(self.kind, flavor)) if self.everything else self.names)
        looked_up = ((name, catalog.find(self.kind, name, flavor)) for name in wanted)
        found = {name: resource for name, resource in looked_up if resource is not None}
        changed = [name for name, resource in found.items() if self._has.get(name) != resource.revision]
        waiting, self._waiting = self._waiting, False
        if self.kind.whole:
            # What is missing is gone: who asks for a name that is not there learns so at once.
            gone = self._has.keys() - found.keys()
            if not (changed or gone or (waiting and (wanted or self.everything))):
                return None
            sent = list(found)
        elif changed:
            sent = changed
        else:
            return None
        if self.kind.whole:
            self._has = {}
        self._has.update((name, found[name].revision) for name in sent)
        self._nonce += 1
        return Answer(tuple(found[name] for name in sent), str(self._nonce))
