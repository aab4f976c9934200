"""How a cell's store adds to the change log: who and when are settled before the transaction."""

from __future__ import annotations

import time
from collections.abc import Callable

from cellmesh.common.auth.context import find_current_call
from cellmesh.common.changelog.log import ChangeLog
from cellmesh.common.storage import WriteTxn
from google.protobuf.message import Message

AppendChange = Callable[[WriteTxn, bytes | Message], int]
"""Adds an entry with this payload to the change log, in the transaction given; returns its offset."""


def system_now_us() -> int:
    """The time of the machine, in microseconds since 1970."""
    return time.time_ns() // 1000


class ChangeWriter:
    """Adds entries of one type to the change log. Time and caller are settled before the transaction, as the
    op may run on another caller's thread.

    Args:
        log: The cell's change log.
        type_name: The full name of the payload's message.
        now_us: The time, in microseconds since 1970.
    """

    def __init__(self, log: ChangeLog, type_name: str, now_us: Callable[[], int] = system_now_us) -> None:
        self._log = log
        self._type_name = type_name
        self._now_us = now_us

    def begin(self) -> AppendChange:
        """What one op appends with: everything under the present time and caller."""
        actor = actor_name()
        time_us = self._now_us()

        def append(txn: WriteTxn, payload: bytes | Message) -> int:
            data = payload if isinstance(payload, bytes) else payload.SerializeToString(deterministic=True)
            return self._log.append(
                txn, time_us=time_us, actor=actor, type_name=self._type_name, payload=data
            )

        return append


def actor_name() -> str:
    """Who makes the call being served; empty outside of any."""
    call = find_current_call()
    return call.caller.name if call else ""
