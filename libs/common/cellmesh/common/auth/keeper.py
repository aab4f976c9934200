"""PolicyKeeper: the policy of a cell in memory and on disk, and how a change is made to both.

A change is one transaction: the new state, its entry in the change log, its record in the audit log. Changes are made
one after the other; checks go on meanwhile with the policy as it was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final, TypeVar

from cellmesh.api.common.v1 import auth_change_pb2, auth_pb2
from cellmesh.common.auth import audit
from cellmesh.common.auth.context import ROOT_ID, Caller, CallerKind, find_current_call
from cellmesh.common.auth.gates import Gate
from cellmesh.common.auth.held import AuthUser
from cellmesh.common.auth.policy import Policy
from cellmesh.common.auth.principals import Role, User
from cellmesh.common.auth.records import ApiKey, Credentials, Stored, put_change
from cellmesh.common.auth.rules import Path
from cellmesh.common.auth.stored import load_policy, write_difference
from cellmesh.common.changelog import ChangeLog
from cellmesh.common.errors import NoSuchAuthGate, NoSuchRole, NoSuchUser
from cellmesh.common.storage import Slab, WriteTxn
from cellmesh.common.time.clock import SYSTEM_CLOCK, Clock

T = TypeVar("T")

TYPE_NAME: Final = auth_change_pb2.AuthChange.DESCRIPTOR.full_name


class PolicyKeeper:
    """Keeps one policy. What only reads answers from memory; what changes blocks for a commit.

    Args:
        slab: Opened with `DATABASES` of the change log and of auth among its databases.
        clock: Where the time comes from.

    Attributes:
        policy: Everything as it counts now. Replaced by each change.
        stored: Everything as it is on disk: `policy`, but for what could not be stored.
        listeners: Called with each new policy, on the thread of whoever changed it. They wait for nothing.
    """

    def __init__(self, slab: Slab, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.slab = slab
        self.clock = clock
        self._log = ChangeLog(slab)
        self._lock = threading.RLock()
        self.listeners: list[Callable[[Policy], None]] = []
        self._together: list[Callable[[WriteTxn], None]] | None = None
        self.policy = self.stored = load_policy(slab)

    @property
    def now_us(self) -> int:
        """The time, in microseconds since 1970."""
        return self.clock.now() * 1000

    # For others: who is who, and who may do what. From memory.

    def user(self, name: str) -> AuthUser:
        """The user of this name or identifier. Raises NoSuchUser."""
        return AuthUser(self, self.get_user(name).user_id)

    def find_user_of(self, caller: Caller) -> AuthUser | None:
        """The user that a caller is; None for cells and strangers, who are no users."""
        if caller.kind is CallerKind.LOCAL:
            return AuthUser(self, ROOT_ID)
        return AuthUser(self, caller.user_id) if caller.user_id in self.policy.users else None

    def allowed(self, user: str, path: Path, gate: str = "", *, default: bool = False) -> bool:
        """Whether a user (name or identifier) may do something. Raises NoSuchUser, BadArg."""
        return self.policy.allowed(self.get_user(user).user_id, path, gate, default=default)

    def get_user(self, name: str) -> User:
        """A user by name or identifier. Raises NoSuchUser."""
        found = self.policy.find_user(name)
        if found is None:
            raise NoSuchUser(f"there is no user {name[:128]}", username=name[:128])
        return found

    def get_role(self, name: str) -> Role:
        """A role by name or identifier. Raises NoSuchRole."""
        found = self.policy.find_role(name)
        if found is None:
            raise NoSuchRole(f"there is no role {name[:128]}", name=name[:128])
        return found

    def get_gate(self, gate_id: str) -> Gate:
        """A gate. Raises NoSuchAuthGate."""
        found = self.policy.gates.get(gate_id)
        if found is None:
            raise NoSuchAuthGate(f"there is no gate {gate_id[:200]}", iden=gate_id[:200])
        return found

    def get_credentials(self, user_id: str) -> Credentials:
        """The credentials of a user; empty ones when it has none."""
        return self.policy.credentials.get(user_id) or Credentials(user_id)

    # How changes are made.

    def changing(self) -> AbstractContextManager[object]:
        """Held by whoever looks at the policy and then changes it."""
        return self._lock

    def put(self, value: T, *, detail: str = "") -> T:
        """Make or replace one thing, durably. The caller has checked it, and holds `changing`."""
        assert isinstance(value, Stored)
        self.commit(put_change(value), target=self._resource(value), detail=detail)
        return value

    @contextmanager
    def together(self) -> Iterator[list[Callable[[WriteTxn], None]]]:
        """Gather the changes made inside of the block, which count in memory at once, for one transaction.

        The caller holds `changing` and runs, before the block ends, all functions of the list in a transaction. If the
        block raises, the changes are forgotten.
        """
        before = self.policy, self.stored
        writes: list[Callable[[WriteTxn], None]] = []
        self._together = writes
        try:
            yield writes
        except BaseException:
            self.policy, self.stored = before
            self._tell()
            raise
        finally:
            self._together = None

    def put_in_memory(self, value: Stored) -> None:
        """Have something count until it changes or the cell restarts, where it could not be stored. Hold `changing`
        meanwhile.
        """
        self.policy = self.policy.after(put_change(value))
        self._tell()

    def commit(self, change: auth_change_pb2.AuthChange, *, target: str, detail: str = "") -> None:
        """Make a change, durably. The caller has checked it, and holds `changing`."""
        call = find_current_call()
        actor = call.caller.name if call else ""
        entry = audit.AuditEntry(
            auth_pb2.AUDIT_KIND_CHANGE,
            actor,
            str(change.WhichOneof("change")),
            target,
            detail,
            call.peer if call else "",
            call.request_id if call else "",
        )
        time_us = self.now_us
        payload = change.SerializeToString(deterministic=True)
        write, publish = self.plan(change)

        def op(txn: WriteTxn) -> None:
            write(txn)
            self._log.append(txn, time_us=time_us, actor=actor, type_name=TYPE_NAME, payload=payload)
            audit.append(txn, entry, time_us)

        if self._together is not None:
            self._together.append(op)
            publish()
            return
        # It counts once it is on disk, even where a gate refuses the acknowledgement.
        self.slab.write_then(op, publish)

    def plan(
        self, change: auth_change_pb2.AuthChange
    ) -> tuple[Callable[[WriteTxn], None], Callable[[], None]]:
        """What a change means: what to write, and what to call once that is committed. Hold `changing` meanwhile."""
        before = self.stored
        after = before.after(change)

        def write(txn: WriteTxn) -> None:
            write_difference(txn, before, after)

        def publish() -> None:
            self.publish(after, [change])

        return write, publish

    def publish(self, stored: Policy, changes: Sequence[auth_change_pb2.AuthChange]) -> None:
        """Have changes count that are committed. Hold `changing` meanwhile.

        Args:
            stored: What is on disk now.
            changes: How it came to be.
        """
        if self.policy is self.stored:
            self.policy = self.stored = stored
            self._tell()
            return
        # What could not be stored goes on to count, unless it is about the same thing.
        policy = self.policy
        for change in changes:
            policy = policy.after(change)
        self.policy, self.stored = policy, stored
        self._tell()

    def _tell(self) -> None:
        for listener in self.listeners:
            listener(self.policy)

    def _resource(self, value: Stored) -> str:
        match value:
            case User():
                return f"users/{value.name}"
            case Role():
                return f"roles/{value.name}"
            case Gate():
                return f"gates/{value.gate_id}"
            case Credentials() | ApiKey():
                return f"users/{self.get_user(value.user_id).name}"
