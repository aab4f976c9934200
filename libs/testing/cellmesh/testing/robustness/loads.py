"""Clients that write to a real cell over gRPC and remember what was acknowledged; each can check the cell later."""

from __future__ import annotations

import hashlib
import itertools
import random
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import grpc
from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc
from cellmesh.api.cortex.v1 import (
    feed_pb2,
    feed_service_pb2_grpc,
    node_pb2,
    storm_pb2,
    storm_service_pb2_grpc,
)
from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc
from cellmesh.common import msgpack
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.values import Value, from_value, to_value
from cellmesh.testing.robustness.cells import CellProcess

BATCH_SIZE: Final = 40


class Load(ABC):
    """Writers of one kind of cell; each runs on a thread of its own until the cell is gone."""

    kind: str

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.acknowledged: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.problem: str | None = None

    @abstractmethod
    def writers(self) -> dict[str, Callable[[grpc.Channel, random.Random], None]]:
        """By name, what makes one call and notes what was acknowledged."""

    @abstractmethod
    def check(self, channel: grpc.Channel) -> None:
        """Raise AssertionError unless all that was acknowledged is there, whole."""

    def start(self, cell: CellProcess, number: int) -> list[threading.Thread]:
        """Let all writers go; they end by themselves with the cell.

        Args:
            cell: It serves.
            number: Of the round, for other random choices than in the last one.
        """
        threads = []
        for name, write in self.writers().items():
            rng = random.Random(f"{self.seed} {number} {name}")
            threads.append(threading.Thread(target=self._run, args=(cell, name, write, rng)))
        for thread in threads:
            thread.start()
        return threads

    def _run(
        self,
        cell: CellProcess,
        name: str,
        write: Callable[[grpc.Channel, random.Random], None],
        rng: random.Random,
    ) -> None:
        with open_channel(f"unix:{cell.folder / 'cell.sock'}") as channel:
            try:
                while True:
                    write(channel, rng)
                    with self.lock:
                        self.acknowledged[name] += 1
            except grpc.RpcError as error:
                # The kill shows as a connection that is gone; all else is an error of the cell.
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    self.problem = f"{name}: {error}"
            except AssertionError as error:
                self.problem = f"{name}: {error}"


class CortexLoad(Load):
    """Single nodes, batches by feed, batches by Storm; each node with two properties and a tag, or not there."""

    kind = "cortex"

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._numbers = itertools.count(1)
        self._nodes: set[int] = set()

    def writers(self) -> dict[str, Callable[[grpc.Channel, random.Random], None]]:
        return {"single": self._single, "feed": self._feed, "storm": self._storm}

    def _take(self, count: int) -> list[int]:
        with self.lock:
            return [next(self._numbers) for _ in range(count)]

    def _single(self, channel: grpc.Channel, rng: random.Random) -> None:
        (number,) = self._take(1)
        stub = storm_service_pb2_grpc.StormServiceStub(channel)
        text = f"[ inet:ipv4={number} :asn={number % 97 + 1} :loc=us +#kill.single ]"
        stub.CallStorm(storm_pb2.CallStormRequest(text=text), timeout=30)
        self._nodes.add(number)

    def _feed(self, channel: grpc.Channel, rng: random.Random) -> None:
        numbers = self._take(rng.randrange(1, BATCH_SIZE))
        nodes = []
        for number in numbers:
            node = feed_pb2.FeedNode(form="inet:ipv4", value=to_value(number))
            node.props["asn"].CopyFrom(to_value(number % 97 + 1))
            node.props["loc"].CopyFrom(to_value("us"))
            node.tags["kill.feed"].CopyFrom(to_value(None))
            nodes.append(node)
        stub = feed_service_pb2_grpc.FeedServiceStub(channel)
        for response in stub.AddNodes(iter([feed_pb2.AddNodesRequest(nodes=nodes)]), timeout=30):
            assert not response.rejects
        self._nodes.update(numbers)

    def _storm(self, channel: grpc.Channel, rng: random.Random) -> None:
        numbers = self._take(rng.randrange(1, BATCH_SIZE))
        text = (
            f"for $n in $lib.range({numbers[-1] + 1}, start={numbers[0]}) "
            "{ [ inet:ipv4=$n :asn=$(($n % 97) + 1) :loc=us +#kill.storm ] } | spin"
        )
        stub = storm_service_pb2_grpc.StormServiceStub(channel)
        for response in stub.Storm(storm_pb2.StormRequest(text=text), timeout=30):
            for message in response.messages:
                assert not message.HasField("err"), message.err
        self._nodes.update(numbers)

    def check(self, channel: grpc.Channel) -> None:
        stub = storm_service_pb2_grpc.StormServiceStub(channel)
        found: dict[int, node_pb2.Node] = {}
        for response in stub.Storm(storm_pb2.StormRequest(text="inet:ipv4"), timeout=60):
            for message in response.messages:
                assert not message.HasField("err"), message.err
                if message.HasField("node"):
                    found[int(from_value(message.node.value))] = message.node
        lost = self._nodes - set(found)
        assert not lost, f"{len(lost)} acknowledged nodes are lost: {sorted(lost)[:5]}"
        half = {number for number, node in found.items() if not _is_whole(number, node)}
        assert not half, f"{len(half)} nodes are half-stored: {sorted(half)[:5]}"
        expected = {
            "inet:ipv4:asn": sum("asn" in node.props for node in found.values()),
            "inet:ipv4:loc=us": sum("loc" in node.props for node in found.values()),
            "inet:ipv4#kill": sum("kill" in node.tags for node in found.values()),
        }
        for text, count in expected.items():
            told = stub.CountStorm(storm_pb2.CountStormRequest(text=text), timeout=60).count
            assert told == count, f"{text} has {told} nodes, {count} nodes have it"


def _is_whole(number: int, node: node_pb2.Node) -> bool:
    has_tag = any(tag.startswith("kill.") for tag in node.tags)
    return has_tag and "loc" in node.props and from_value(node.props["asn"]) == number % 97 + 1


class AxonLoad(Load):
    """Small contents, several a call."""

    kind = "axon"

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._sizes: dict[bytes, int] = {}
        self._deleted: set[bytes] = set()
        self._begun: tuple[bytes, bytes] | None = None

    def writers(self) -> dict[str, Callable[[grpc.Channel, random.Random], None]]:
        return {
            "put": self._put,
            "put too": self._put,
            "upload": self._upload,
            "many": self._many,
            "go on": self._go_on,
            "delete": self._delete,
        }

    def _put(self, channel: grpc.Channel, rng: random.Random) -> None:
        contents = [rng.randbytes(rng.randrange(1, 5000)) for _ in range(rng.randrange(1, 5))]
        stub = blob_service_pb2_grpc.BlobServiceStub(channel)
        stub.PutBlobs(blob_pb2.PutBlobsRequest(contents=contents), timeout=30)
        with self.lock:
            self._sizes.update({hashlib.sha256(content).digest(): len(content) for content in contents})

    def _upload(self, channel: grpc.Channel, rng: random.Random) -> None:
        parts = [rng.randbytes(rng.randrange(1, 100_000)) for _ in range(4)]

        def requests() -> Iterator[blob_pb2.UploadBlobRequest]:
            for part in parts:
                yield blob_pb2.UploadBlobRequest(data=part)
            yield blob_pb2.UploadBlobRequest(last=True)

        blob_service_pb2_grpc.BlobServiceStub(channel).UploadBlob(requests(), timeout=30)
        content = b"".join(parts)
        with self.lock:
            self._sizes[hashlib.sha256(content).digest()] = len(content)

    def _many(self, channel: grpc.Channel, rng: random.Random) -> None:
        contents = [rng.randbytes(rng.randrange(1, 200_000)) for _ in range(6)]

        def requests() -> Iterator[blob_pb2.UploadBlobsRequest]:
            for content in contents:
                half = len(content) // 2
                yield blob_pb2.UploadBlobsRequest(parts=[blob_pb2.BlobPart(data=content[:half])])
                yield blob_pb2.UploadBlobsRequest(parts=[blob_pb2.BlobPart(data=content[half:], last=True)])

        answers = blob_service_pb2_grpc.BlobServiceStub(channel).UploadBlobs(requests(), timeout=30)
        for hashes in (item for answer in answers for item in answer.hashes):
            with self.lock:
                self._sizes[bytes(hashes.sha256)] = hashes.size_bytes

    def _go_on(self, channel: grpc.Channel, rng: random.Random) -> None:
        """An upload that a kill may break, and that the next process goes on with."""
        stub = blob_service_pb2_grpc.BlobServiceStub(channel)
        if self._begun is None:
            self._begun = rng.randbytes(16), rng.randbytes(rng.randrange(5_000_000, 9_000_000))
        upload_id, content = self._begun
        offset = stub.ResumeUpload(blob_pb2.ResumeUploadRequest(upload_id=upload_id), timeout=30).offset_bytes

        def requests() -> Iterator[blob_pb2.UploadBlobRequest]:
            first = blob_pb2.UploadBlobRequest(upload_id=upload_id, offset_bytes=offset)
            yield first
            for start in range(offset, len(content), 200_000):
                yield blob_pb2.UploadBlobRequest(data=content[start : start + 200_000])
            yield blob_pb2.UploadBlobRequest(last=True)

        stub.UploadBlob(requests(), timeout=30)
        self._begun = None
        with self.lock:
            self._sizes[hashlib.sha256(content).digest()] = len(content)

    def _delete(self, channel: grpc.Channel, rng: random.Random) -> None:
        with self.lock:
            chosen = rng.sample(sorted(self._sizes), min(len(self._sizes), 3))
            # From here on they may be there or not; once acknowledged, they may not.
            for sha256 in chosen:
                del self._sizes[sha256]
        stub = blob_service_pb2_grpc.BlobServiceStub(channel)
        # Without any it is a call too, so that this thread does not take the processor from the others.
        stub.DeleteBlobs(blob_pb2.DeleteBlobsRequest(sha256s=chosen), timeout=30)
        with self.lock:
            self._deleted.update(chosen)

    def check(self, channel: grpc.Channel) -> None:
        stub = blob_service_pb2_grpc.BlobServiceStub(channel)
        listed = {
            bytes(item.blob.sha256): item.blob.size_bytes
            for message in stub.ListBlobs(blob_pb2.ListBlobsRequest(skip_deleted=True), timeout=60)
            for item in message.blobs
        }
        lost = [sha256.hex() for sha256, size in self._sizes.items() if listed.get(sha256) != size]
        assert not lost, f"{len(lost)} acknowledged contents are lost: {lost[:3]}"
        back = [sha256.hex() for sha256 in self._deleted if sha256 in listed]
        assert not back, f"{len(back)} contents whose deletion was acknowledged are there: {back[:3]}"
        for message in stub.VerifyBlobs(blob_pb2.VerifyBlobsRequest(), timeout=60):
            assert not message.damaged, f"damaged: {message.damaged}"
        totals = stub.GetAxonMetrics(blob_pb2.GetAxonMetricsRequest(), timeout=30)
        assert (totals.blob_count, totals.size_bytes) == (len(listed), sum(listed.values()))


class CryotankLoad(Load):
    """Tanks whose records count up: appended to, one of them trimmed too; and tanks that are made and deleted."""

    kind = "cryotank"

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        # By tank: what was acknowledged, and what was asked for last. Offsets are the records' numbers.
        self._next: dict[str, tuple[int, int]] = {}
        self._first: dict[str, tuple[int, int]] = {}
        # Where a stream that broke off may have ended.
        self._ends: set[int] = set()
        self._deleted: set[str] = set()
        self._numbers = itertools.count()

    def writers(self) -> dict[str, Callable[[grpc.Channel, random.Random], None]]:
        return {
            "first": self._writer("first", trims=False),
            "second": self._writer("second", trims=True),
            "stream": self._stream,
            "delete": self._delete,
        }

    def _writer(self, name: str, *, trims: bool) -> Callable[[grpc.Channel, random.Random], None]:
        def write(channel: grpc.Channel, rng: random.Random) -> None:
            stub = tank_service_pb2_grpc.TankServiceStub(channel)
            if name not in self._next:
                stub.CreateTank(tank_pb2.CreateTankRequest(name=name), timeout=30)
                self._next[name] = self._first[name] = (0, 0)
            begin = self._next[name][0]
            end = begin + rng.randrange(1, BATCH_SIZE)
            self._next[name] = (begin, end)
            request = tank_pb2.AppendRecordsRequest(name=name)
            match rng.randrange(3):
                case 0:
                    request.packed.extend(map(msgpack.encode, range(begin, end)))
                case 1:
                    request.packed_items = b"".join(map(msgpack.encode, range(begin, end)))
                case _:
                    request.values.extend(map(to_value, range(begin, end)))
            stub.AppendRecords(request, timeout=30)
            self._next[name] = (end, end)
            if trims and rng.random() < 0.3:
                first = self._first[name][0]
                target = rng.randint(first, end)
                self._first[name] = (first, target)
                stub.TrimTank(tank_pb2.TrimTankRequest(name=name, offset=target), timeout=30)
                self._first[name] = (target, target)

        return write

    def _stream(self, channel: grpc.Channel, rng: random.Random) -> None:
        stub = tank_service_pb2_grpc.TankServiceStub(channel)
        name = "stream"
        if name not in self._next:
            stub.CreateTank(tank_pb2.CreateTankRequest(name=name), timeout=30)
            self._next[name] = self._first[name] = (0, 0)
        begin = self._next[name][0]
        ends = [begin]
        for _ in range(20):
            ends.append(ends[-1] + rng.randrange(1, BATCH_SIZE))
        self._ends = set(ends)
        self._next[name] = (begin, ends[-1])
        requests = (
            tank_pb2.AppendStreamRequest(
                name=name, packed_items=b"".join(map(msgpack.encode, range(low, high)))
            )
            for low, high in itertools.pairwise(ends)
        )
        for answer in stub.AppendStream(requests, timeout=30):
            self._next[name] = (answer.offset + answer.count, ends[-1])
        assert self._next[name][0] == ends[-1]

    def _delete(self, channel: grpc.Channel, rng: random.Random) -> None:
        stub = tank_service_pb2_grpc.TankServiceStub(channel)
        name = f"gone{next(self._numbers)}"
        stub.CreateTank(tank_pb2.CreateTankRequest(name=name), timeout=30)
        for _ in range(rng.randrange(4)):
            stub.AppendRecords(tank_pb2.AppendRecordsRequest(name=name, packed=[b"\x01"] * 9), timeout=30)
        stub.DeleteTank(tank_pb2.DeleteTankRequest(name=name), timeout=30)
        self._deleted.add(name)

    def check(self, channel: grpc.Channel) -> None:
        stub = tank_service_pb2_grpc.TankServiceStub(channel)
        for name, (kept, asked) in self._next.items():
            totals = stub.GetTankMetrics(tank_pb2.GetTankMetricsRequest(name=name), timeout=30)
            end, first = totals.next_offset, totals.first_offset
            assert end >= kept, f"{kept - end} acknowledged records of the tank {name} are lost"
            ends = self._ends if name == "stream" else (kept, asked)
            assert end in ends, f"{name} has a part of an append: {kept}, {end}, {asked}"
            low, high = self._first[name]
            assert low <= first <= high, f"{name} begins at {first}, was trimmed to {low}, perhaps {high}"
            size = 0
            expected = first
            request = tank_pb2.ReadRowsRequest(name=name)
            for run in (run for message in stub.ReadRows(request, timeout=60) for run in message.runs):
                for offset, item in enumerate(run.items, run.offset):
                    is_packed = run.form == tank_pb2.RECORD_FORM_MSGPACK
                    number = msgpack.decode(item) if is_packed else from_value(Value.FromString(item))
                    assert offset == number == expected, f"{name} has {number} at {offset}, not {expected}"
                    expected += 1
                    size += len(item)
            assert expected == end, f"{name} tells of {end} and has {expected}"
            assert (totals.record_count, totals.size_bytes) == (end - first, size), (
                f"{name} is counted wrongly"
            )
            # What got no answer may be there, whole: go on behind it.
            self._next[name], self._first[name] = (end, end), (first, first)
            if name == "stream":
                self._ends = {end}
        token, listed = "", set()
        while True:
            page = stub.ListTanks(tank_pb2.ListTanksRequest(page_token=token), timeout=30)
            listed |= {tank.name for tank in page.tanks}
            token = page.next_page_token
            if not token:
                break
        assert not listed & self._deleted, f"deleted tanks are back: {sorted(listed & self._deleted)[:3]}"


LOADS: Final[tuple[type[Load], ...]] = (CortexLoad, AxonLoad, CryotankLoad)
