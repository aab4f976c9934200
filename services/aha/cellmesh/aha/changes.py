"""The change records of AHA. No secret is in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cellmesh.api.aha.v1 import change_pb2
from cellmesh.common.auth.context import find_current_call
from cellmesh.common.changelog import ChangeLog
from cellmesh.common.storage import WriteTxn
from cellmesh.common.time.clock import Clock

TYPE_NAME: Final = change_pb2.AhaChange.DESCRIPTOR.full_name

AppendChange = Callable[[WriteTxn, change_pb2.AhaChange], object]
"""Adds an entry with this payload to the change log, in the transaction given."""


class ChangeWriter:
    """Adds entries to the change log. Time and caller are settled before the transaction, as the op may
    run on another caller's thread.

    Args:
        log: The cell's change log.
        clock: Where the time comes from.
    """

    def __init__(self, log: ChangeLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock

    def begin(self) -> AppendChange:
        """What one op appends with: everything under the present time and caller."""
        actor = actor_name()
        time_us = self._clock.now() * 1000

        def append(txn: WriteTxn, change: change_pb2.AhaChange) -> None:
            payload = change.SerializeToString()
            self._log.append(txn, time_us=time_us, actor=actor, type_name=TYPE_NAME, payload=payload)

        return append


def actor_name() -> str:
    """Who makes the call being served; empty outside of any."""
    call = find_current_call()
    return call.caller.name if call else ""
