"""Random values through Synapse itself and through us, where an environment with Synapse is at hand.

It is looked for at CELLMESH_PEER_PYTHON, else in the user's cache; without it these tests are skipped.
The pinned vectors, made by tools/peer_vectors.py, are checked everywhere.
"""

from __future__ import annotations

import ast
import os
import subprocess
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common import errors, hashing, hugenum, msgpack
from cellmesh.common.time import clock, parse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PEER_PYTHON = Path(
    os.environ.get("CELLMESH_PEER_PYTHON") or Path.home() / ".cache" / "cellmesh-peer" / "bin" / "python"
)

# Reads one (name, argument) a line as Python literals, writes what Synapse makes of it.
SERVER = """
import ast, sys
from decimal import Decimal
import synapse.common as common, synapse.datamodel as datamodel, synapse.lib.msgpack as msgpack
time = datamodel.Model().type('time')
def identify(value):
    return msgpack.en(value), common.guid(value), common.buid(value), common.guid(common.flatten(value))
def operate(args):
    name, left, right = args
    found = getattr(common, 'huge' + name)(Decimal(left), Decimal(right))
    return tuple(map(str, found)) if isinstance(found, tuple) else str(found)
calls = {'identify': identify, 'operate': operate, 'time': lambda text: time.norm(text)[0]}
for line in sys.stdin:
    name, argument = ast.literal_eval(line)
    try:
        found = calls[name](argument)
    except Exception:
        found = None
    print(ascii(found), flush=True)
"""

Ask = Callable[[str, Any], Any]

pytestmark = pytest.mark.skipif(not PEER_PYTHON.exists(), reason="no environment with Synapse at hand")
examples = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    with subprocess.Popen(
        [PEER_PYTHON, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="ascii",
    ) as process:
        assert process.stdin
        assert process.stdout
        to_peer, from_peer = process.stdin, process.stdout

        def call(name: str, argument: Any) -> Any:
            to_peer.write(ascii((name, argument)) + "\n")
            to_peer.flush()
            return ast.literal_eval(from_peer.readline())

        yield call
        to_peer.close()


scalars = (
    st.booleans()
    | st.integers()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.binary(max_size=40)
    | st.text(st.characters(), max_size=40)
)
values = st.recursive(
    st.none() | scalars,
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=20,
).filter(lambda value: value is not None)


@examples
@given(value=values)
def test_identifiers_agree(ask: Ask, value: Any) -> None:
    flat = hashing.guid(hashing.flatten(value))
    assert ask("identify", value) == (msgpack.encode(value), hashing.guid(value), hashing.buid(value), flat)


decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**50), max_value=10**50)


@examples
@given(
    name=st.sampled_from(["add", "sub", "mul", "div", "mod", "pow"]),
    left=decimals,
    right=decimals | st.integers(-9, 9).map(Decimal),
)
def test_arithmetic_agrees(ask: Ask, name: str, left: Decimal, right: Decimal) -> None:
    try:
        found = getattr(hugenum, name)(left, right)
        mine = tuple(map(str, found)) if isinstance(found, tuple) else str(found)
    except errors.BadTypeValu:
        mine = None
    assert ask("operate", (name, str(left), str(right))) == mine


# Text as people write times, well or badly.
written = st.builds(
    "{}{}{}{}{}{}".format,
    st.sampled_from(["2020", "1999", "0001", "9999", "20"]),
    st.sampled_from(["", "-", "/", ".", " "]),
    st.integers(0, 13).map("{:02}".format),
    st.sampled_from(["", "-02", "-31", "02", "-02 03", "-02T03:04", "-02T23:59:59", "02030405", "-2"]),
    st.sampled_from(["", ".5", ".678", ".678901"]),
    st.sampled_from(
        ["", "Z", " z", "+01:00", "-0530", " +5:30", " EST", "PDT", " A", "*", " foo", "+25:00", "é"]
    ),
)


@examples
@given(text=written)
def test_times_agree(ask: Ask, text: str) -> None:
    try:
        mine = parse.parse_time(text, clock=clock.FixedClock(0))
    except errors.BadTypeValu:
        mine = None
    theirs = ask("time", text)
    if mine is None and sum(character.isdecimal() for character in text) > 14:
        # With a fraction, Synapse reads some times that do not exist as others; we refuse them.
        return
    assert theirs == mine
