"""A tank beside a list that does the same: appends of all sizes, trims, limits, slices, counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from cellmesh.common.changelog import ChangeLog, ChangeWriter
from cellmesh.common.errors import BadArg
from cellmesh.common.storage import Slab
from cellmesh.cryotank import schema
from cellmesh.cryotank.tanks import Batch, TankLimits, TankStore
from cellmesh.cryotank.tanks.batches import APPEND_SIZE_MAX, BLOCK_SIZE, MSGPACK
from hypothesis import example, given, settings
from hypothesis import strategies as st


class Model:
    """What a tank is meant to be: records with the time of each."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, int]] = []
        self.first = 0

    @property
    def left(self) -> list[bytes]:
        return [data for data, _ in self.records[self.first :]]

    def apply(self, limits: TankLimits, now_us: int) -> None:
        def is_beyond() -> bool:
            if self.first == len(self.records):
                return False
            return bool(
                (limits.count_max and len(self.left) > limits.count_max)
                or (limits.size_max and sum(map(len, self.left)) > limits.size_max)
                or (limits.age_max_us and self.records[self.first][1] < now_us - limits.age_max_us)
            )

        while is_beyond():
            self.first += 1


class Clock:
    now_us = 1_000_000


def make_store(slab: Slab, clock: Clock) -> TankStore:
    writer = ChangeWriter(ChangeLog(slab), "x", lambda: clock.now_us)
    return TankStore(slab, writer, lambda: clock.now_us)


def read(store: TankStore, offset: int = 0, count: int | None = None) -> Iterator[tuple[int, bytes]]:
    for runs in store.read("t", offset, count):
        for run in runs:
            yield from enumerate(run.block.records(), run.offset)


SIZES = st.sampled_from([0, 1, 100, BLOCK_SIZE // 2, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1])
OPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(SIZES, max_size=6)),
        st.tuples(st.just("append"), st.integers(1, 300).map(lambda count: [3] * count)),
        st.tuples(st.just("trim"), st.integers(0, 400)),
        st.tuples(st.just("count"), st.integers(1, 300)),
        st.tuples(st.just("size"), st.integers(1, 3 * BLOCK_SIZE)),
        st.tuples(st.just("age"), st.integers(1, 20)),
        st.tuples(st.just("slice"), st.integers(0, 400), st.none() | st.integers(0, 400)),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@example([("append", [0]), ("count", 1)])
@given(OPS)
def test_a_tank_is_what_a_list_would_be(ops: list[Any]) -> None:
    clock = Clock()
    model = Model()
    with TemporaryDirectory() as folder, Slab.open(Path(folder) / "s", schema.DATABASES, sync=False) as slab:
        store = make_store(slab, clock)
        store.create("t")
        for number, op in enumerate(ops):
            clock.now_us += 10
            limits: TankLimits | None = None
            match op:
                case ("append", sizes):
                    records = [bytes([number % 256]) * size for size in sizes]
                    appended = store.append("t", Batch.of(records, MSGPACK))
                    assert (appended.offset, appended.count) == (len(model.records), len(records))
                    model.records += [(data, clock.now_us) for data in records]
                case ("trim", offset):
                    before = model.first
                    model.first = max(model.first, min(offset, len(model.records)))
                    assert store.trim("t", offset) == (model.first - before, model.first)
                case ("count", most):
                    limits = TankLimits(count_max=most)
                case ("size", most):
                    limits = TankLimits(size_max=most)
                case ("age", most):
                    limits = TankLimits(age_max_us=most * 10)
                case ("slice", offset, count):
                    low = max(offset, model.first)
                    expected = list(enumerate([data for data, _ in model.records]))[low:]
                    assert list(read(store, offset, count)) == expected[:count]
            if limits is not None:
                store.update("t", limits)
                before = model.first
                model.apply(limits, clock.now_us)
                assert store.apply_limits() == model.first - before
                store.update("t", TankLimits())
            found = store.metrics("t")
            assert (found.record_count, found.size) == (len(model.left), sum(map(len, model.left)))
            assert (found.first_offset, found.next_offset) == (model.first, len(model.records))
        assert list(read(store)) == list(enumerate(model.left, model.first))
        last = store.last("t")
        assert (last and (last.offset, last.data)) == (
            (len(model.records) - 1, model.records[-1][0]) if model.left else None
        )
        store.delete("t")
        assert slab.stats().entries[schema.RECORDS.name] == 0


def test_an_append_has_its_most_and_no_byte_more(tmp_path: Path) -> None:
    with Slab.open(tmp_path / "s", schema.DATABASES, sync=False) as slab:
        store = make_store(slab, Clock())
        store.create("t")
        whole = bytes(APPEND_SIZE_MAX)
        store.append("t", Batch.of([whole], MSGPACK))
        store.append("t", Batch.of([whole[:-1], b"\x01"], MSGPACK))
        for too_much in ([whole, b"\x01"], [whole + b"\x01"]):
            with pytest.raises(BadArg):
                Batch.of(too_much, MSGPACK)
        assert [data for _, data in read(store)] == [whole, whole[:-1], b"\x01"]
