"""One suite for every store of blobs: the corners that all must agree on, and random runs beside the one in memory."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from cellmesh.axon import schema
from cellmesh.axon.blobs import BlobStore, Limits
from cellmesh.axon.blobs.changes import TYPE_NAME
from cellmesh.axon.blobs.interface import Blobs
from cellmesh.axon.blobs.memory import MemoryBlobs
from cellmesh.common.changelog import ChangeLog, ChangeWriter
from cellmesh.common.errors import BadArg, HashMismatch, HitLimit, IsFini, NoSuchFile
from cellmesh.common.storage import Slab
from hypothesis import given, settings
from hypothesis import strategies as st

CHUNK_SIZE = 4096
PART_SIZE = 64 * CHUNK_SIZE

Make = Callable[..., Blobs]


class Clock:
    def __init__(self) -> None:
        self.now_us = 1_000_000

    def __call__(self) -> int:
        return self.now_us


@pytest.fixture(params=["lmdb", "memory"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    slabs: list[Slab] = []

    def made(**more: Any) -> Blobs:
        if request.param == "memory":
            return MemoryBlobs(**more)
        slabs.append(Slab.open(tmp_path / str(len(slabs)), schema.DATABASES, sync=False))
        return lmdb_blobs(slabs[-1], **more)

    yield made
    for slab in slabs:
        slab.close()


def lmdb_blobs(slab: Slab, **more: Any) -> BlobStore:
    writer = ChangeWriter(ChangeLog(slab), TYPE_NAME, lambda: 1)
    return BlobStore(slab, writer, chunk_size=CHUNK_SIZE, **more)


def content_of(size: int, seed: int = 1) -> bytes:
    return random.Random(seed * 1_000_003 + size).randbytes(size)


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def send(upload: Any, content: bytes, step: int = 50_000) -> None:
    for start in range(0, len(content), step):
        part = upload.add([content[start : start + step]])
        if part:
            upload.store(part)


def send_whole(upload: Any, content: bytes) -> None:
    send(upload, content)
    upload.finish()


EDGES = [0, 1]
EDGES += [
    edge + more for edge in (CHUNK_SIZE, 2 * CHUNK_SIZE, PART_SIZE, 2 * PART_SIZE) for more in (-1, 0, 1)
]


@pytest.mark.parametrize("size", EDGES)
def test_contents_at_the_edges_come_back(make: Make, size: int) -> None:
    blobs = make()
    content = content_of(size)
    upload = blobs.upload(sha256(content))
    send(upload, content)
    assert blobs.has([sha256(content)]) == [False]
    blob = upload.finish()
    assert (blob.sha256, blob.size) == (sha256(content), size)
    hashes = blobs.hashes(sha256(content))
    assert (hashes.sha256, hashes.size) == (sha256(content), size)
    assert (hashes.md5, hashes.sha1) == (hashlib.md5(content).digest(), hashlib.sha1(content).digest())
    assert hashes.sha512 == hashlib.sha512(content).digest()
    assert blobs.hashes(sha256(content)) == hashes
    for offset, length in (
        (0, None),
        (0, 0),
        (size // 2, 7),
        (size - 1, 5),
        (size, 1),
        (size + 9, None),
        (1, 2**63),
    ):
        offset = max(0, offset)
        expected = content[offset:] if length is None else content[offset : offset + length]
        assert b"".join(blobs.read(sha256(content), offset, length)) == expected
    assert blobs.verify(sha256(content)) is None


def test_a_content_is_stored_once_and_may_come_again(make: Make) -> None:
    blobs = make()
    (one, two) = blobs.put([b"one", b"one"])
    assert one == two
    upload = blobs.upload()
    send(upload, b"one")
    upload.finish()
    assert [item.offset for item in blobs.arrivals()] == [0]
    assert blobs.delete([one.sha256, one.sha256, sha256(b"no")]) == [True, False, False]
    blobs.put([b"two", b"one"])
    assert [(item.offset, item.blob.sha256, item.deleted) for item in blobs.arrivals()] == [
        (0, sha256(b"one"), True),
        (1, sha256(b"two"), False),
        (2, sha256(b"one"), False),
    ]
    assert [item.offset for item in blobs.arrivals(1, 1)] == [1]
    assert blobs.metrics().blob_count == 2


def test_what_is_not_there_is_told(make: Make) -> None:
    blobs = make()
    for call in (blobs.info, blobs.hashes, blobs.verify, lambda name: list(blobs.read(name))):
        with pytest.raises(NoSuchFile):
            call(bytes(32))
        with pytest.raises(BadArg):
            call(b"short")
    for many in (blobs.has, blobs.missing, blobs.delete):
        with pytest.raises(BadArg):
            many([bytes(31)])
    with pytest.raises(BadArg):
        blobs.put([bytes(4 << 20)])
    with pytest.raises(BadArg):
        blobs.resume(b"short")


def test_an_upload_ends_once(make: Make) -> None:
    blobs = make()
    upload = blobs.upload(sha256(b"other"))
    send(upload, content_of(PART_SIZE + 1))
    with pytest.raises(HashMismatch):
        upload.finish()
    upload = blobs.upload()
    upload.abort()
    with pytest.raises(IsFini):
        upload.finish()
    assert blobs.metrics().blob_count == 0


def test_an_upload_is_gone_on_with(make: Make) -> None:
    blobs = make()
    content = content_of(3 * PART_SIZE + 77)
    upload = blobs.resume(bytes(16))
    send(upload, content[: 2 * PART_SIZE + 5 * CHUNK_SIZE + 9])
    upload.suspend()
    upload = blobs.resume(bytes(16), sha256(content))
    assert upload.size >= 2 * PART_SIZE + 5 * CHUNK_SIZE
    send(upload, content[upload.size :])
    assert upload.finish().sha256 == sha256(content)
    assert b"".join(blobs.read(sha256(content))) == content
    assert blobs.drop_upload(bytes(16)) is False
    send(blobs.resume(bytes(16)), content)
    assert blobs.drop_upload(bytes(16)) is True
    assert blobs.resume(bytes(16)).size == 0


def test_history_goes_by_time_whatever_the_clock_does(make: Make) -> None:
    clock = Clock()
    blobs = make(now_us=clock)
    for time_us in (10, 20, 15, 30):
        clock.now_us = time_us
        blobs.put([b"%d" % time_us])
    assert [item.time_us for item in blobs.arrivals()] == [10, 20, 20, 30]
    assert [item.offset for item in blobs.history(20)] == [1, 2, 3]
    assert [item.offset for item in blobs.history(0, 20)] == [0]
    assert [item.offset for item in blobs.history(11, 30)] == [1, 2]
    assert list(blobs.history(31)) == list(blobs.history(20, 10)) == []


def test_rows_and_offsets_tell_what_arrivals_and_history_do(make: Make) -> None:
    clock = Clock()
    blobs = make(now_us=clock)
    for number in range(30):
        clock.now_us += number % 3
        blobs.put([b"%d" % number])
    blobs.delete([sha256(b"7"), sha256(b"29")])
    rows = [
        (item.offset, item.blob.sha256, item.blob.size, item.time_us, int(item.deleted))
        for item in blobs.arrivals()
    ]
    for offset, count in ((0, 100), (0, 5), (7, 1), (29, 9), (30, 9), (99, 9)):
        assert list(blobs.arrival_rows(offset, count)) == rows[offset : offset + count]
    for tick, tock in ((0, None), (1_000_005, 1_000_020), (1_000_020, 1_000_005), (2_000_000, None)):
        first, last = blobs.offsets_between(tick, tock)
        assert list(range(first, last)) == [item.offset for item in blobs.history(tick, tock)]


def test_kept_uploads_are_told(make: Make) -> None:
    clock = Clock()
    blobs = make(now_us=clock)
    upload = blobs.resume(bytes(16))
    send(upload, content_of(PART_SIZE + 1))
    upload.suspend()
    assert [(item.upload_id, item.time_us) for item in blobs.kept_uploads()] == [(bytes(16), clock.now_us)]
    assert (blobs.has_upload(bytes(16)), blobs.has_upload(b"x" * 16)) == (True, False)
    upload.finish()
    assert not blobs.kept_uploads()
    with pytest.raises(BadArg):
        blobs.has_upload(b"short")


def test_limits_hold(make: Make) -> None:
    blobs = make(limits=Limits(blob_count=2, size=PART_SIZE * 2))
    blobs.put([b"a"])
    with pytest.raises(HitLimit):
        blobs.put([b"a", b"b", b"c"])
    upload = blobs.upload()
    with pytest.raises(HitLimit):
        send_whole(upload, content_of(3 * PART_SIZE))
    upload.abort()
    blobs.put([b"a", b"b", b"b"])
    assert blobs.metrics().blob_count == 2


OPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(st.integers(0, 8), max_size=5)),
        st.tuples(st.just("upload"), st.integers(0, 8)),
        st.tuples(st.just("delete"), st.lists(st.integers(0, 8), max_size=4)),
        st.tuples(st.just("resume"), st.integers(0, 2), st.integers(0, 8), st.booleans()),
        st.tuples(st.just("drop"), st.integers(0, 2)),
    ),
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(OPS)
def test_all_stores_agree_on_random_runs(ops: list[Any]) -> None:
    contents = [content_of(size * 9_000, size) for size in range(9)]
    with TemporaryDirectory() as folder, Slab.open(Path(folder) / "s", schema.DATABASES, sync=False) as slab:
        clock = Clock()
        both: list[Blobs] = [lmdb_blobs(slab, now_us=clock), MemoryBlobs(now_us=clock)]
        for op in ops:
            clock.now_us += 1
            answers = []
            for blobs in both:
                match op:
                    case ("put", numbers):
                        answers.append(blobs.put([contents[number] for number in numbers]))
                    case ("upload", number):
                        upload = blobs.upload()
                        send(upload, contents[number])
                        answers.append(upload.finish())
                    case ("delete", numbers):
                        answers.append(blobs.delete([sha256(contents[number]) for number in numbers]))
                    case ("resume", place, number, is_whole):
                        blobs.drop_upload(bytes([place]) * 16)
                        upload = blobs.resume(bytes([place]) * 16)
                        send(upload, contents[number])
                        answers.append(upload.finish() if is_whole else None)
                    case ("drop", place):
                        blobs.drop_upload(bytes([place]) * 16)
            assert all(answer == answers[0] for answer in answers)
            assert list(both[0].arrivals()) == list(both[1].arrivals())
            assert both[0].metrics() == both[1].metrics()
        names = list(map(sha256, contents))
        assert both[0].has(names) == both[1].has(names)
        for name in names:
            if both[0].has([name])[0]:
                assert b"".join(both[0].read(name)) == b"".join(both[1].read(name))
        # Of what was deleted nothing is left.
        for kept in range(3):
            both[0].drop_upload(bytes([kept]) * 16)
        sizes = [item.blob.size for item in both[0].arrivals() if not item.deleted]
        assert slab.stats().entries[schema.CHUNKS.name] == sum(-(-size // CHUNK_SIZE) for size in sizes)
