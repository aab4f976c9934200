"""Each tank is a gate of the cell's rules: made and removed in the transaction that makes and removes the tank."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol

from cellmesh.common.auth.context import Caller, CallerKind, find_current_call
from cellmesh.common.auth.gates import Gate, GateUser
from cellmesh.common.auth.rules import path_text
from cellmesh.common.auth.store import AuthStore
from cellmesh.common.errors import AuthDeny
from cellmesh.common.storage import WriteTxn
from cellmesh.cryotank.tanks.values import May

GATE_KIND: Final = "tank"

Writes = Sequence[Callable[[WriteTxn], None]]


class Gates(Protocol):
    """What the store needs of the rules. While one block runs, no other does."""

    def alone(self) -> AbstractContextManager[object]:
        """Held by whoever makes or removes a tank."""
        ...

    def creating(self, tank_id: str) -> AbstractContextManager[Writes]:
        """Make a gate. All of the list is run in a transaction before the block ends; hold `alone`."""
        ...

    def deleting(self, tank_id: str) -> AbstractContextManager[Writes]:
        """Remove it, likewise."""
        ...


class TankGates:
    """The gates of tanks among the users, roles and rules of a cell.

    Args:
        auth: Those.
    """

    def __init__(self, auth: AuthStore) -> None:
        self._auth = auth

    def alone(self) -> AbstractContextManager[object]:
        """See Gates."""
        return self._auth.changing()

    @contextmanager
    def creating(self, tank_id: str) -> Iterator[Writes]:
        """See Gates. A user who makes a tank administers it."""
        call = find_current_call()
        user = self._auth.find_user_of(call.caller) if call else None
        gate = Gate(tank_id, GATE_KIND)
        if user is not None and not user.admin:
            gate = gate.with_user(user.user_id, GateUser(admin=True))
        with self._auth.together() as writes:
            self._auth.put(gate, detail="created")
            yield writes

    @contextmanager
    def deleting(self, tank_id: str) -> Iterator[Writes]:
        """See Gates. Tanks of older versions have none."""
        with self._auth.together() as writes:
            if tank_id in self._auth.policy.gates:
                self._auth.delete_gate(tank_id)
            yield writes

    def allows(self, caller: Caller, operation: str, tank_id: str = "") -> bool:
        """Whether a caller may do something with a tank; without one, with any that there is."""
        if caller.admin:
            return True
        user = self._auth.find_user_of(caller)
        if user is None:
            return caller.kind is CallerKind.CELL
        return user.allowed((GATE_KIND, operation), tank_id)

    def may(self, caller: Caller, operation: str) -> May:
        """What raises AuthDeny where a caller may not do something. It asks the rules as they are at that moment."""

        def check(tank_id: str) -> None:
            if not self.allows(caller, operation, tank_id):
                rule = path_text((GATE_KIND, operation))
                raise AuthDeny(
                    f"{caller.name} has no rule that allows {rule} here",
                    perm=rule,
                    username=caller.name,
                    hint="an administrator adds it with `cellmesh auth rule add`, for all tanks or with --gate for one",
                )

        return check


__all__ = ["GATE_KIND", "Gates", "TankGates", "Writes"]
