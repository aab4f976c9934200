"""The change records of AHA. No secret is in them."""

from __future__ import annotations

from typing import Final

from cellmesh.api.aha.v1 import change_pb2
from cellmesh.common.changelog import ChangeLog, ChangeWriter
from cellmesh.common.time.clock import Clock

TYPE_NAME: Final = change_pb2.AhaChange.DESCRIPTOR.full_name


def change_writer(log: ChangeLog, clock: Clock) -> ChangeWriter:
    """What AHA's parts append their changes with, each an AhaChange."""
    return ChangeWriter(log, TYPE_NAME, lambda: clock.now() * 1000)
