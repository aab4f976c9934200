"""Consumers: how far readers of a tank are, kept by the cell. Plain blocking code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cellmesh.common.changelog import ChangeWriter
from cellmesh.common.errors import BadArg, LimitExceeded
from cellmesh.common.storage import ReadTxn, Slab, WriteTxn
from cellmesh.cryotank import schema
from cellmesh.cryotank.tanks import changes, steps
from cellmesh.cryotank.tanks.names import check_name
from cellmesh.cryotank.tanks.rows import find_row, tank_of
from cellmesh.cryotank.tanks.values import Consumer, May, anybody

CONSUMER_COUNT_MAX: Final = 1000
"""Most consumers of one tank."""


class ConsumerStore:
    """The consumers of tanks of one slab.

    Args:
        slab: Open, with the databases of `schema`.
        change_writer: Writes the change log.
        now_us: The time, in microseconds since 1970.
    """

    def __init__(self, slab: Slab, change_writer: ChangeWriter, now_us: Callable[[], int]) -> None:
        self._slab = slab
        self._changes = change_writer
        self._now_us = now_us

    def set(
        self, name: str, consumer: str, offset: int, *, forward_only: bool = False, may: May = anybody
    ) -> Consumer:
        """Keep how far a reader is; durable when this returns.

        Args:
            name: The tank.
            consumer: The reader.
            offset: Of the record that it wants next.
            forward_only: Leave it as it is if that is further.
            may: See TankStore.

        Raises:
            NoSuchTank: there is no such tank.
            BadName: the consumer's name is malformed.
            BadArg: the tank does not reach so far.
            LimitExceeded: the tank has CONSUMER_COUNT_MAX others.
        """
        append_change = self._changes.begin()
        fresh = Consumer(consumer, offset, self._now_us())

        def op(txn: WriteTxn) -> Consumer:
            row = find_row(txn, name, may)
            check_name(consumer, "consumer")
            if offset > row.next_offset:
                raise BadArg(
                    f"the tank {name!r} ends at {row.next_offset}, before {offset}",
                    name="offset",
                    valu=offset,
                )
            key = schema.consumer_key(row.number, consumer)
            found = txn.get(schema.CONSUMERS, key)
            if found is not None:
                present = Consumer(consumer, *schema.decode_consumer(found))
                if present.offset == offset or (forward_only and present.offset > offset):
                    return present
            elif len(_list(txn, row.number)) >= CONSUMER_COUNT_MAX:
                raise LimitExceeded(
                    f"the tank {name!r} has {CONSUMER_COUNT_MAX} consumers",
                    name="CONSUMER_COUNT_MAX",
                    limit=CONSUMER_COUNT_MAX,
                    hint="delete those that read no more",
                )
            steps.set_consumer(txn, row.number, fresh)
            append_change(txn, changes.consumer_set(tank_of(name, row), fresh))
            return fresh

        return self._slab.write(op)

    def offset(self, name: str, consumer: str, may: May = anybody) -> int:
        """The offset that a reader wants next; 0 if the tank knows nothing of it. Raises NoSuchTank, BadName."""
        with self._slab.view() as txn:
            row = find_row(txn, name, may)
            found = txn.get(
                schema.CONSUMERS, schema.consumer_key(row.number, check_name(consumer, "consumer"))
            )
        return 0 if found is None else schema.decode_consumer(found)[0]

    def list(self, name: str, may: May = anybody) -> list[Consumer]:
        """All readers of a tank, by name. Raises NoSuchTank."""
        with self._slab.view() as txn:
            return _list(txn, find_row(txn, name, may).number)

    def delete(self, name: str, consumer: str, may: May = anybody) -> bool:
        """Forget a reader; whether it was there. Raises NoSuchTank."""
        append_change = self._changes.begin()

        def op(txn: WriteTxn) -> bool:
            row = find_row(txn, name, may)
            if not txn.has(schema.CONSUMERS, schema.consumer_key(row.number, consumer)):
                return False
            steps.delete_consumer(txn, row.number, consumer)
            append_change(txn, changes.consumer_deleted(tank_of(name, row), consumer))
            return True

        return self._slab.write(op)


def _list(txn: ReadTxn, number: int) -> list[Consumer]:
    low, high = schema.number_key(number), schema.number_key(number + 1)
    items = txn.scan(schema.CONSUMERS, low, high, count_max=CONSUMER_COUNT_MAX).items
    return [Consumer(schema.consumer_name(key), *schema.decode_consumer(data)) for key, data in items]


__all__ = ["CONSUMER_COUNT_MAX", "ConsumerStore"]
