"""The load itself: files to the Axon, raw records to a tank, the tank's records to the Cortex.

Every step can be broken off and done again: blobs are named by their content, the tank is named by the manifest and
filled in an order that never changes, and nodes and edges are the same whenever they are made.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

from cellmesh.api.axon.v1 import blob_pb2
from cellmesh.api.axon.v1.blob_service_pb2_grpc import BlobServiceStub
from cellmesh.api.cortex.v1 import feed_pb2
from cellmesh.api.cortex.v1.feed_service_pb2_grpc import FeedServiceStub
from cellmesh.api.cryotank.v1 import tank_pb2
from cellmesh.api.cryotank.v1.tank_service_pb2_grpc import TankServiceStub
from cellmesh.cli.demo import attack, misp
from cellmesh.cli.demo.index import Index
from cellmesh.cli.demo.items import Edge, Item, Ndef, Reject
from cellmesh.cli.demo.merge import Merge
from cellmesh.cli.demo.progress import step
from cellmesh.cli.demo.records import RawRecord, SourceFile, records_of
from cellmesh.client import CellClient
from cellmesh.common.hashing import guid
from cellmesh.common.values import from_value, to_value
from rich.console import Console

UPLOAD_PART_BYTES = 256 * 1024
TANK_BATCH_BYTES = 1 << 20
FEED_BATCH = 1000
FEED_TIMEOUT_S = 600.0

T = TypeVar("T")


class Family(Protocol):
    """What the modules of the sources offer."""

    def name_of(self, record: RawRecord) -> str: ...
    def identify(self, record: RawRecord) -> Ndef | None: ...
    def describe(self, record: RawRecord, index: Index) -> list[Item]: ...
    def references(self, record: RawRecord) -> list[str]: ...
    def relate(self, record: RawRecord, index: Index) -> tuple[list[Edge], list[Reject]]: ...


@dataclass(slots=True)
class Report:
    """What a load did."""

    files: int = 0
    records: int = 0
    records_new: int = 0
    shared_uuids: int = 0
    accepted: int = 0
    edits: int = 0
    nodes_made: int = 0
    edges_made: int = 0
    rejects: list[Reject] = field(default_factory=list)

    def reasons(self) -> Counter[str]:
        """How many rejects for each reason, in general words."""
        return Counter(reject.reason.split(":")[0] for reject in self.rejects)


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most `size` items."""
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch


def store_files(axon: CellClient, files: list[SourceFile], console: Console) -> None:
    """Upload the files that the Axon does not have yet."""
    stub = axon.stub(BlobServiceStub)
    hashes = [bytes.fromhex(file.sha256) for file in files]
    missing = set(stub.ListMissingBlobs(blob_pb2.ListMissingBlobsRequest(sha256s=hashes)).sha256s)
    present = sum(sha256 not in missing for sha256 in hashes)
    with step(console, "files to the Axon", len(files), present) as shown:
        for file, sha256 in zip(files, hashes, strict=True):
            if sha256 in missing:
                stub.UploadBlob(_upload(file.path, sha256))
                shown.advance(1)


def _upload(path: Path, sha256: bytes) -> Iterator[blob_pb2.UploadBlobRequest]:
    yield blob_pb2.UploadBlobRequest(expected_sha256=sha256)
    with path.open("rb") as stream:
        while part := stream.read(UPLOAD_PART_BYTES):
            yield blob_pb2.UploadBlobRequest(data=part)


def fill_tank(tanks: CellClient, name: str, files: list[SourceFile], console: Console) -> tuple[int, int]:
    """Append the raw records that the tank does not hold yet.

    Returns:
        How many records the tank holds then, and how many of them are new.
    """
    stub = tanks.stub(TankServiceStub)
    stub.CreateTank(tank_pb2.CreateTankRequest(name=name))
    present = stub.GetTankMetrics(tank_pb2.GetTankMetricsRequest(name=name)).record_count
    records = [record for file in files for record in records_of(file)]
    with step(console, "records to the Cryotank", len(records), min(present, len(records))) as shown:
        request = tank_pb2.AppendRecordsRequest(name=name)
        size = 0
        for record in records[present:]:
            value = to_value(record.plain())
            weight = value.ByteSize()
            if request.values and size + weight > TANK_BATCH_BYTES:
                stub.AppendRecords(request)
                shown.advance(len(request.values))
                request, size = tank_pb2.AppendRecordsRequest(name=name), 0
            request.values.append(value)
            size += weight
        if request.values:
            stub.AppendRecords(request)
            shown.advance(len(request.values))
    return len(records), max(0, len(records) - present)


def read_tank(tanks: CellClient, name: str) -> Iterator[RawRecord]:
    """Yield the raw records of the tank, in order."""
    stub = tanks.stub(TankServiceStub)
    for response in stub.ReadRecords(tank_pb2.ReadRecordsRequest(name=name)):
        for record in response.records:
            row = from_value(record.value)
            assert isinstance(row, dict)
            yield RawRecord.from_plain(row)


def load_cortex(cortex: CellClient, tanks: CellClient, tank: str, console: Console) -> Report:
    """Make nodes and edges of the tank's records."""
    report = Report()
    records = list(read_tank(tanks, tank))
    report.records = len(records)
    index = Index.over(records)
    report.shared_uuids = index.shared_uuid_count
    report.rejects += index.rejects
    unusable = {(reject.file, reject.record) for reject in index.rejects}
    usable = [record for record in records if (record.file, _family(record).name_of(record)) not in unusable]
    merge = Merge(usable, lambda record: _described(record, index))
    feeder = Feeder(cortex, report)
    with step(console, "nodes to the Cortex", len(usable)) as shown:
        for batch in batches(usable, FEED_BATCH):
            feeder.feed((record, item) for record in batch for item in merge.items(record))
            shown.advance(len(batch))
    with step(console, "references to the Cortex", len(usable)) as shown:
        for batch in batches(usable, FEED_BATCH):
            feeder.feed((record, item) for record in batch for item in _referenced(record))
            shown.advance(len(batch))
    with step(console, "relations to the Cortex", len(usable)) as shown:
        for batch in batches(usable, FEED_BATCH):
            feeder.feed((record, item) for record in batch for item in _related(record, index, report))
            shown.advance(len(batch))
    return report


class Feeder:
    """Sends items to the Cortex in batches and keeps the books."""

    def __init__(self, cortex: CellClient, report: Report) -> None:
        self._stub = cortex.stub(FeedServiceStub)
        self._report = report

    def feed(self, pairs: Iterable[tuple[RawRecord, Item]]) -> None:
        """Feed items and wait until they are durable; rejects are noted with the record that they came from."""
        for batch in batches(pairs, FEED_BATCH):
            request = feed_pb2.AddNodesRequest(nodes=[_feed_node(item) for _, item in batch])
            for response in self._stub.AddNodes(iter([request]), timeout=FEED_TIMEOUT_S):
                self._take(batch, response)

    def _take(self, batch: list[tuple[RawRecord, Item]], response: feed_pb2.AddNodesResponse) -> None:
        self._report.accepted += response.accepted_count
        self._report.edits += response.edit_count
        self._report.nodes_made += response.new_node_count
        self._report.edges_made += response.new_edge_count
        for reject in response.rejects:
            record, item = batch[reject.index]
            what = f"{item.form} {item.value}"
            reason = f"{reject.error.name}: {reject.error.message}"
            self._report.rejects.append(Reject(record.file, _family(record).name_of(record), what, reason))


def _family(record: RawRecord) -> Family:
    """The module that knows the record's source: `misp` or `attack`, which offer the same functions."""
    return misp if record.family == "misp" else attack


def source_ndef(record: RawRecord) -> Ndef:
    """The `meta:source` of a record."""
    return ("meta:source", guid(("meta:source", record.source)))


def _described(record: RawRecord, index: Index) -> Iterator[Item]:
    """The record's nodes, the first of them under its source."""
    form, value = source_ndef(record)
    kind = "misp.galaxy" if record.family == "misp" else "mitre.attack"
    seen = Edge("seen", (form, value), reverse=True)
    for position, item in enumerate(_family(record).describe(record, index)):
        if position == 0:
            yield Item(form, value, {"name": record.source, "type": kind})
            yield Item(item.form, item.value, item.props, item.tags, (*item.edges, seen))
        else:
            yield item


def _referenced(record: RawRecord) -> Iterator[Item]:
    """Each cited address as a node of its own, so that a malformed one takes nothing else with it."""
    ndef = _family(record).identify(record)
    if ndef is not None:
        for address in _family(record).references(record):
            yield Item("inet:url", address, edges=(Edge("refs", ndef, reverse=True),))


def _related(record: RawRecord, index: Index, report: Report) -> Iterator[Item]:
    if record.kind == "relationships" and record.family == "attack":
        item, reject = attack.relationship(record, index)
        if reject is not None:
            report.rejects.append(reject)
        if item is not None:
            yield item
        return
    ndef = _family(record).identify(record)
    edges, rejects = _family(record).relate(record, index)
    report.rejects += rejects
    if ndef is not None and edges:
        yield Item(ndef[0], ndef[1], edges=tuple(edges))


def _feed_node(item: Item) -> feed_pb2.FeedNode:
    node = feed_pb2.FeedNode(form=item.form, value=to_value(item.value))
    for name, value in item.props.items():
        node.props[name].CopyFrom(to_value(value))
    for tag in item.tags:
        node.tags[tag].CopyFrom(to_value(None))
    for edge in item.edges:
        to = feed_pb2.FeedNodeRef(form=edge.to[0], value=to_value(edge.to[1]))
        node.edges.append(feed_pb2.FeedEdge(verb=edge.verb, to=to, reverse=edge.reverse))
    return node


def write_rejects(rejects: list[Reject], path: Path) -> None:
    """Write every reject with its reason, a JSON object a line."""
    path.write_text(
        "".join(json.dumps(asdict(reject), ensure_ascii=False) + "\n" for reject in rejects), encoding="utf-8"
    )
