"""Parser, types and engine fed with what is nearly right: typed errors only, and no input takes long.

The full form makes ten million inputs, over as many processes as there are processors.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cellmesh.common.errors import BadSyntax, CellError, Internal
from cellmesh.cortex.model.encoding import KEY_SIZE_MAX
from cellmesh.cortex.model.registry import Model
from cellmesh.cortex.model.types import FAMILIES
from cellmesh.cortex.storm.parser import parse_query
from cellmesh.cortex.storm.parser.printer import print_query
from cellmesh.cortex.storm.runtime.messages import Error
from cellmesh.cortex.storm.runtime.options import QueryLimits, QueryOptions
from cellmesh.testing.fuzzing.texts import TextMaker, conformance_texts
from cellmesh.testing.fuzzing.values import ValueMaker

from tests.robustness.conftest import Plan

sys.path.insert(0, str(Path(__file__).parents[2] / "services" / "cortex" / "tests" / "storm"))

from storm_kit import open_engine

CORPUS = Path(__file__).parents[2] / "tests" / "conformance"
PARSE_CPU_S_MAX = 0.5
NORMALISE_CPU_S_MAX = 0.5
QUERY_CPU_S_MAX = 4.0
QUICK_SEED = 1
PIECE = 50_000
"""Inputs of one seed."""

PRINTED_EVERY = 16
"""One tree in so many is printed and parsed again."""

# Words of what waits, or reaches out.
LEFT_OUT = (
    "http",
    "sleep",
    "axon",
    "smtp",
    "imap",
    "wget",
    "socket",
    "queue",
    "dmon",
    "service",
    "cron",
    "feed",
)
STAND_INS = {
    "comp": "inet:dns:a",
    "edge": "edge:refs",
    "timeedge": "edge:wentto",
    "taxonomy": "meta:event:taxonomy",
}
EXTRA = {"inet:mac", "it:sec:cve", "geo:bbox", "mass", "inet:net4", "inet:net6", "inet:asnet6", "econ:price"}
UNITS = ["(", "[", "{", "+(", "$(", "${", "-> {", "'", '"', "`", "`{", "/*", "//", "#", "$", "((1+", "if (", "for $x in ",
    "not ", "a.", "*[=", "=(", "\\", "'''", "+{", "$x.", "inet:ipv4=1 ", "[ +#a ]", "-(", "<(", "|", ",", ":", "\n"]  # fmt: skip


def parse_inputs(seed: int, count: int) -> int:
    """Parse so many texts; returns how many are queries."""
    maker = TextMaker(conformance_texts(CORPUS), seed)
    good = 0
    for number in range(count):
        text = maker.text()
        began_s = time.thread_time()
        tree, fault = None, None
        try:
            tree = parse_query(text)
        except BadSyntax as error:
            fault = error
        assert time.thread_time() - began_s < PARSE_CPU_S_MAX, text
        if tree is None:
            assert fault is not None
            assert 0 <= fault.get("at") <= len(text), text
            continue
        good += 1
        if number % PRINTED_EVERY == 0:
            assert parse_query(print_query(tree)) == tree, text
    return good


def normalise_inputs(seed: int, count: int) -> int:
    """Give so many values to types; returns how many were taken."""
    model = Model.load()
    types = [model.type(name) for name in sorted({STAND_INS.get(name, name) for name in FAMILIES} | EXTRA)]
    maker = ValueMaker(seed)
    good = 0
    for number in range(count):
        value, kind = maker.value(), types[number % len(types)]
        began_s = time.thread_time()
        normed = None
        try:
            normed = kind.normalize(value)
        except CellError:
            pass
        assert time.thread_time() - began_s < NORMALISE_CPU_S_MAX, (kind.name, value)
        if normed is not None:
            good += 1
            assert len(kind.encode(normed.value)) <= KEY_SIZE_MAX, (kind.name, value)
            kind.repr(normed.value)
    return good


def run_inputs(seed: int, count: int, folder: Path) -> int:
    """Run so many texts; returns how many ended without an error."""
    logging.disable(logging.CRITICAL)
    maker = TextMaker(conformance_texts(CORPUS), seed)
    good = 0
    try:
        with open_engine(folder) as engine:
            engine.limits = QueryLimits(row_count_max=2000, time_max_s=2)
            for _ in range(count):
                text = maker.text()
                if any(word in text for word in LEFT_OUT):
                    continue
                began_s = time.thread_time()
                options = QueryOptions(vars={"x": 1, "foo": "bar"})
                errors = [m.error for m in engine.storm(text, options) if isinstance(m, Error)]
                assert not any(type(error) is Internal for error in errors), text
                assert time.thread_time() - began_s < QUERY_CPU_S_MAX, text
                good += not errors
    finally:
        logging.disable(logging.NOTSET)
    return good


def at_length(work: Callable[[int, int], int], plan: Plan, count: int) -> int:
    """Do the work in pieces over processes, each piece with a seed of its own; the quick form does the same each time."""
    if not plan.is_full:
        return work(QUICK_SEED, count)
    seed = plan.seed
    jobs = [(seed * 1_000_000 + number, PIECE) for number in range(count // PIECE)]
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        return sum(pool.starmap(work, jobs))


def test_no_text_breaks_the_parser(plan: Plan) -> None:
    count = plan.count(3000, 7_000_000)
    good = at_length(parse_inputs, plan, count)
    print(f"\nparser: {count} texts, {good} of them queries")
    assert good > count // 10


def test_no_value_breaks_a_type(plan: Plan) -> None:
    count = plan.count(3000, 2_500_000)
    good = at_length(normalise_inputs, plan, count)
    print(f"\ntypes: {count} values, {good} of them taken")
    assert good > count // 50


def test_no_text_breaks_the_engine(plan: Plan, tmp_path: Path) -> None:
    count = plan.count(300, 500_000)
    good = run_inputs(plan.seed if plan.is_full else QUICK_SEED, count, tmp_path)
    print(f"\nengine: {count} texts, {good} of them without an error")
    assert good > count // 50


@pytest.mark.parametrize("unit", UNITS)
def test_a_long_row_of_one_thing_takes_little_time(plan: Plan, unit: str) -> None:
    """A hundred thousand times the same is parsed or refused, and soon."""
    count = plan.count(10_000, 100_000)
    for text in (unit * count, "inet:ipv4 " + unit * count, unit * (count // 2) + ")" * (count // 2)):
        began_s = time.thread_time()
        try:
            parse_query(text)
        except BadSyntax:
            pass
        # Work that grows with the square of the length would take minutes.
        assert time.thread_time() - began_s < 10.0, unit
