"""Write the vectors in `libs/common/tests/vectors/`: inputs, and what Synapse 2.x made of them.

Run it with the Python of an environment that has Synapse installed, from the root of the project:

    python tools/peer_vectors.py

The tests read the files it wrote, so Synapse is needed for nothing else. Values that JSON has no form
for are tagged lists: ["int", "123"], ["bytes", "00ff"], ["list", ...], ["dict", [key, value]...],
["float", "1.5"], ["text", code points...].
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import synapse.common as s_common
import synapse.datamodel as s_datamodel
import synapse.exc as s_exc
import synapse.lib.msgpack as s_msgpack

OUT = Path(__file__).resolve().parent.parent / "libs" / "common" / "tests" / "vectors"

VALUES: list[Any] = [
    True,
    False,
    *(
        sign * 2**bits + step
        for bits in (7, 8, 15, 16, 31, 32, 63, 64, 71, 72, 127, 500)
        for sign in (1, -1)
        for step in (-1, 0, 1)
    ),
    0,
    0.0,
    -0.0,
    1.5,
    1e300,
    float("inf"),
    "",
    "abc",
    "é€😀",
    "\x00",
    "\ud800",
    "a\udfffb",
    "x" * 31,
    "x" * 32,
    "x" * 255,
    "x" * 256,
    "x" * 65536,
    b"",
    b"\x00\xff",
    b"y" * 256,
    (),
    (1, 2),
    (1, (2, (3, ("deep",)))),
    tuple(range(16)),
    {},
    {"b": 1, "a": 2},
    {"a": 2, "b": 1},
    {1: 2, -1: None},
    {(1, 2): (3,)},
    {str(number): number for number in range(16)},
    ("inet:fqdn", "example.com"),
    ("inet:ipv4", 16909060),
    (("test", 1), {"props": {"x": None, "y": [1.5, b"z"]}, "tags": {}}),
    (None,),
    {"nested": {"z": 1, "a": {"y": [2, {"k": "v"}]}}},
]

DECIMALS = [
    "1",
    "3",
    "-3",
    "0",
    "-0",
    "0.1",
    "1E-24",
    "5E-25",
    "730750818665451459101842",
    "1E+40",
    "2.5",
    "-7.5",
    "1.000000000000000000000000500",
    "0.333333333333333333333333333333333333",
    "1E+999999",
    "0.5",
    "10",
    "NaN",
]
OPERATIONS = ("add", "sub", "mul", "div", "mod", "pow", "scaleb")
WRITTEN = [
    *(
        "1",
        "1.0",
        "-2.25",
        "1e10",
        "1e+3",
        "1E-3",
        "0x10",
        "abc",
        "",
        "1,000",
        "1 000",
        "1.",
        ".5",
        "+1",
        "1.5e3",
    ),
    *("1g", "1.5 kg", "1 KG", "1k g", "1,000 kg", "1e+2kg", "kg", "1kgx", "-2kg", "1mm", "1e+30", "1e-25"),
    *("730750818665451459101842", "730750818665451459101843", "1000000000000000000000 kg", "inf", "nan"),
]
NUMBERS = ["1", "1.50", "-0", "1e3", "0x10", "", " 1 ", "abc", "1_000", "+5", "--5", "5%", "1" * 60]

TIMES = [
    "2020",
    "2020-01",
    "2020-01-02",
    "2020-01-02 03",
    "2020-01-02T03:04",
    "2020/01/02 03:04:05",
    "2020-01-02T03:04:05.6",
    "2020-01-02T03:04:05.678",
    "2020-01-02T03:04:05.678901",
    "2020-01-02T03:04:05,678",
    "2020-01-02T03:04:05Z",
    "2020-01-02T03:04:05+02:00",
    "2020-01-02T03:04:05-0500",
    "2020-01-02T03:04:05 EST",
    "2020-01-02 03:04:05 PDT",
    "2020-01-02 03:04:05 UTC",
    "2020-01-02T03:04:05 CEST",
    "2020-01-02T03:04:05 A",
    "2020 N",
    "2020M",
    "2020Y",
    "2020 J",
    "2020-01-02 03+05:30",
    "2020-01-02+05:30",
    "2020-0500",
    "2020+5:30",
    "2020-001",
    "2020-01-02T03:04:05+05",
    "2020-01-02T03:04:05+25:00",
    "2020-01-02T03:04:05+23:59",
    "2020-01-02T03:04:05+23:60",
    "2020-01-02T03:04:05  +01:00",
    "2020-01-02T03:04:05 EST-05:00",
    "2020-01-02T03:04:05 (EST)",
    "2020-01-02T03:04:05ZZ",
    "2020 west",
    "2020,A",
    "Thu, 02 Jan 2020 03:04:05 +0000",
    "Thu, 2 Jan 2020 03:04:05 EST",
    "02 Jan 2020 03:04:05 GMT",
    "02 jan 2020 03:04:05 -0330",
    "Thu,02 Jan 2020 03:04:05",
    "2 Jan 2020",
    "Jan 2 2020",
    "02 Jan 2020 03:04",
    "31 Feb 2020 03:04:05",
    "02 Jan 2020 25:04:05",
    "02 Jan 2020 03:04:05.5",
    "02 Jan 2020 03:04:05 CEST",
    "02 January 2020 03:04:05",
    "Thursday, 02 Jan 2020 03:04:05",
    "2 Jan 2020 3:04:05",
    "02 Jan 20 03:04:05 GMT",
    "20200102",
    "202001",
    "202001020",
    "2020010203",
    "20200102030",
    "202001020304",
    "20200102030405",
    "202001020304056",
    "2020010203040567",
    "20200102030405678",
    "20200102030405678901",
    "20200102030405678901234",
    "202",
    "2",
    "",
    "?",
    " ? ",
    "??",
    "2020*",
    "202001*",
    "20200*",
    "*",
    "?*",
    "asdf",
    "2020-13",
    "2020-02-30",
    "2020-00",
    "2020-01-02 25",
    "2020-01-02 23:60",
    "2020-01-02 23:59:60",
    "2020-01-02T24:00:00",
    "0",
    "1",
    "-1",
    "1577934245678",
    "0001",
    "0000",
    "9999",
    "9999-12-31 23:59:59.9999",
    "9999-12-31T23:59:59-05:00",
    "10000",
    "1969-12-31 23:59:59",
    "1600-02-29",
    "1900-02-29",
    "0x10",
    "2020-1-2",
    "2020 01 02",
    "２０２０",
    "abc2020def",
    "12/25/2020",
    "+2020",
    "-2020-01-02",
    "1e10",
    "2020+1day",
    "2020-1 day",
    "2020 + 1 hour",
    "2020 - 2 days",
    "2020 +1 HOURS",
    "20200102 + 1 min",
    "20200102 + 90 mins",
    "2020 + 1 minute",
    "2020 + 5 minutes",
    "2020 + 1 sec",
    "2020 + 5 secs",
    "2020 + 5 seconds",
    "2020 + 1 second",
    "2020 + 1 week",
    "2020 + 1 month",
    "2020 + 1.5 days",
    "2020 + 1 d",
    "2020 + 0x10 min",
    "2020 + 1 day - 1 hour",
    "2020+1day+1hour",
    "2020 + 1 days ago",
    "? + 1 day",
    "2020 + 9999999999 days",
    "2020 holiday",
    "2020 + day",
    "2020 + 0 days",
    "2020z + 1 day",
    0,
    1577934245678,
    -1,
    253402300799999,
    253402300800000,
    9223372036854775807,
    9223372036854775806,
    -62135596800000,
    1.5,
    True,
    None,
]
REPR_TIMES = [0, 1577934245678, -1, 253402300799999, 9223372036854775807, -62135596800000, -55220000000001]
RANGES = [
    "2020*",
    "2020-01*",
    "2020-12*",
    "20200102*",
    "2020-12-31*",
    "2020010203*",
    "202001020304*",
    "20200102030405*",
    "202001020304056*",
    "20*",
    "*",
    "?*",
    "now*",
    "2020-02-30*",
    "2020-01-01T00:00:00+01:00*",
    "2020 *",
    "1 day*",
]
INTERVALS: list[Any] = [
    "2020",
    "?",
    "2020*",
    0,
    -1,
    9223372036854775807,
    253402300799999,
    ["2020", "2021"],
    ["2021", "2020"],
    ["2020", "2020"],
    ["2020", "?"],
    ["?", "2020"],
    ["?", "?"],
    ["2020", "+1 day"],
    ["2020", "-1 day"],
    ["2020"],
    [],
    ["2020", "2021", "2022"],
    ["2020", 5],
    [1, 2],
    [2, 1],
    [5, 5],
    ["2020", None],
    None,
    1.5,
    True,
    ["2020*", "2021*"],
    [253402300799999, 253402300799999],
    [0, 9223372036854775807],
    [9223372036854775807, 9223372036854775807],
    "asdf",
    ["asdf", "2020"],
    ["2020", "asdf"],
    "2020,2021",
    "2020 - 2021",
    ["?", "+1 day"],
    [-5, -3],
    ["2020", "+3 minutes"],
    ["2020", "+2 weeks"],
    "2020,+1 day",
    "2020,2021,2022",
    "2020 + 1 day",
]
DURATIONS: list[Any] = [
    0, 1000, -5, 1.5, "2D 03:04:05", "03:04:05.678", "04:05", "5", "5.5", "5.5678", "D", "1D", "1d", "1D 5",
    "1D 04:05", "abc", "", "?", "-5", "1:2:3:4", "25:61:61", "  5 ", "5.", ".5", "1D05:00", "-1D", "+5", "1 D",
    "0x10", "1:-5", "1.5:3", "1:", "::", "1D 1D", "1000D 00:00:00.001", None, True,
]  # fmt: skip
REPR_DURATIONS = [0, 1000, 183845000, 245000, 5500, 1, -5, 86400000, 86399999, 9223372036854775807]


def tag(value: Any) -> Any:
    """A value in a form that JSON keeps."""
    match value:
        case None | bool():
            return value
        case int():
            return ["int", str(value)]
        case float():
            return ["float", repr(value)]
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                return ["text", *map(ord, value)]
            return value
        case bytes():
            return ["bytes", value.hex()]
        case list() | tuple():
            return ["list", *map(tag, value)]
        case dict():
            return ["dict", *([tag(key), tag(item)] for key, item in value.items())]
    raise TypeError(type(value))


def outcome(call: Callable[..., Any], *args: Any) -> Any:
    """What a call returns, or {"error": true}."""
    try:
        return call(*args)
    except Exception:  # noqa: BLE001  any failure of the peer is a vector: ours must refuse too
        return {"error": True}


def hashing() -> Any:
    """Encodings and identifiers of values."""
    return [
        {
            "value": tag(value),
            "msgpack_sha256": hashlib.sha256(s_msgpack.en(value)).hexdigest(),
            "msgpack": s_msgpack.en(value).hex() if len(s_msgpack.en(value)) < 100 else None,
            "guid": s_common.guid(value),
            "buid": s_common.ehex(s_common.buid(value)),
            "flat_guid": s_common.guid(s_common.flatten(value)),
        }
        for value in VALUES
    ]


def hugenum() -> Any:
    """Results of arithmetic, of parsing and of storing."""
    kind = s_datamodel.Model().type("hugenum")
    weight = kind.clone({"units": {"g": "1", "kg": "1000", "mm": "0.001"}})
    return {
        "operations": [
            [name, left, right, outcome(operate, name, left, right)]
            for name, left, right in itertools.product(OPERATIONS, DECIMALS, DECIMALS)
        ],
        "round": [
            [text, outcome(lambda text: str(s_common.hugeround(Decimal(text))), text)] for text in DECIMALS
        ],
        "parse": [[text, outcome(lambda text: str(s_common.hugenum(text)), text)] for text in NUMBERS],
        "written": [[text, outcome(lambda text: str(weight.norm(text)[0]), text)] for text in WRITTEN],
        "norm": [[text, outcome(lambda text: str(kind.norm(Decimal(text))[0]), text)] for text in DECIMALS],
    }


def operate(name: str, left: str, right: str) -> Any:
    """The result of an operation on the decimals of two texts; a pair of results for mod."""
    found = getattr(s_common, "huge" + name)(Decimal(left), Decimal(right))
    return [str(item) for item in found] if isinstance(found, tuple) else str(found)


def time() -> Any:
    """Times, ranges, intervals and durations."""
    model = s_datamodel.Model()
    moment, interval, duration = model.type("time"), model.type("ival"), model.type("duration")
    return {
        "time": [[value, outcome(lambda value: moment.norm(value)[0], value)] for value in TIMES],
        "time_text": [[value, moment.repr(value)] for value in REPR_TIMES],
        "range": [
            [value, outcome(lambda value: list(moment.getStorCmprs("=", value)[0][1]), value)]
            for value in RANGES
        ],
        "interval": [
            [value, outcome(lambda value: list(interval.norm(value)[0]), value)] for value in INTERVALS
        ],
        "duration": [[value, outcome(lambda value: duration.norm(value)[0], value)] for value in DURATIONS],
        "duration_text": [[value, duration.repr(value)] for value in REPR_DURATIONS],
    }


def exceptions() -> Any:
    """The names of the exceptions, each with that of its parent."""
    classes = [
        item for item in vars(s_exc).values() if isinstance(item, type) and issubclass(item, s_exc.SynErr)
    ]
    return sorted([item.__name__, item.__mro__[1].__name__] for item in classes)


def main() -> None:
    """Write one file a topic."""
    OUT.mkdir(parents=True, exist_ok=True)
    for name, make in (
        ("hashing", hashing),
        ("hugenum", hugenum),
        ("time", time),
        ("exceptions", exceptions),
    ):
        rows = make()
        if isinstance(rows, dict):
            body = ",\n".join(
                f'"{key}": [\n' + ",\n".join(map(json.dumps, part)) + "\n]" for key, part in rows.items()
            )
            text = "{\n" + body + "\n}\n"
        else:
            text = "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n"
        json.loads(text)
        (OUT / f"{name}.json").write_text(text)


if __name__ == "__main__":
    main()
