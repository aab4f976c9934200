"""What a mirror is made of: roles, places, settings, and what it asks AHA and tells its cell."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from cellmesh.common.mirror.arbiter import Leadership
from cellmesh.common.tls.folder import IdentityFolder
from cellmesh.common.tls.identity import CellIdentity


class Role(enum.Enum):
    """What an instance is for its service."""

    UNKNOWN = "unknown"
    LEADER = "leader"
    FOLLOWER = "follower"


@dataclass(frozen=True, slots=True)
class Place:
    """An instance and where it serves."""

    name: str
    address: str


class Mesh(Protocol):
    """What a mirror asks AHA: `arbiter.Arbiter`."""

    @property
    def votes(self) -> bool:
        """Whether instances settle by votes who leads, so that who is given a term has all that was acknowledged."""
        ...

    async def claim(
        self, term: int, *, lease_s: float, force: bool = False, accept_loss: bool = False
    ) -> Leadership:
        """Ask to lead. Raises NotLeader, Retry, CellError."""
        ...

    async def renew(self, term: int, *, lease_s: float) -> Leadership:
        """Prolong the lease. Raises NotLeader, CellError."""
        ...

    async def transfer(self, term: int, successor: str) -> Leadership:
        """Pass the leadership on, or give the lease back. Raises NotLeader, BadName, CellError."""
        ...

    async def get(self, service: str) -> Leadership:
        """Who leads. Raises NoSuchName, CellError."""
        ...

    async def addresses(self, service: str) -> dict[str, str]:
        """Where the instances of a service serve, by name. Raises NoSuchName when there is none, CellError."""
        ...

    def grants_needed(self) -> int | None:
        """How many followers' grants make a lease; None: those of all."""
        ...

    async def close(self) -> None:
        """Close the channel."""
        ...


@dataclass(frozen=True, slots=True)
class MirrorSettings:
    """How an instance leads and follows.

    Attributes:
        lease_s: How long a lease of the leader holds without renewal.
        synchronous_followers: How many followers must have a change before it is acknowledged, of those there
            are.
        synchronous_timeout_s: How long that may take.
    """

    lease_s: float = 3.0
    synchronous_followers: int = 0
    synchronous_timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Instance:
    """Who the mirror is.

    Attributes:
        identity: Its name in the mesh.
        folder: Its certificate.
        cell_id: The cell's identifier.
        version: The version of Cellmesh.
    """

    identity: CellIdentity
    folder: IdentityFolder
    cell_id: str
    version: str

    @property
    def name(self) -> str:
        """Such as "01.cortex.demo"."""
        return self.identity.name

    @property
    def service(self) -> str:
        """Such as "cortex"."""
        return self.identity.service


@dataclass(frozen=True, slots=True)
class MirrorEvents:
    """What the cell wants to hear.

    Attributes:
        on_role: Awaited when the role has changed, with whether it leads now.
        on_reseed: Called when the storage cannot follow any more, with the reason: the cell starts again.
        is_stopping: Whether the cell stops.
        is_ready: Whether the cell serves, and has room for writes.
    """

    on_role: Callable[[bool], Awaitable[None]]
    on_reseed: Callable[[str], None]
    is_stopping: Callable[[], bool]
    is_ready: Callable[[], bool]


__all__ = ["Instance", "Mesh", "MirrorEvents", "MirrorSettings", "Place", "Role"]
