"""What both faces share: where calls go, what is remembered between them, and what follows a failure.

A face makes connections, sends calls and waits; it decides nothing. Of each call it makes an `Attempts`:

    connection = the face's `connect(attempts)`, which asks `ClientCore.find` and AHA where needed
    send with attempts.timeout_s() and attempts.metadata()
    failed?  pause = attempts.failed(error, connection), which raises when the call is not to be made again
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

import grpc
from cellmesh.api.aha.v1 import registry_pb2
from cellmesh.client.failures import (
    as_cell_error,
    is_transport_failure,
    never_began,
    unknown_outcome,
)
from cellmesh.client.inprocess import CellInProcess
from cellmesh.client.instances import InstanceTable, Prefer
from cellmesh.client.login import Login
from cellmesh.client.methods import Effect, effect_of
from cellmesh.client.resolve import Target, instance_target, led_target, registry_targets, static_target
from cellmesh.client.retry import RetryBudget, RetryPolicy
from cellmesh.client.urls import CellUrl, Scheme
from cellmesh.common.errors import (
    CellError,
    CellUnreachable,
    IsFini,
    NoSuchCell,
    NoSuchName,
    NotLeader,
    Retry,
    ShuttingDown,
)
from cellmesh.common.rpc.channel import UNARY_DEADLINE_S
from cellmesh.common.rpc.offsets import CHANGE_OFFSET_KEY, MIN_OFFSET_KEY
from cellmesh.common.telemetry.tracing import outgoing_metadata
from cellmesh.common.tls.folder import IdentityFolder

LEADER_CHANGES_MAX: Final = 4
"""How often one call follows "I do not lead, that one does"."""
FIRST_ATTEMPTS_MAX: Final = 3
"""Attempts to reach a cell that AHA knows and that has not been reached before. What the URL itself says where it is
gets one: when nobody has answered there yet, the address is rather wrong than the cell away for a moment."""
RENEWAL_LOOK_S: Final = 1.0
"""How often a client looks whether its certificate was renewed."""
SHORTEST_TIMEOUT_S: Final = 0.001


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How a client calls.

    Attributes:
        timeout_s: Deadline of calls with one answer that give none themselves, in seconds; None for none.
        stream_timeout_s: Likewise of calls with a stream of answers.
        prefer: Where the calls of a pool go.
        retry: How often and how soon calls are made again.
    """

    timeout_s: float | None = UNARY_DEADLINE_S
    stream_timeout_s: float | None = None
    prefer: Prefer = Prefer.LEADER
    retry: RetryPolicy = field(default=RetryPolicy())


class Connection(Protocol):
    """A channel to one address, as a face makes it.

    Attributes:
        target: Where it leads.
        answered: Whether the cell has answered a call on it.
    """

    target: Target
    answered: bool


ConnectionT = TypeVar("ConnectionT", bound=Connection)


class ClientCore(Generic[ConnectionT]):
    """Where calls go and what is remembered between them. Threads may share it.

    Attributes:
        url: Where the client leads.
        options: How it calls.
        table: The instances that AHA told of; None when the URL itself says where the cell is.
        has_answered: Whether the cell, or any instance, has answered a call.
        registry: The address of the AHA that answered last; empty before.
        change_offset: The highest change offset that an answer has told; 0 before. What has been written up to there
            is seen by every later call of this client, whichever instance it goes to.
    """

    def __init__(
        self,
        url: CellUrl,
        identity: IdentityFolder,
        login: Login,
        options: ClientOptions,
        make_connection: Callable[[Target], ConnectionT],
    ) -> None:
        self.url = url
        self.identity = identity
        self.login = login
        self.options = options
        self.budget = RetryBudget()
        self.table = InstanceTable(url.name) if url.scheme is Scheme.AHA else None
        self.in_process = CellInProcess(url) if url.scheme is Scheme.CELL else None
        self.has_answered = False
        self.registry = ""
        self.change_offset = 0
        self.closed = False
        self._make_connection = make_connection
        self._lock = threading.Lock()
        self._connections: dict[str, ConnectionT] = {}
        self._stamp: tuple[int, int] | None = None
        self._look_s = 0.0
        # What is wrong with the URL or the identity is told at once, not at the first call.
        if self.table is not None:
            registry_targets(identity)
        elif self.in_process is None:
            static_target(url, identity, logs_in=bool(login.header))

    def find(self, attempts: Attempts) -> ConnectionT | None:
        """The connection that a call goes over next, or None when AHA must be asked first.

        Raises:
            IsFini: the client is closed.
            CellUnreachable: no instance is ready.
        """
        self._notice_renewal()
        target = self._choose(attempts)
        if target is None:
            return None
        with self._lock:
            if self.closed:
                raise IsFini("the client is closed", name=str(self.url))
            connection = self._connections.get(target.address)
            if connection is None:
                connection = self._connections[target.address] = self._make_connection(target)
        return connection

    def _notice_renewal(self) -> None:
        """When the certificate was renewed, what is called from here on is called with the new one.

        The credentials of a connection are those that it was made with. Calls that run on it go on.
        """
        now_s = time.monotonic()
        if now_s < self._look_s:
            return
        self._look_s = now_s + RENEWAL_LOOK_S
        stamp = self.identity.stamp()
        if stamp is None or stamp == self._stamp:
            return
        with self._lock:
            if self._stamp is not None:
                self._connections.clear()
            self._stamp = stamp

    def _choose(self, attempts: Attempts) -> Target | None:
        if attempts.led_to is not None:
            return attempts.led_to
        if self.closed:
            raise IsFini("the client is closed", name=str(self.url))
        if self.table is None:
            if self.in_process is not None:
                return Target(self.in_process.address)
            return static_target(self.url, self.identity, logs_in=bool(self.login.header))
        if self.table.stale:
            return None
        instance = self.table.pick(self.options.prefer, reads=attempts.reads, avoid=attempts.avoid)
        # The members of a pool have change logs of their own.
        attempts.to_follower = not instance.leader and not self.table.is_pool
        return instance_target(instance, self.identity)

    def drop(self, connection: ConnectionT) -> None:
        """Forget a connection; the next call makes a new one.

        Its channel goes with the last call that uses it. Closing it here would end those calls as cancelled.
        """
        address = connection.target.address
        with self._lock:
            if self._connections.get(address) is connection:
                del self._connections[address]
        if self.table is not None:
            self.table.failed(address)

    def told(self, answer: registry_pb2.GetServiceResponse) -> None:
        """Take in AHA's answer to a look-up."""
        assert self.table is not None
        self.table.replace(answer.instances, answer.pool_members)
        self._forget_gone()

    def watched(self, message: registry_pb2.WatchInstancesResponse, *, whole: bool) -> None:
        """Take in a message of AHA's watch."""
        assert self.table is not None
        self.table.watched(message.changes, whole=whole)
        self._forget_gone()

    def _forget_gone(self) -> None:
        """Let go of connections to instances that are no more; running calls on them go on."""
        assert self.table is not None
        there = self.table.addresses()
        with self._lock:
            for address in [address for address in self._connections if address not in there]:
                del self._connections[address]

    def lead(self, error: NotLeader) -> Target | None:
        """Where the leader is that another instance told of; None when it did not tell, or AHA is to be asked."""
        leader = str(error.get("leader") or "")
        if self.table is not None:
            instance = self.table.led_by(leader)
            if instance is not None:
                return instance_target(instance, self.identity)
        return (
            led_target(leader, self.url, self.identity, logs_in=bool(self.login.header)) if leader else None
        )

    def note_offset(self, metadata: Any) -> None:
        """Remember the change offset that an answer tells in its trailing metadata."""
        if self.table is not None and self.table.is_pool:
            return
        for key, value in metadata or ():
            if key == CHANGE_OFFSET_KEY:
                self.saw_offset(value)

    def saw_offset(self, told: Any) -> None:
        """Remember a change offset, if it is one and the highest."""
        try:
            offset = int(told)
        except (TypeError, ValueError):
            # Another program answers, or a newer one: this is no reason to lose its answer.
            return
        with self._lock:
            self.change_offset = max(self.change_offset, offset)

    def close(self) -> list[ConnectionT]:
        """Take no more calls; returns the connections, which the face closes."""
        with self._lock:
            self.closed = True
            connections = list(self._connections.values())
            self._connections.clear()
        return connections


def may_pass(error: CellError) -> bool:
    """Whether what a cell answered may be otherwise in a moment: it stops, starts, or has lost its own leader."""
    return isinstance(error, (ShuttingDown, Retry)) or error.get("outcome") == "unknown"


class Attempts:
    """One call, from its first attempt to its outcome.

    Args:
        core: The client's.
        path: Full method name.
        replayable: Whether the request can be sent again: not when it is a stream.
        timeout_s: How long all attempts may take together; None for ever.
        reads: Whether the caller says that it changes nothing, where the proto does not.
        safe: Whether it may be made again although its method does not say so.
    """

    __slots__ = (
        "_core",
        "_effect",
        "_leader_changes",
        "_replayable",
        "_safe",
        "_until",
        "avoid",
        "count",
        "led_to",
        "path",
        "reads",
        "to_follower",
    )

    def __init__(
        self,
        core: ClientCore[Any],
        path: str,
        *,
        replayable: bool,
        timeout_s: float | None,
        reads: bool = False,
        safe: bool = False,
    ) -> None:
        self.path = path
        self.count = 1
        self.avoid: set[str] = set()
        self.led_to: Target | None = None
        self.to_follower = False
        self._core = core
        self._effect = Effect.NONE if reads else effect_of(path)
        self.reads = self._effect is Effect.NONE
        self._safe = safe or self._effect.is_safe
        self._replayable = replayable
        self._until = None if timeout_s is None else time.monotonic() + timeout_s
        self._leader_changes = 0

    def timeout_s(self) -> float | None:
        """How long the next attempt may take."""
        if self._until is None:
            return None
        return max(self._until - time.monotonic(), SHORTEST_TIMEOUT_S)

    @property
    def is_over(self) -> bool:
        """Whether there is no time left for an attempt."""
        return self._until is not None and time.monotonic() >= self._until

    def metadata(self, given: Any) -> Any:
        """The caller's metadata with the login, what ties this call to the one being served here, and the offset."""
        core = self._core
        ours = (*core.login.metadata, *outgoing_metadata())
        if self.to_follower and core.change_offset:
            ours = (*ours, (MIN_OFFSET_KEY, str(core.change_offset)))
        return (*(given or ()), *ours) if ours else given

    def succeeded(self, connection: Connection, trailing_metadata: Any) -> None:
        """The call has its answer."""
        core = self._core
        connection.answered = core.has_answered = True
        core.budget.earn()
        if trailing_metadata:
            core.note_offset(trailing_metadata)

    def failed(self, error: grpc.RpcError, connection: Any, *, begun: bool = False) -> float:
        """Say what follows a failed attempt.

        Args:
            error: What gRPC raised.
            connection: What it was made on.
            begun: Whether answers have been handed on already, so that the call cannot begin anew.

        Returns:
            How long to wait before the next attempt, in seconds.

        Raises:
            CellError: the call is not to be made again; says why it failed.
        """
        core = self._core
        target: Target = connection.target
        made = as_cell_error(error, core.url, target)
        if not is_transport_failure(error):
            # An answer, if a bad one: the cell is there.
            connection.answered = core.has_answered = True
            if isinstance(made, NotLeader):
                return self._go_to_leader(made, begun)
            core.note_offset(error.trailing_metadata())
            if self._safe and not begun and self._replayable and may_pass(made):
                self.avoid.add(target.address)
                if core.table is not None:
                    core.table.failed(target.address)
                return self._again(made, core.options.retry.attempts_max)
            raise made from None
        never_sent = never_began(error, made)
        self.avoid.add(target.address)
        core.drop(connection)
        self.led_to = None
        if begun or not self._replayable or not isinstance(made, CellUnreachable):
            raise made from None
        if never_sent:
            return self._again(made, self._reach_attempts_max(), reached=False)
        if not self._safe:
            raise unknown_outcome(made, self.path) from None
        return self._again(made, core.options.retry.attempts_max)

    def not_found(self, error: CellError) -> float:
        """Say what follows when no instance could be found, as `failed`."""
        if self._core.has_answered and isinstance(error, (CellUnreachable, NoSuchCell, NoSuchName)):
            # It was there a moment ago: it restarts, or another takes over.
            if self._core.table is not None:
                self._core.table.stale = True
            return self._again(error, self._core.options.retry.attempts_max, reached=False)
        raise error from None

    def _reach_attempts_max(self) -> int:
        most = self._core.options.retry.attempts_max
        if self._core.has_answered:
            return most
        return min(most, FIRST_ATTEMPTS_MAX if self._core.table is not None else 1)

    def _go_to_leader(self, error: NotLeader, begun: bool) -> float:
        """Nothing was carried out unless the cell says otherwise, so that any call may be made again, at the leader."""
        self._leader_changes += 1
        unknown = error.get("outcome") == "unknown" and not self._safe
        if unknown or begun or not self._replayable or self._leader_changes > LEADER_CHANGES_MAX:
            raise error from None
        self.led_to = self._core.lead(error)
        if self.led_to is not None and self._leader_changes == 1:
            self.to_follower = False
            return 0.0
        # A new leader is being found.
        return self._again(error, self._core.options.retry.attempts_max)

    def _again(self, error: CellError, attempts_max: int, *, reached: bool = True) -> float:
        """Count one more attempt. Only those cost of the budget that may have given the cell work."""
        core = self._core
        if self.count >= attempts_max:
            raise error from None
        pause_s = core.options.retry.pause_s(self.count)
        if self.count == 1 and core.table is not None:
            # Another instance may be there, or AHA know better: ask at once.
            pause_s = 0.0
        if self._until is not None and time.monotonic() + pause_s >= self._until:
            raise error from None
        if reached and not core.budget.spend():
            raise error from None
        self.count += 1
        return pause_s
