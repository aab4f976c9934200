"""The blob store on a real slab."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.api.axon.v1 import change_pb2
from cellmesh.axon import schema
from cellmesh.axon.blobs import BlobInfo, BlobStore, digests
from cellmesh.axon.blobs.changes import TYPE_NAME
from cellmesh.common.changelog import ChangeLog, ChangeRecord, ChangeWriter
from cellmesh.common.errors import (
    BadArg,
    HashMismatch,
    IsFini,
    LowSpace,
    NoSuchFile,
    NotLeader,
    StorageCorrupt,
    TimeOut,
)
from cellmesh.common.failpoints import FailpointHit, failing
from cellmesh.common.storage import Slab

CHUNK_SIZE = 4096
PART_SIZE = 64 * CHUNK_SIZE


class Store:
    """A store, its slab and the change payloads it wrote."""

    def __init__(self, path: Path) -> None:
        self.slab = Slab.open(path, schema.DATABASES, sync=False)
        self.log = ChangeLog(self.slab)
        self.blobs = BlobStore(self.slab, ChangeWriter(self.log, TYPE_NAME, lambda: 1), chunk_size=CHUNK_SIZE)

    @property
    def changes(self) -> list[ChangeRecord]:
        return self.log.read(0).records

    def chunk_count(self) -> int:
        return self.slab.stats().entries[schema.CHUNKS.name]

    def upload(self, content: bytes, step: int = 1000, expected: bytes = b"") -> bytes:
        upload = self.blobs.upload(expected)
        for start in range(0, len(content), step):
            part = upload.add([content[start : start + step]])
            if part:
                upload.store(part)
        return upload.finish().sha256


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "slab")
    yield made
    made.slab.close()


def content_of(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


SIZES = (
    0,
    1,
    CHUNK_SIZE - 1,
    CHUNK_SIZE,
    CHUNK_SIZE + 1,
    PART_SIZE - 1,
    PART_SIZE,
    PART_SIZE + 1,
    3 * PART_SIZE + 7,
)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("step", [777, PART_SIZE * 2 + 5])
def test_an_uploaded_content_reads_back(store: Store, size: int, step: int) -> None:
    content = content_of(size)
    assert store.upload(content, step) == sha256(content)
    assert b"".join(store.blobs.read(sha256(content))) == content
    assert store.blobs.info(sha256(content)) == BlobInfo(sha256(content), size)
    assert store.chunk_count() == -(-size // CHUNK_SIZE)


@pytest.mark.parametrize("size", SIZES[:5])
def test_a_put_content_reads_back(store: Store, size: int) -> None:
    content = content_of(size)
    assert store.blobs.put([content]) == [BlobInfo(sha256(content), size)]
    assert b"".join(store.blobs.read(sha256(content))) == content


def test_ranges_are_those_of_the_content(store: Store) -> None:
    content = content_of(2 * 1024 * 1024 + 100)
    name = store.upload(content, 100_000)
    edges = (
        0,
        1,
        CHUNK_SIZE - 1,
        CHUNK_SIZE,
        CHUNK_SIZE + 1,
        1024 * 1024,
        len(content) - 1,
        len(content),
        2**40,
    )
    for offset in edges:
        for size in (0, 1, CHUNK_SIZE, CHUNK_SIZE + 1, 2**40, None):
            found = b"".join(store.blobs.read(name, offset, size))
            assert found == content[offset : None if size is None else offset + size], (offset, size)


def kept_count(store: Store) -> int:
    return store.slab.stats().entries[schema.DIGESTS.name]


def test_digests_are_made_once_and_kept(store: Store) -> None:
    content = content_of(100_000)
    name = store.upload(content)
    changes = len(store.changes)
    assert kept_count(store) == 0
    hashes = store.blobs.hashes(name)
    assert kept_count(store) == 1
    # Not read again: what is kept is told even when the chunks are gone.
    store.slab.write(lambda txn: txn.delete_range(schema.CHUNKS, b"", None, count_max=100))
    assert store.blobs.hashes(name) == hashes
    # They are each replica's own, so the log does not tell of them.
    assert len(store.changes) == changes
    store.blobs.delete([name])
    assert kept_count(store) == 0
    assert hashes.md5 == hashlib.md5(content).digest()
    assert hashes.sha1 == hashlib.sha1(content).digest()
    assert hashes.sha512 == hashlib.sha512(content).digest()
    assert hashes.size == len(content)


def test_a_damaged_content_has_no_digests(store: Store) -> None:
    name = store.upload(content_of(100_000))
    key = schema.chunk_key(0, 3)
    store.slab.write(lambda txn: txn.put(schema.CHUNKS, key, bytes(CHUNK_SIZE)))
    with pytest.raises(StorageCorrupt):
        store.blobs.hashes(name)
    assert kept_count(store) == 0


def test_digests_are_told_where_there_is_no_room_to_keep_them(tmp_path: Path) -> None:
    content = content_of(100_000)
    made = Store(tmp_path)
    name = made.upload(content)
    made.slab.close()
    with Slab.open(tmp_path, schema.DATABASES, sync=False, space_min_bytes=1 << 62) as slab:
        blobs = BlobStore(slab, ChangeWriter(ChangeLog(slab), TYPE_NAME, lambda: 1))
        with pytest.raises(LowSpace):
            blobs.put([b"more"])
        assert blobs.hashes(name).md5 == hashlib.md5(content).digest()
        assert slab.stats().entries[schema.DIGESTS.name] == 0


def test_digests_of_what_was_deleted_meanwhile_are_not_kept(store: Store) -> None:
    content = content_of(100_000)
    name = store.upload(content)
    found = store.blobs.hashes(name)
    store.blobs.delete([name])
    store.upload(content)
    digests.keep(store.slab, 0, found)
    assert kept_count(store) == 0
    digests.keep(store.slab, 1, found)
    assert kept_count(store) == 1


@pytest.mark.parametrize(
    "step", [1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 5 * CHUNK_SIZE + 3, 3 * PART_SIZE]
)
def test_data_is_cut_into_chunks_however_it_comes(store: Store, step: int) -> None:
    content = content_of(2 * CHUNK_SIZE + 1 if step == 1 else 3 * PART_SIZE + 17)
    name = store.upload(content, step)
    assert b"".join(store.blobs.read(name)) == content
    assert store.chunk_count() == -(-len(content) // CHUNK_SIZE)


def test_the_same_content_twice_changes_nothing(store: Store) -> None:
    content = content_of(3 * PART_SIZE)
    store.upload(content)
    before = (store.blobs.metrics(), store.chunk_count(), len(store.changes))
    store.upload(content)
    store.blobs.put([b"x", b"x"])
    store.blobs.put([b"x"])
    assert store.blobs.metrics().blob_count == before[0].blob_count + 1
    assert store.blobs.metrics().size == before[0].size + 1
    assert store.chunk_count() == before[1] + 1
    assert len(store.changes) == before[2] + 1
    assert [item.blob.sha256 for item in store.blobs.arrivals()] == [sha256(content), sha256(b"x")]


def test_the_same_content_uploaded_twice_at_a_time_is_one_blob(store: Store) -> None:
    content = content_of(2 * PART_SIZE + 1)
    uploads = [store.blobs.upload(), store.blobs.upload()]
    for start in range(0, len(content), 5000):
        for upload in uploads:
            part = upload.add([content[start : start + 5000]])
            if part:
                upload.store(part)
    assert [upload.finish().sha256 for upload in uploads] == [sha256(content)] * 2
    assert store.blobs.metrics().blob_count == 1
    assert store.chunk_count() == -(-len(content) // CHUNK_SIZE)
    assert b"".join(store.blobs.read(sha256(content))) == content


def test_an_upload_is_invisible_until_it_is_finished(store: Store) -> None:
    content = content_of(2 * PART_SIZE)
    upload = store.blobs.upload()
    part = upload.add([content])
    assert part
    upload.store(part)
    assert store.chunk_count() == 128
    assert store.blobs.has([sha256(content)]) == [False]
    assert list(store.blobs.arrivals()) == []
    upload.finish()
    assert store.blobs.has([sha256(content)]) == [True]


def test_an_aborted_upload_leaves_nothing(store: Store) -> None:
    upload = store.blobs.upload()
    part = upload.add([content_of(5 * PART_SIZE + 1)])
    assert part
    upload.store(part)
    upload.abort()
    upload.abort()
    assert store.chunk_count() == 0
    assert store.slab.stats().entries[schema.UPLOADS.name] == 0
    assert store.blobs.metrics().blob_count == 0
    assert store.changes == []


def test_an_abort_waits_for_what_runs_and_ends_what_comes(store: Store) -> None:
    """A caller goes away while a thread stores, or makes visible, what it sent."""
    entered, go_on = threading.Event(), threading.Event()

    def stop_here() -> None:
        entered.set()
        assert go_on.wait(10)

    upload = store.blobs.upload()
    part = upload.add([content_of(3 * PART_SIZE)])
    assert part
    with failing("axon_upload_part_stored", stop_here):
        storing = threading.Thread(target=upload.store, args=(part,))
        storing.start()
        assert entered.wait(10)
        upload.abort()
        go_on.set()
        storing.join(10)
    assert store.chunk_count() == 0
    with pytest.raises(IsFini):
        upload.finish()
    assert store.blobs.metrics().blob_count == 0


def test_an_abort_after_the_end_changes_nothing(store: Store) -> None:
    content = content_of(2 * PART_SIZE + 1)
    upload = store.blobs.upload()
    part = upload.add([content])
    assert part
    upload.store(part)
    upload.finish()
    upload.abort()
    assert b"".join(store.blobs.read(sha256(content))) == content


def test_many_uploads_and_reads_at_a_time(store: Store) -> None:
    """Eight threads store half the same contents, and read back what is there."""
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for number in range(6):
                content = content_of(
                    PART_SIZE + 1000 * number, seed=number if number % 2 else seed * 100 + number
                )
                assert store.upload(content, 50_000) == sha256(content)
                assert b"".join(store.blobs.read(sha256(content))) == content
        except BaseException as error:  # noqa: BLE001  told below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert store.blobs.metrics().blob_count == 8 * 3 + 3
    assert store.slab.stats().entries[schema.UPLOADS.name] == 0
    arrivals = list(store.blobs.arrivals())
    assert [item.offset for item in arrivals] == list(range(27))
    assert store.blobs.metrics().size == sum(item.blob.size for item in arrivals)
    assert store.chunk_count() == sum(-(-item.blob.size // CHUNK_SIZE) for item in arrivals)


def test_an_unexpected_content_is_refused_and_leaves_nothing(store: Store) -> None:
    content = content_of(2 * PART_SIZE)
    with pytest.raises(HashMismatch) as caught:
        store.upload(content, expected=sha256(b"other"))
    assert caught.value.get("found") == sha256(content).hex()
    assert store.chunk_count() == 0
    assert store.upload(content, expected=sha256(content)) == sha256(content)


def test_what_a_dead_process_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    store = Store(tmp_path / "slab")
    whole = content_of(PART_SIZE + 1, seed=2)
    store.upload(whole)
    with failing("axon_upload_part_stored", "2>error"), pytest.raises(FailpointHit):
        store.upload(content_of(10 * PART_SIZE))
    assert store.chunk_count() == 65 + 3 * 64
    store.slab.close()

    store = Store(tmp_path / "slab")
    assert store.blobs.remove_broken_uploads() == 1
    assert store.blobs.remove_broken_uploads() == 0
    assert store.chunk_count() == 65
    assert b"".join(store.blobs.read(sha256(whole))) == whole
    assert store.upload(content_of(10 * PART_SIZE)) == sha256(content_of(10 * PART_SIZE))
    store.slab.close()


def test_blobs_are_listed_in_order_of_arrival(store: Store) -> None:
    contents = [b"%d" % number for number in range(5000)]
    store.blobs.put(contents[:3000])
    store.blobs.put(contents[3000:])
    listed = list(store.blobs.arrivals())
    assert [item.blob.sha256 for item in listed] == [sha256(content) for content in contents]
    assert [item.offset for item in listed] == list(range(5000))
    assert [item.offset for item in store.blobs.arrivals(4990)] == list(range(4990, 5000))
    assert list(store.blobs.arrivals(5000)) == []


def test_has_and_missing_answer_in_order(store: Store) -> None:
    store.blobs.put([b"a", b"b"])
    asked = [sha256(b"a"), sha256(b"c"), sha256(b"b"), sha256(b"d")]
    assert store.blobs.has(asked) == [True, False, True, False]
    assert store.blobs.missing(asked) == [sha256(b"c"), sha256(b"d")]
    assert store.blobs.has([]) == []


def test_a_change_record_tells_what_became_visible(store: Store) -> None:
    store.blobs.put([b"a", b"bb"])
    changes = [change_pb2.AxonChange.FromString(record.payload).blob_added for record in store.changes]
    assert [(change.offset, change.hashes.sha256, change.hashes.size_bytes) for change in changes] == [
        (0, sha256(b"a"), 1),
        (1, sha256(b"bb"), 2),
    ]


def test_wrong_arguments_are_named(store: Store) -> None:
    with pytest.raises(BadArg, match="not 3"):
        store.blobs.has([b"abc"])
    with pytest.raises(BadArg):
        store.blobs.upload(b"abc")
    with pytest.raises(BadArg, match="upload large ones"):
        store.blobs.put([bytes(4 * 1024 * 1024)])
    with pytest.raises(NoSuchFile):
        store.blobs.info(sha256(b"nothing"))
    with pytest.raises(NoSuchFile):
        next(store.blobs.read(sha256(b"nothing")))


def test_a_lost_chunk_is_found(store: Store) -> None:
    name = store.upload(content_of(3 * CHUNK_SIZE))
    store.slab.write(lambda txn: txn.delete(schema.CHUNKS, schema.chunk_key(0, 1)))
    with pytest.raises(StorageCorrupt):
        b"".join(store.blobs.read(name))


class Gate:
    """Refuses acknowledgements, or writes, as a mirror's gate does."""

    def __init__(self) -> None:
        self.closed = False
        self.uncovered = True

    def check_write(self) -> None:
        if self.closed:
            raise NotLeader("another one leads")

    def acknowledge(self, txn_id: int) -> None:
        if self.uncovered:
            raise TimeOut("no follower has it")


def test_a_blob_that_is_stored_but_not_acknowledged_keeps_its_content(store: Store) -> None:
    store.slab.gate = Gate()
    content = content_of(3 * PART_SIZE)
    with pytest.raises(TimeOut):
        store.upload(content)
    assert b"".join(store.blobs.read(sha256(content))) == content
    assert store.slab.stats().entries[schema.UPLOADS.name] == 0


def test_an_upload_ends_early_on_an_instance_that_does_not_lead_any_more(store: Store) -> None:
    store.slab.gate = gate = Gate()
    upload = store.blobs.upload()
    part = upload.add([content_of(PART_SIZE)])
    assert part
    upload.store(part)
    gate.closed = True
    with pytest.raises(NotLeader):
        upload.store(part)
    upload.abort()
    assert store.chunk_count() == 0
    assert store.slab.stats().entries[schema.UPLOADS.name] == 0


def test_a_deletion_that_breaks_off_is_finished_at_the_next_start(store: Store) -> None:
    name = store.upload(content_of(3 * PART_SIZE))
    store.blobs.put([b"kept"])
    with failing("axon_blobs_deleted", "error"), pytest.raises(FailpointHit):
        store.blobs.delete([name])
    assert store.blobs.has([name]) == [False]
    assert store.chunk_count() == 3 * 64 + 1
    assert store.blobs.metrics().blob_count == 1
    assert store.blobs.remove_broken_uploads() == 1
    assert store.chunk_count() == 1
