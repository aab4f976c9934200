"""The Axon's log replayed with a running leader as source of contents: an equal store, with every content in it."""

from __future__ import annotations

import hashlib
import random
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import pytest
from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc
from cellmesh.axon import schema
from cellmesh.axon.blobs import AxonApplier, BlobStore, Fetcher, fetching, replay
from cellmesh.axon.blobs.changes import TYPE_NAME
from cellmesh.axon.cell import AxonCell
from cellmesh.axon.config import AxonConfig
from cellmesh.common.auth.replay import AuthApplier
from cellmesh.common.auth.store import AuthStore
from cellmesh.common.cell import running
from cellmesh.common.changelog import Applier, ChangeLog, ChangeRecord, ChangeWriter
from cellmesh.common.config import load_config
from cellmesh.common.errors import (
    BadArg,
    CellUnreachable,
    HashMismatch,
    NoSuchFile,
    ShuttingDown,
    StorageCorrupt,
    from_rpc_error,
)
from cellmesh.common.failpoints import FailpointHit, failing
from cellmesh.common.storage import Layout, Slab, SubDb, WriteTxn
from cellmesh.testing.replicas import Interrupted, Replica, differences
from hypothesis import given, settings
from hypothesis import strategies as st

CHUNK_SIZE = 4096
PART_SIZE = 64 * CHUNK_SIZE
LARGE = fetching.SMALL_SIZE_MAX + 10 * PART_SIZE + 77


class Leader:
    """A running Axon as the source of contents. Counts what is asked of it."""

    def __init__(self, cell: AxonCell, channel: grpc.Channel) -> None:
        self.cell = cell
        self.store = cell.store
        self.url = f"grpc://{cell.tcp_address}"
        self.channel = channel
        self.stub = blob_service_pb2_grpc.BlobServiceStub(channel)

    def put(self, *contents: bytes) -> None:
        self.stub.PutBlobs(blob_pb2.PutBlobsRequest(contents=contents))

    def upload(self, content: bytes, expected: bytes = b"", step: int = 300_000) -> None:
        def requests() -> Iterator[blob_pb2.UploadBlobRequest]:
            for start in range(0, max(1, len(content)), step):
                yield blob_pb2.UploadBlobRequest(
                    data=content[start : start + step],
                    expected_sha256=expected,
                    last=start + step >= len(content),
                )

        self.stub.UploadBlob(requests())

    def delete(self, *names: bytes) -> None:
        self.stub.DeleteBlobs(blob_pb2.DeleteBlobsRequest(sha256s=names))

    def lose(self, content: bytes) -> None:
        """Take a content away: what replicas share about it stays."""
        with self.cell.slab.view() as txn:
            record = schema.Record.decode(txn.get(schema.BLOBS, sha256(content)) or b"")
        key = schema.number_key(record.arrival)
        self.cell.slab.write(lambda txn: (txn.delete(schema.PLACES, key), txn.put(schema.WANTED, key, b"")))


class Copy(Replica):
    """An empty Axon's storage that a log is replayed into."""

    def __init__(self, path: Path, databases: tuple[SubDb, ...] = schema.DATABASES, seed: int = 0) -> None:
        self.clock_s = 0.0
        super().__init__(path, databases, self.make_appliers, seed)

    def make_appliers(self, slab: Slab) -> list[Applier]:
        self.store = make_store(slab)
        # As a cell does at its start.
        self.store.remove_broken_uploads()
        self.fetcher = Fetcher(slab, chunk_size=CHUNK_SIZE)
        self.applier = AxonApplier(self.store, self.fetcher, lambda: self.clock_s)
        if {db.name for db in self._databases} == {db.name for db in schema.DATABASES}:
            return [self.applier]
        return [AuthApplier(AuthStore(slab)), self.applier]

    def entries(self, db: SubDb) -> int:
        return self.slab.stats().entries[db.name]


def make_store(slab: Slab) -> BlobStore:
    return BlobStore(slab, ChangeWriter(ChangeLog(slab), TYPE_NAME, lambda: 1), chunk_size=CHUNK_SIZE)


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def content_of(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def run_axon(folder: Path) -> Any:
    flags = {"insecure": True, "listen": "127.0.0.1:0", "chunk_size_bytes": 8192}
    return running(AxonCell(load_config(AxonConfig, dir=folder, flags=flags, environ={})))


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[Leader]:
    with run_axon(tmp_path / "axon") as cell, grpc.insecure_channel(cell.tcp_address) as channel:
        yield Leader(cell, channel)


@pytest.fixture
def copy(tmp_path: Path, leader: Leader) -> Iterator[Copy]:
    made = Copy(tmp_path / "copy", leader.cell.all_databases())
    yield made
    made.close()


def assert_equal(leader: Leader, copy: Copy) -> None:
    databases = leader.cell.all_databases()
    assert differences(leader.cell.slab, copy.slab, databases) == []
    there = [arrival for arrival in leader.store.arrivals() if not arrival.deleted]
    for arrival in there:
        content = b"".join(copy.store.read(arrival.blob.sha256))
        assert sha256(content) == arrival.blob.sha256
    assert list(copy.store.arrivals()) == list(leader.store.arrivals())
    assert copy.store.metrics() == leader.store.metrics()
    # Nothing lies there that no blob has, nor anything twice.
    assert copy.entries(schema.UPLOADS) == copy.entries(schema.WANTED) == 0
    sizes = [arrival.blob.size for arrival in there]
    assert copy.entries(schema.CHUNKS) == sum(-(-size // CHUNK_SIZE) for size in sizes)


@pytest.mark.parametrize("seed", range(3))
def test_a_random_run_of_puts_and_uploads_makes_an_equal_axon(
    leader: Leader, copy: Copy, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "SMALL_SIZE_MAX", 100_000)
    monkeypatch.setattr(fetching, "GROUP_SIZE_MAX", 150_000)
    monkeypatch.setattr(fetching, "HELD_SIZE_MAX", 200_000)
    chosen = random.Random(seed)

    def write(number: int) -> None:
        chosen = random.Random(number)
        for _ in range(12):
            content = chosen.randbytes(chosen.choice([0, 1, 500, 8192, 90_000, 300_000, 1_500_000]))
            match chosen.randrange(5):
                case 4:
                    # Some of what is there, so that followers look for contents that are gone.
                    names = [row.blob.sha256 for row in leader.store.arrivals()]
                    leader.delete(*chosen.sample(names, min(5, len(names))))
                case 0:
                    leader.put(*(chosen.randbytes(chosen.randrange(3000)) for _ in range(20)))
                case 1:
                    # The same content from all threads, now and then at once.
                    leader.upload(content_of(700_000, seed))
                case 2:
                    with pytest.raises(grpc.RpcError):
                        leader.upload(content, expected=bytes(32))
                case 3:
                    leader.upload(content)

    threads = [threading.Thread(target=write, args=(seed * 10 + number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        copy.follow(leader.cell.changes, leader)
        if chosen.random() < 0.3:
            copy.reopen()
    for thread in threads:
        thread.join()
    copy.follow(leader.cell.changes, leader)
    assert_equal(leader, copy)
    copy.reopen()
    assert_equal(leader, copy)


OPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(st.integers(0, 12), max_size=6)),
        st.tuples(st.just("begin"), st.integers(0, 3), st.integers(0, 12)),
        st.tuples(st.just("store"), st.integers(0, 3)),
        st.tuples(st.just("finish"), st.integers(0, 3)),
        st.tuples(st.just("abort"), st.integers(0, 3)),
        st.tuples(st.just("delete"), st.lists(st.integers(0, 12), max_size=3)),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(OPS, st.integers(0, 2**32))
def test_what_replicas_share_is_the_same_whatever_uploads_overlap_or_break_off(
    ops: list[Any], seed: int
) -> None:
    with TemporaryDirectory() as folder:
        slab = Slab.open(Path(folder) / "leader", schema.DATABASES, sync=False)
        store = make_store(slab)
        copy = Copy(Path(folder) / "copy", seed=seed)
        open_uploads: dict[int, Any] = {}
        for op in ops:
            match op:
                case ("put", sizes):
                    store.put([content_of(size * 1000) for size in sizes])
                case ("begin", place, size) if place not in open_uploads:
                    open_uploads[place] = (store.upload(), content_of(size * 50_000))
                case ("store", place) if place in open_uploads:
                    upload, content = open_uploads[place]
                    part = upload.add([content])
                    if part:
                        upload.store(part)
                case ("finish", place) if place in open_uploads:
                    open_uploads.pop(place)[0].finish()
                case ("delete", sizes):
                    store.delete([sha256(content_of(size * 1000)) for size in sizes])
                    store.delete([sha256(content_of(size * 50_000)) for size in sizes])
                case ("abort", place) if place in open_uploads:
                    open_uploads.pop(place)[0].abort()
            # Equal at every offset, with uploads under way on the leader.
            copy.follow(ChangeLog(slab))
            assert differences(slab, copy.slab, schema.DATABASES) == []
            assert slab.state_hash(schema.DATABASES) == copy.slab.state_hash(schema.DATABASES)
        slab.close()
        copy.close()


def test_contents_of_all_sizes_are_fetched(leader: Leader, copy: Copy) -> None:
    leader.put(b"", b"a", bytes(8192), bytes(8193))
    for number, size in enumerate((fetching.SMALL_SIZE_MAX, fetching.SMALL_SIZE_MAX + 1, LARGE)):
        leader.upload(content_of(size, number))
    copy.apply(leader.cell.changes.read(0).records, leader)
    assert_equal(leader, copy)


def test_a_fetch_goes_on_after_a_restart_where_it_stopped(leader: Leader, copy: Copy) -> None:
    content = content_of(LARGE)
    leader.upload(content)
    records = leader.cell.changes.read(0).records
    with failing("axon_fetch_part_stored", "4>error"), pytest.raises(FailpointHit):
        copy.apply(records, leader)
    stored = copy.entries(schema.CHUNKS)
    assert stored == 5 * 64
    assert copy.store.has([sha256(content)]) == [False]
    copy.reopen()
    asked: list[int] = []
    copy.apply(records, Spy(leader, lambda request: asked.append(request.blobs[0].offset_bytes)))
    assert asked == [stored * CHUNK_SIZE]
    assert_equal(leader, copy)


def test_contents_fetched_for_a_run_that_failed_are_not_fetched_again(leader: Leader, copy: Copy) -> None:
    leader.put(b"small")
    leader.upload(content_of(LARGE))
    records = leader.cell.changes.read(0).records
    copy._countdown[0] = len(records) - 1
    with pytest.raises(Interrupted):
        copy.apply(records, leader)
    copy._countdown[0] = None
    assert copy.next_offset == 0
    asked: list[Any] = []
    copy.apply(records, Spy(leader, asked.append))
    assert asked == []
    assert_equal(leader, copy)


class Spy:
    """A leader whose calls are looked at, and whose answers may be changed, on their way."""

    def __init__(
        self,
        leader: Leader,
        look: Callable[[Any], object],
        change: Callable[[blob_pb2.FetchBlobsResponse], None] = lambda response: None,
    ) -> None:
        class Interceptor(grpc.UnaryStreamClientInterceptor):  # type: ignore[misc]
            def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
                look(request)
                return Responses(continuation(details, request))

        class Responses:
            def __init__(self, call: Any) -> None:
                self.call = call
                self.cancel = call.cancel

            def __iter__(self) -> Iterator[Any]:
                for response in self.call:
                    change(response)
                    yield response

        self.url = leader.url
        self.channel = grpc.intercept_channel(leader.channel, Interceptor())


@pytest.mark.parametrize("size", [1000, LARGE])
def test_a_content_that_is_not_the_one_named_is_never_used(leader: Leader, copy: Copy, size: int) -> None:
    leader.upload(content_of(size))
    records = leader.cell.changes.read(0).records

    def damage(response: blob_pb2.FetchBlobsResponse) -> None:
        piece = response.pieces[-1]
        if piece.last:
            piece.data = piece.data[:-1] + bytes([piece.data[-1] ^ 1])

    with pytest.raises(HashMismatch):
        copy.apply(records, Spy(leader, lambda request: None, damage))
    assert copy.next_offset == 0
    assert copy.entries(schema.CHUNKS) == copy.entries(schema.UPLOADS) == 0
    copy.apply(records, leader)
    assert_equal(leader, copy)


def test_a_leader_that_goes_away_leaves_what_was_fetched(tmp_path: Path) -> None:
    with run_axon(tmp_path / "axon") as cell, grpc.insecure_channel(cell.tcp_address) as channel:
        leader = Leader(cell, channel)
        leader.upload(content_of(LARGE))
        records = leader.cell.changes.read(0).records
        copy = Copy(tmp_path / "copy", cell.all_databases())
    with pytest.raises(ShuttingDown):
        copy.apply(records, leader)
    with grpc.insecure_channel(leader.url.removeprefix("grpc://")) as channel:
        leader.channel = channel
        with pytest.raises(CellUnreachable):
            copy.apply(records, leader)
    assert copy.next_offset == 0
    with run_axon(tmp_path / "axon") as cell, grpc.insecure_channel(cell.tcp_address) as channel:
        leader = Leader(cell, channel)
        copy.apply(records, leader)
        assert_equal(leader, copy)
        copy.close()


def test_a_content_that_is_gone_stops_nothing_and_is_fetched_when_it_is_back(
    leader: Leader, copy: Copy
) -> None:
    lost, lost_too = content_of(1000), content_of(LARGE)
    leader.put(b"kept", lost)
    leader.upload(lost_too)
    leader.lose(lost)
    leader.lose(lost_too)
    copy.follow(leader.cell.changes, leader)
    assert differences(leader.cell.slab, copy.slab, leader.cell.all_databases()) == []
    assert copy.store.has([sha256(b"kept"), sha256(lost)]) == [True, False]
    assert copy.store.missing([sha256(lost), sha256(lost_too)]) == [sha256(lost), sha256(lost_too)]
    assert copy.store.info(sha256(lost)).size == 1000
    with pytest.raises(NoSuchFile, match="could not be had"):
        list(copy.store.read(sha256(lost)))
    copy.reopen()
    assert copy.store.has([sha256(lost)]) == [False]
    # Stored again on the leader, where it is wanted too: no new blob, and the copy asks for it after a while.
    before = leader.cell.change_offset()
    leader.put(lost)
    leader.upload(lost_too)
    assert leader.cell.change_offset() == before
    copy.clock_s += replay.WANTED_INTERVAL_S + 1
    leader.put(b"next")
    copy.follow(leader.cell.changes, leader, interrupt=False)
    assert_equal(leader, copy)


def test_without_a_source_every_content_is_wanted_until_there_is_one(leader: Leader, copy: Copy) -> None:
    leader.put(*(content_of(100, seed) for seed in range(50)))
    copy.follow(leader.cell.changes)
    assert copy.entries(schema.WANTED) == 50
    leader.put(b"next")
    copy.follow(leader.cell.changes, leader, interrupt=False)
    assert_equal(leader, copy)


def test_what_was_fetched_for_records_that_never_came_is_removed(leader: Leader, copy: Copy) -> None:
    leader.upload(content_of(LARGE))
    records = leader.cell.changes.read(0).records
    with failing("axon_fetch_part_stored", "2>error"), pytest.raises(FailpointHit):
        copy.apply(records, leader)
    copy.reopen()
    # Another history: at this offset stands something else.
    other = make_store(copy.slab)
    fresh = Slab.open(copy._path.parent / "other", schema.DATABASES, sync=False)
    make_store(fresh).put([b"else"])
    (other_record,) = ChangeLog(fresh).read(0).records
    before = records[: len(records) - 1]
    if before:
        copy.apply(before, leader)
    copy.apply(
        [ChangeRecord(len(before), 1, "", TYPE_NAME, other_record.payload)],
    )
    fresh.close()
    assert copy.entries(schema.UPLOADS) == copy.entries(schema.CHUNKS) == 0
    assert other.has([sha256(b"else")]) == [False]


def test_a_leader_drops_what_it_fetched_as_a_follower(leader: Leader, tmp_path: Path) -> None:
    leader.upload(content_of(LARGE))
    records = leader.cell.changes.read(0).records
    copy = Copy(tmp_path / "other" / "slab", leader.cell.all_databases())
    with failing("axon_fetch_part_stored", "2>error"), pytest.raises(FailpointHit):
        copy.apply(records, leader)
    assert copy.fetcher.drop() == 1
    assert copy.entries(schema.UPLOADS) == copy.entries(schema.CHUNKS) == 0
    copy.close()


def test_a_record_that_does_not_fit_is_refused(leader: Leader, copy: Copy) -> None:
    leader.put(b"a", b"b")
    first, second = leader.cell.changes.read(0).records[-2:]
    offset = copy.next_offset
    for payload in (second.payload, b"\xff", b""):
        with pytest.raises(StorageCorrupt):
            copy.apply([ChangeRecord(offset, 1, "", TYPE_NAME, payload)], leader)
    copy.apply([ChangeRecord(offset, 1, "", TYPE_NAME, first.payload)], leader)
    with pytest.raises(StorageCorrupt):
        copy.apply([ChangeRecord(offset + 1, 1, "", TYPE_NAME, first.payload)], leader)


def test_too_many_blobs_are_refused(leader: Leader) -> None:
    request = blob_pb2.FetchBlobsRequest(blobs=[blob_pb2.WantedBlob(sha256=bytes(32))] * 10_001)
    with pytest.raises(grpc.RpcError) as caught:
        list(leader.stub.FetchBlobs(request))
    assert isinstance(from_rpc_error(caught.value), BadArg)


def test_storage_of_the_first_version_is_brought_up(tmp_path: Path) -> None:
    """Written with the layouts of that version, as they were then."""
    contents = [content_of(10_000, seed) for seed in range(5)]
    old = (schema.BLOBS, schema.CHUNKS, schema.ARRIVALS, schema.UPLOADS, schema.TOTALS)
    with Slab.open(tmp_path, old, sync=False) as slab:
        for arrival, content in enumerate(contents):
            number = 2 * arrival
            record = struct.pack(
                ">QQI16s20s64s",
                number,
                len(content),
                CHUNK_SIZE,
                hashlib.md5(content).digest(),
                hashlib.sha1(content).digest(),
                hashlib.sha512(content).digest(),
            )
            slab.write(lambda txn: txn.put(schema.BLOBS, sha256(content), record))  # noqa: B023
            row = struct.pack(">32sQ", sha256(content), len(content))
            slab.write(lambda txn: txn.put(schema.ARRIVALS, struct.pack(">Q", arrival), row))  # noqa: B023
            for index in range(3):
                chunk = content[index * CHUNK_SIZE : (index + 1) * CHUNK_SIZE]
                key = struct.pack(">QI", number, index)
                slab.write(lambda txn: txn.put(schema.CHUNKS, key, chunk))  # noqa: B023
        slab.write(lambda txn: txn.put(schema.TOTALS, b"totals", struct.pack(">QQQQ", 5, 50_000, 10, 5)))
    with Slab.open(tmp_path, schema.DATABASES, sync=False, layout=schema.LAYOUT) as slab:
        store = make_store(slab)
        store.put([b"new"])
        for content in contents:
            assert b"".join(store.read(sha256(content))) == content
            assert store.hashes(sha256(content)).md5 == hashlib.md5(content).digest()
        # Those that were stored with the blobs are kept; nothing was hashed again.
        assert slab.stats().entries[schema.DIGESTS.name] == len(contents)
        assert [item.offset for item in store.arrivals()] == list(range(6))
        assert store.metrics().size == 50_003
        with slab.view() as txn:
            assert txn.get(schema.COUNTERS, schema.NUMBER_KEY) == schema.number_key(11)


def test_storage_of_the_third_version_is_brought_up(tmp_path: Path) -> None:
    """All digests were in the record of each blob then; one was deleted, and one of these came again."""
    contents = [content_of(5_000, seed) for seed in range(4)]
    with Slab.open(tmp_path, schema.DATABASES, sync=False, layout=Layout("slab", 3)) as slab:
        store = make_store(slab)
        store.put(contents)
        store.delete([sha256(contents[0]), sha256(contents[1])])
        store.put([contents[1]])
        for content in contents[1:]:

            def widen(txn: WriteTxn, content: bytes = content) -> None:
                record = txn.get(schema.BLOBS, sha256(content)) or b""
                digests = hashlib.md5(content).digest() + hashlib.sha1(content).digest()
                txn.put(schema.BLOBS, sha256(content), record + digests + hashlib.sha512(content).digest())

            slab.write(widen)
    with Slab.open(tmp_path, schema.DATABASES, sync=False, layout=schema.LAYOUT) as slab:
        store = make_store(slab)
        assert slab.stats().entries[schema.DIGESTS.name] == 3
        for content in contents[1:]:
            assert b"".join(store.read(sha256(content))) == content
            hashes = store.hashes(sha256(content))
            assert (hashes.md5, hashes.sha512) == (
                hashlib.md5(content).digest(),
                hashlib.sha512(content).digest(),
            )
        assert store.has([sha256(content) for content in contents]) == [False, True, True, True]
        assert store.metrics().blob_count == 3
