"""Identifiers, hashes and integer bytes, held against Synapse's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common import errors, hashing, msgpack
from hypothesis import given
from hypothesis import strategies as st

VECTORS = json.loads((Path(__file__).parent / "vectors" / "hashing.json").read_text())


def untag(item: Any) -> Any:
    """Undo the tagging of tools/peer_vectors.py."""
    match item:
        case ["int", text]:
            return int(text)
        case ["float", text]:
            return float(text)
        case ["text", *points]:
            return "".join(map(chr, points))
        case ["bytes", text]:
            return bytes.fromhex(text)
        case ["list", *items]:
            return tuple(map(untag, items))
        case ["dict", *pairs]:
            return {untag(key): untag(value) for key, value in pairs}
    return item


@pytest.mark.parametrize("row", VECTORS)
def test_encoding_and_identifiers_agree(row: dict[str, Any]) -> None:
    value = untag(row["value"])
    encoded = msgpack.encode(value)
    assert hashlib.sha256(encoded).hexdigest() == row["msgpack_sha256"]
    assert row["msgpack"] in (None, encoded.hex())
    assert hashing.guid(value) == row["guid"]
    assert hashing.ehex(hashing.buid(value)) == row["buid"]
    assert hashing.guid(hashing.flatten(value)) == row["flat_guid"]


def test_lists_and_tuples_are_the_same_data() -> None:
    assert hashing.buid(["inet:fqdn", [1]]) == hashing.buid(("inet:fqdn", (1,)))


def test_without_a_value_they_are_random() -> None:
    assert len({hashing.guid() for _ in range(100)}) == 100
    assert len({hashing.buid() for _ in range(100)}) == 100
    assert hashing.isguid(hashing.guid())
    assert hashing.isbuidhex(hashing.ehex(hashing.buid()))


@pytest.mark.parametrize("text", ["", "A" * 32, "a" * 31, "a" * 33, "g" * 32, "a" * 32 + "\n", "٣" * 32])
def test_what_is_no_guid(text: str) -> None:
    assert not hashing.isguid(text)
    assert not hashing.isbuidhex(text)


def test_guid_and_buid_differ_in_length() -> None:
    assert hashing.isguid("0af9" * 8)
    assert not hashing.isbuidhex("0af9" * 8)
    assert hashing.isbuidhex("0af9" * 16)
    assert not hashing.isguid("0af9" * 16)


@given(st.binary())
def test_hex_comes_back(data: bytes) -> None:
    assert hashing.uhex(hashing.ehex(data)) == data
    assert hashing.uhex(hashing.ehex(data).upper()) == data


@pytest.mark.parametrize("text", ["0", "zz", "00 ff", " 00", "é", "0x00"])
def test_what_is_no_hex(text: str) -> None:
    with pytest.raises(errors.BadDataValu, match="not hexadecimal"):
        hashing.uhex(text)


def test_flatten_sorts_keys_at_every_depth_and_keeps_lists_in_order() -> None:
    flat = hashing.flatten([3, 1, (2, {"z": 1, "a": [{"y": 1, "b": 2}]})])
    assert flat == (3, 1, (2, {"a": ({"b": 2, "y": 1},), "z": 1}))
    assert list(flat[2][1]) == ["a", "z"]
    assert list(flat[2][1]["a"][0]) == ["b", "y"]


@pytest.mark.parametrize("value", [{1}, object(), [{"a": {1}}], {"b": 1, 2: 3}, bytearray(b"x")])
def test_flatten_refuses_what_is_no_data(value: Any) -> None:
    with pytest.raises(errors.BadDataValu):
        hashing.flatten(value)


@given(st.dictionaries(st.text(max_size=3), st.integers(), max_size=6), st.randoms())
def test_flattened_dicts_hash_the_same_in_any_order(data: dict[str, int], random: Any) -> None:
    pairs = list(data.items())
    random.shuffle(pairs)
    assert hashing.guid(hashing.flatten(dict(pairs))) == hashing.guid(hashing.flatten(data))


unsigned = st.integers(0, 2**64 - 1)
signed = st.integers(-(2**63), 2**63 - 1)


@given(unsigned, unsigned)
def test_unsigned_bytes_come_back_and_sort(left: int, right: int) -> None:
    assert hashing.int64un(hashing.int64en(left)) == left
    assert (hashing.int64en(left) < hashing.int64en(right)) == (left < right)


@given(signed, signed)
def test_signed_bytes_come_back_and_the_sortable_ones_sort(left: int, right: int) -> None:
    assert hashing.signedint64un(hashing.signedint64en(left)) == left
    assert hashing.sortint64un(hashing.sortint64en(left)) == left
    assert (hashing.sortint64en(left) < hashing.sortint64en(right)) == (left < right)


def test_integer_bytes_are_those_synapse_writes() -> None:
    assert hashing.int64en(1) == b"\0\0\0\0\0\0\0\x01"
    assert hashing.signedint64en(-1) == b"\xff" * 8
    assert hashing.signedint64en(-(2**63)) == b"\x80" + b"\0" * 7


@pytest.mark.parametrize(
    ("call", "value"),
    [
        (hashing.int64en, -1),
        (hashing.int64en, 2**64),
        (hashing.int64en, 1.5),
        (hashing.signedint64en, 2**63),
        (hashing.signedint64en, -(2**63) - 1),
        (hashing.sortint64en, 2**63),
        (hashing.sortint64en, -(2**63) - 1),
        (hashing.sortint64en, "1"),
        (hashing.int64un, b"\0" * 7),
        (hashing.signedint64un, b"\0" * 9),
        (hashing.sortint64un, b""),
    ],
)
def test_integers_and_bytes_out_of_range(call: Any, value: Any) -> None:
    with pytest.raises(errors.BadIndxValu):
        call(value)


@given(st.lists(st.binary(max_size=50)))
def test_hash_set_agrees_with_hashing_the_whole(pieces: list[bytes]) -> None:
    made = hashing.HashSet()
    for piece in pieces:
        made.update(piece)
    whole = b"".join(pieces)
    assert made.size == len(whole)
    assert made.digests() == {
        name: hashlib.new(name, whole).digest() for name in ("md5", "sha1", "sha256", "sha512")
    }
    assert made.hexdigests() == {name: digest.hex() for name, digest in made.digests().items()}


def test_hash_set_makes_only_what_is_asked_for() -> None:
    assert list(hashing.HashSet(["sha256"]).digests()) == ["sha256"]
    with pytest.raises(errors.NoSuchName, match="crc32"):
        hashing.HashSet(["crc32"])
