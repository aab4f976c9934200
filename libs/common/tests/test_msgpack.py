"""The msgpack encoding: what comes back, what is refused, and streams."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from cellmesh.common import errors, limits, msgpack
from hypothesis import given
from hypothesis import strategies as st

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**300), 2**300)
    | st.floats(allow_nan=False)
    | st.binary()
    | st.text(st.characters())
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=20,
)


def nest(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def exact(value: Any) -> str:
    return ascii(value)


@given(values)
def test_values_come_back(value: Any) -> None:
    assert exact(msgpack.decode(msgpack.encode(value))) == exact(value)


@given(st.lists(values, max_size=8), st.lists(st.integers(1, 40), min_size=1))
def test_streams_cut_anywhere_give_the_same_values_with_their_sizes(
    items: list[Any], cuts: list[int]
) -> None:
    stream = b"".join(map(msgpack.encode, items))
    unpacker = msgpack.Unpacker()
    found: list[tuple[int, Any]] = []
    at = 0
    while at < len(stream):
        size = cuts[at % len(cuts)]
        found += unpacker.feed(stream[at : at + size])
        at += size
    assert exact([value for _, value in found]) == exact(items)
    assert [size for size, _ in found] == [len(msgpack.encode(item)) for item in items]
    assert unpacker.pending_size == 0


@given(st.binary(max_size=60))
def test_any_bytes_decode_or_give_our_error(data: bytes) -> None:
    for call in (msgpack.decode, msgpack.Unpacker().feed, lambda raw: list(msgpack.iter_stream([raw]))):
        try:
            call(data)
        except (errors.BadMesgFormat, errors.LimitExceeded):
            pass


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "end early"),
        (b"\x91", "end early"),
        (b"\xc6\xff\xff\xff\xff", "end early"),
        (b"\xc1", "no msgpack"),
        (b"\x01\x02", "follow the value"),
        (b"\xa1\xff", "not UTF-8"),
        (b"\x81\x81\x01\x02\x03", "key that cannot be one"),
        (b"\xc7\x02\x05ab", "extension 5"),
    ],
)
def test_what_is_refused_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(errors.BadMesgFormat, match=reason):
        msgpack.decode(data)


def test_lists_on_request() -> None:
    assert msgpack.decode(msgpack.encode({"a": (1, (2,))}), use_list=True) == {"a": [1, [2]]}
    assert msgpack.deepcopy({"a": [1]}) == {"a": (1,)}


def test_depth_is_bounded_and_the_bound_is_the_one_named() -> None:
    found = msgpack.decode(msgpack.encode(nest(limits.MSGPACK_DEPTH_MAX)))
    depth = 0
    while isinstance(found, tuple):
        (found,) = found
        depth += 1
    assert depth == limits.MSGPACK_DEPTH_MAX
    with pytest.raises(errors.LimitExceeded, match="nest too deep"):
        msgpack.encode(nest(limits.MSGPACK_DEPTH_MAX + 1))
    for call in (msgpack.decode, msgpack.Unpacker().feed):
        with pytest.raises(errors.LimitExceeded, match="nest too deep"):
            call(b"\x91" * (limits.MSGPACK_DEPTH_MAX + 1) + b"\x01")


def test_a_list_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(errors.LimitExceeded):
        msgpack.encode(loop)


def test_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MSGPACK_SIZE_MAX", 100)
    assert msgpack.encode(b"x" * 98)
    with pytest.raises(errors.LimitExceeded) as caught:
        msgpack.encode(b"x" * 99)
    assert caught.value.get("size") == 101
    with pytest.raises(errors.LimitExceeded):
        msgpack.decode(b"\xc4\x63" + b"x" * 99)


def test_streams_bound_one_value_but_not_the_sum() -> None:
    unpacker = msgpack.Unpacker(size_max=1000)
    assert len(unpacker.feed(msgpack.encode(b"x" * 100) * 1000)) == 1000
    with pytest.raises(errors.LimitExceeded, match="too large"):
        unpacker.feed(msgpack.encode(b"x" * 2000))


def test_a_stream_that_ends_inside_a_value_is_refused() -> None:
    made = msgpack.iter_stream([msgpack.encode([1, 2]), msgpack.encode("abc")[:2]])
    assert next(made) == (1, 2)
    with pytest.raises(errors.BadMesgFormat, match="ends inside"):
        next(made)


@pytest.mark.parametrize(
    "value", [{1}, object(), 1j, [object()], {"a": {1}}, range(3), {(1, frozenset()): 1}]
)
def test_other_kinds_are_refused_and_the_encoder_goes_on(value: Any) -> None:
    assert not msgpack.isok(value)
    with pytest.raises(errors.NotMsgpackSafe):
        msgpack.encode([1, "before", value])
    assert msgpack.encode(1) == b"\x01"


def test_isok() -> None:
    assert all(map(msgpack.isok, [None, 1, 2**100, "\ud800", 1.5, b"", {1: (2,)}]))


def test_threads_do_not_mix_their_bytes() -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        value = [2**70 + number, {"k": [number] * 50}] * 20
        first = msgpack.encode(value)
        wrong.extend(number for _ in range(100) if msgpack.encode(value) != first)
        if msgpack.decode(first, use_list=True) != value:
            wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
