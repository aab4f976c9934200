"""The seam through which mirrors may hold or refuse what a slab acknowledges.

A slab without a gate answers for its own disk alone. With one, no write of a plain session starts that the gate
refuses, and none is acknowledged before the gate agrees. A *privileged* session passes the gate: a follower
writes its leader's changes with one.

Plain and privileged writes never share a transaction while there is a gate. So when a gate has begun to refuse,
and a privileged write made after that is committed, no plain write can come behind it.
"""

from __future__ import annotations

from typing import Protocol


class AckGate(Protocol):
    """What stands between a slab and those who write to it. Called from many threads."""

    def check_write(self) -> None:
        """Raise if no write may start now. Nothing of it is written then.

        Called on the writer's thread, maybe twice for one write; it answers from memory and waits for nothing.
        """
        ...

    def acknowledge(self, txn_id: int) -> None:
        """Return when a committed and synced state may be acknowledged; raise if it must not be.

        Called on the thread of whoever gets the acknowledgement, which holds nothing that others wait for, so it
        may wait. It bounds its wait itself. When it raises, the write is committed all the same, and its caller
        gets the error.

        Args:
            txn_id: LMDB's id of the state's transaction. Any read transaction begun from now on has it, or a
                greater one as `txn.raw.id()`.
        """
        ...


__all__ = ["AckGate"]
