"""Scans against a sorted list, with writes between their chunks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cellmesh.common.storage import Chunk, Position, ReadTxn, Slab, SubDb, TypedDb
from cellmesh.common.storage.codecs import BIG_INT, TEXT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PLAIN = SubDb("plain", "for tests")
MANY = SubDb("many", "for tests", dupsort=True)
FIXED = SubDb("fixed", "for tests", dupsort=True, dupfixed=2)

Items = set[tuple[bytes, bytes]]

KEYS = st.binary(min_size=1, max_size=2).map(lambda key: bytes(byte % 2 for byte in key))
VALUES = st.binary(min_size=2, max_size=2).map(lambda value: bytes(byte % 8 for byte in value))
PAIRS = st.lists(st.tuples(KEYS, VALUES), max_size=30, unique=True)
EDITS = st.lists(st.tuples(st.booleans(), KEYS, VALUES), max_size=4)


@pytest.fixture(scope="module")
def slab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slab]:
    with Slab.open(tmp_path_factory.mktemp("scans"), [PLAIN, MANY, FIXED], sync=False) as slab:
        yield slab


def replace_all(slab: Slab, db: SubDb, pairs: list[tuple[bytes, bytes]]) -> Items:
    def op(txn: object) -> None:
        txn.delete_range(db, b"", None, count_max=10**9)  # type: ignore[attr-defined]
        txn.put_many(db, pairs)  # type: ignore[attr-defined]

    slab.write(op)
    return set(pairs) if db.dupsort else set(dict(pairs).items())


def edit(slab: Slab, db: SubDb, model: Items, edits: list[tuple[bool, bytes, bytes]]) -> None:
    for is_put, key, value in edits:
        if is_put:
            slab.write(lambda txn, key=key, value=value: txn.put(db, key, value))
            if not db.dupsort:
                model -= {item for item in model if item[0] == key}
            model.add((key, value))
        else:
            slab.write(lambda txn, key=key, value=value: txn.delete(db, key, value))
            model.discard((key, value))


@pytest.mark.parametrize("db", [PLAIN, MANY, FIXED], ids=lambda db: db.name)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pairs=PAIRS,
    low=st.one_of(st.just(b""), KEYS),
    high=st.one_of(st.none(), KEYS),
    count_max=st.sampled_from([1, 2, 3, 5, 20]),
    reverse=st.booleans(),
    edits=st.lists(EDITS, max_size=4),
    drop_last=st.booleans(),
)
def test_scan_resumes_right_across_writes_between_its_chunks(
    slab: Slab,
    db: SubDb,
    pairs: list[tuple[bytes, bytes]],
    low: bytes,
    high: bytes | None,
    count_max: int,
    reverse: bool,
    edits: list[list[tuple[bool, bytes, bytes]]],
    drop_last: bool,
) -> None:
    """Each chunk must be what a sorted list says, of the items beyond the last one, at that moment."""
    model = replace_all(slab, db, pairs)
    after: Position | None = None
    for round_edits in [*edits, *[[]] * 100]:
        with slab.view() as txn:
            chunk = txn.scan(db, low, high, count_max=count_max, reverse=reverse, after=after)
            keys = txn.scan_keys(db, low, high, count_max=count_max, reverse=reverse, after=after)
            values = txn.scan_values(db, low, high, count_max=count_max, reverse=reverse, after=after)
        expected = sorted(model, reverse=reverse)
        expected = [item for item in expected if low <= item[0] and (high is None or item[0] < high)]
        if after is not None:
            done = (after.key, after.value) if db.dupsort else (after.key,)
            seen = len(done)
            expected = [item for item in expected if (item[:seen] < done if reverse else item[:seen] > done)]
        assert chunk.items == expected[:count_max]
        assert (chunk.resume is None) == (len(expected) <= count_max)
        assert keys == Chunk([key for key, _ in chunk.items], chunk.resume)
        assert values == Chunk([value for _, value in chunk.items], chunk.resume)
        after = chunk.resume
        if after is None:
            break
        edit(slab, db, model, round_edits)
        if drop_last:
            edit(slab, db, model, [(False, after.key, after.value)])
    else:
        raise AssertionError("the scan does not end")


def test_long_chunk_ends_at_its_bounds(slab: Slab) -> None:
    items = [(b"%05d" % number, b"v") for number in range(3000)]
    replace_all(slab, PLAIN, items)
    with slab.view() as txn:
        assert txn.scan(PLAIN, b"00500", b"01700", count_max=5000).items == items[500:1700]
        assert txn.scan(PLAIN, b"00500", b"01700", count_max=5000, reverse=True).items == items[1699:499:-1]
        assert txn.scan_keys(PLAIN, b"", None, count_max=3000).resume is None


@pytest.mark.parametrize("db", [PLAIN, MANY, FIXED], ids=lambda db: db.name)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pairs=PAIRS,
    low=st.one_of(st.just(b""), KEYS),
    high=st.one_of(st.none(), KEYS),
    count_max=st.integers(1, 9),
)
def test_delete_range_takes_the_first_items_of_the_range(
    slab: Slab, db: SubDb, pairs: list[tuple[bytes, bytes]], low: bytes, high: bytes | None, count_max: int
) -> None:
    model = sorted(replace_all(slab, db, pairs))
    in_range = [item for item in model if low <= item[0] and (high is None or item[0] < high)]
    count = slab.write(lambda txn: txn.delete_range(db, low, high, count_max=count_max))
    assert count == min(len(in_range), count_max)
    gone = set(in_range[:count])
    with slab.view() as txn:
        assert txn.scan(db, b"", None, count_max=1000).items == [item for item in model if item not in gone]


@pytest.mark.parametrize("db", [PLAIN, MANY, FIXED], ids=lambda db: db.name)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=PAIRS, key=KEYS, value=VALUES)
def test_point_reads_agree_with_the_items(
    slab: Slab, db: SubDb, pairs: list[tuple[bytes, bytes]], key: bytes, value: bytes
) -> None:
    model = sorted(replace_all(slab, db, pairs))
    mine = [item[1] for item in model if item[0] == key]

    def check(txn: ReadTxn) -> None:
        assert txn.get(db, key) == (mine[0] if mine else None)
        assert txn.get_many(db, [key, b"\xff", key]) == [txn.get(db, key), None, txn.get(db, key)]
        assert txn.values(db, key) == mine
        assert txn.count(db, key) == len(mine)
        assert txn.has(db, key) == bool(mine)
        assert txn.has(db, key, value) == (value in mine)
        assert txn.entries(db) == len(model)
        assert txn.first(db, b"", None) == (model[0] if model else None)
        assert txn.last(db, b"", None) == (model[-1] if model else None)

    with slab.view() as txn:
        check(txn)


@pytest.mark.parametrize("count_max", [1, 15, 16, 100, 101, 115, 116, 120, 500])
def test_values_read_in_bulk_are_those_of_the_scan(slab: Slab, count_max: int) -> None:
    """Keys of 100, 1, 15, 16 and 40 values, with chunks that end inside, at and behind them."""
    sizes = {b"a": 100, b"bb": 1, b"c": 15, b"d": 16, b"eee": 40}
    items = [(key, b"%02d" % number) for key, count in sizes.items() for number in range(count)]
    replace_all(slab, FIXED, items)
    bounds: list[tuple[bytes, bytes | None]] = [(b"", None), (b"a", b"a\x00"), (b"b", b"eee"), (b"d", None)]
    with slab.view() as txn:
        for low, high in bounds:
            found: list[bytes] = []
            after: Position | None = None
            while True:
                chunk = txn.scan_values(FIXED, low, high, count_max=count_max, after=after)
                assert len(chunk.items) <= count_max
                found += chunk.items
                after = chunk.resume
                if after is None:
                    break
            assert found == [value for key, value in items if low <= key and (high is None or key < high)]
        for key, count in sizes.items():
            assert txn.values(FIXED, key) == [b"%02d" % number for number in range(count)]


def test_put_and_delete_tell_whether_anything_changed(slab: Slab) -> None:
    def op(txn: object) -> list[bool]:
        put, delete = txn.put, txn.delete  # type: ignore[attr-defined]
        return [
            put(PLAIN, b"k", b"1"),
            put(PLAIN, b"k", b"2", overwrite=False),
            delete(PLAIN, b"k", b"2"),
            delete(PLAIN, b"k", b"1"),
            delete(PLAIN, b"k"),
            put(MANY, b"k", b"1"),
            put(MANY, b"k", b"1"),
            delete(MANY, b"k", b""),
            put(MANY, b"k", b"1"),
            delete(MANY, b"k"),
        ]

    for db in (PLAIN, MANY):
        replace_all(slab, db, [])
    assert slab.write(op) == [True, False, False, True, False, True, False, False, False, True]


def test_typed_database_speaks_python_values(slab: Slab) -> None:
    replace_all(slab, PLAIN, [])
    typed = TypedDb(PLAIN, BIG_INT, TEXT)
    slab.write(lambda txn: [typed.put(txn, number, str(number)) for number in (-300, 5, -1, 70000, 0)])
    with slab.view() as txn:
        assert typed.get(txn, -300) == "-300"
        assert typed.get(txn, 1) is None
        assert typed.scan(txn, -1, 70000, count_max=9).items == [(-1, "-1"), (0, "0"), (5, "5")]
        assert typed.scan(txn, count_max=2, reverse=True).items == [(70000, "70000"), (5, "5")]
    assert slab.write(lambda txn: typed.remove(txn, 5))
