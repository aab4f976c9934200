"""Messages that are read and written by hand are those of protobuf."""

from __future__ import annotations

import pytest
from cellmesh.api.axon.v1 import blob_pb2
from cellmesh.axon.api.listing import encode_rows
from cellmesh.axon.api.upload_parts import UploadPart, read_part
from cellmesh.common.errors import BadArg
from hypothesis import given
from hypothesis import strategies as st

U64 = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 127, 128, 16383, 16384, 2**63]))
ROWS = st.lists(
    st.tuples(U64, st.binary(min_size=32, max_size=32), U64, st.integers(0, 2**63 - 1), st.integers(0, 1)),
    max_size=20,
)


@given(ROWS)
def test_listed_blobs_are_those_of_the_rows(rows: list[tuple[int, bytes, int, int, int]]) -> None:
    read = blob_pb2.ListBlobsResponse.FromString(encode_rows(rows))
    assert rows == [
        (item.offset, item.blob.sha256, item.blob.size_bytes, item.time_us, int(item.deleted))
        for item in read.blobs
    ]


PARTS = st.builds(
    UploadPart,
    data=st.one_of(st.binary(max_size=300), st.integers(16_000, 17_000).map(bytes)),
    last=st.booleans(),
    expected_sha256=st.one_of(st.just(b""), st.binary(min_size=32, max_size=32)),
    upload_id=st.one_of(st.just(b""), st.binary(max_size=16)),
    offset_bytes=st.one_of(st.just(0), U64),
)


@given(PARTS)
def test_a_part_of_an_upload_is_read_as_it_was_sent(part: UploadPart) -> None:
    message = blob_pb2.UploadBlobRequest(
        data=bytes(part.data),
        last=part.last,
        expected_sha256=part.expected_sha256,
        upload_id=part.upload_id,
        offset_bytes=part.offset_bytes,
    )
    assert read_part(message.SerializeToString()) == part


@given(st.binary(max_size=40))
def test_any_bytes_are_read_as_protobuf_reads_them(message: bytes) -> None:
    try:
        expected = blob_pb2.UploadBlobRequest.FromString(message)
    except Exception:  # noqa: BLE001 - of whatever kind: ours refuses it too
        with pytest.raises(BadArg):
            read_part(message)
        return
    part = read_part(message)
    assert (part.data, part.last, part.upload_id, part.offset_bytes) == (
        expected.data,
        expected.last,
        expected.upload_id,
        expected.offset_bytes,
    )


@pytest.mark.parametrize(
    "message",
    [
        b"\x0a\x03abc\x0a\x02de",  # twice: the last one counts
        b"\x18\x01\x0a\x03abc",
        b"\x0a\x83\x00abc\x18\x01",  # a size in more bytes than it needs
        b"\x0a\x03abc\x18\x02",
        b"",
    ],
)
def test_messages_that_are_written_otherwise_are_read_too(message: bytes) -> None:
    expected = blob_pb2.UploadBlobRequest.FromString(message)
    part = read_part(message)
    assert (bytes(part.data), part.last) == (expected.data, expected.last)
