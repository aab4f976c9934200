"""Storm packages: added, used, replaced, removed; and there again after a restart."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.errors import CellError
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.packages import connect_packages

sys.path.insert(0, str(Path(__file__).parents[1]))
from storm_kit import Run, open_engine

PACKAGE = """
$lib.pkg.add(({
    "name": "feed", "version": [0, 1, 2],
    "modules": [
        {"name": "feed.read", "modconf": {"a": 5},
         "storm": "$x=$modconf.a function twice(y) { return(($y * 2)) } function nodes() { [ inet:asn=7 ] fini { return() } }"},
        {"name": "feed.other", "storm": "$read=$lib.import(feed.read) function four() { return($read.twice((2))) }"}
    ],
    "commands": [
        {"name": "feed.tag", "descr": "Tag nodes.",
         "cmdargs": [["name", {"help": "The tag."}], ["--loud", {"action": "store_true", "default": false}]],
         "storm": "if $cmdopts.loud { $lib.print(`tag {$cmdopts.name}`) } [ +#$cmdopts.name ]"}
    ],
    "onload": "$lib.globals.set(loaded, yes)",
    "inits": {"versions": [{"version": 1, "name": "first", "inaugural": true, "query": "$lib.globals.set(first, yes)"}]}
}))
"""


@pytest.fixture(name="engine")
def _engine(tmp_path: Path) -> Any:
    with open_engine(tmp_path / "graph") as engine:
        connect_packages(engine, engine.capabilities["packages"])
        yield engine


def error_of(engine: Engine, text: str) -> str:
    with pytest.raises(CellError) as caught:
        engine.call(text)
    return caught.value.name


def test_modules(engine: Engine) -> None:
    assert error_of(engine, "$lib.import(feed.read)") == "NoSuchName"
    engine.call(PACKAGE)
    assert engine.call("$m=$lib.import(feed.read) return(($m.twice((4)) + $m.x))") == 13
    assert engine.call("return($lib.import(feed.other).four())") == 4
    assert error_of(engine, "return($lib.import(feed.read).none)") == "NoSuchName"
    assert engine.call('return($lib.import(feed.read, reqvers=">=0.1.0,<0.2.0").x)') == 5
    assert error_of(engine, 'return($lib.import(feed.read, reqvers=">=0.2.0"))') == "NoSuchName"


def test_commands(engine: Engine) -> None:
    engine.call(PACKAGE)
    run = Run(engine, "[ inet:asn=1 inet:asn=2 ] | feed.tag a.b --loud")
    assert (run.error, run.nodes) == (None, [1, 2]), run.message
    assert run.prints[:1] == ["tag a.b"]
    assert engine.count("inet:asn#a.b") == 2
    assert Run(engine, "[ inet:asn=3 ] | feed.tag c.d --help").prints
    assert Run(engine, "feed.tag").error == "BadArg"
    engine.call("$lib.pkg.del(feed)")
    assert error_of(engine, "feed.tag x") == "NoSuchName"


def test_a_command_whose_arguments_depend_on_nodes(engine: Engine) -> None:
    engine.call(PACKAGE)
    Run(engine, "[ inet:asn=1 inet:asn=2 ] $tag=`n{$node.value()}` | feed.tag $tag")
    assert (engine.count("inet:asn#n1"), engine.count("inet:asn#n2")) == (1, 1)


def test_what_it_runs_when_it_comes(engine: Engine) -> None:
    engine.call(PACKAGE)
    assert engine.call("return(($lib.globals.pop(loaded), $lib.globals.pop(first)))") == ["yes", "yes"]
    engine.call(PACKAGE)
    # Again when it is added again, but each of its versions once.
    assert engine.call("return(($lib.globals.get(loaded), $lib.globals.get(first)))") == ["yes", None]


def test_what_is_known(engine: Engine) -> None:
    engine.call(PACKAGE)
    found = engine.call("return($lib.pkg.get(feed))")
    assert (found["version"], found["commands"][0]["pkgname"]) == ("0.1.2", "feed")
    assert engine.call("return(($lib.pkg.has(feed), $lib.pkg.has(none), $lib.pkg.get(none)))") == [
        True,
        False,
        None,
    ]
    assert [one["name"] for one in engine.call("return($lib.pkg.list())")] == ["feed"]
    told = engine.call(
        """return($lib.pkg.deps(({"name": "b", "version": "1.0.0", "depends": {
            "requires": [{"name": "none", "version": ">=1.0.0"}, {"name": "feed", "version": ">=0.1.0,<1.0.0"}],
            "conflicts": [{"name": "feed"}]}})))"""
    )
    assert [(one["name"], one["ok"]) for one in told["requires"]] == [("none", False), ("feed", True)]
    assert [(one["name"], one["ok"], one["actual"]) for one in told["conflicts"]] == [
        ("feed", False, "0.1.2")
    ]


def test_variables_and_queues(engine: Engine) -> None:
    engine.call("$v=$lib.pkg.vars(feed) $v.a=5 $v.b=6 $v.b=$lib.undef")
    assert engine.call("$v=$lib.pkg.vars(feed) return(($v.a, $v.b, $lib.pkg.vars(other).a))") == [
        "5",
        None,
        None,
    ]
    found = engine.call(
        "$q=$lib.pkg.queues(feed).gen(work) return(($q.name, $q.pkgname, $q.put(x), $q.size(), $q.get(0)))"
    )
    assert [list(one) if isinstance(one, tuple) else one for one in found] == ["work", "feed", 0, 1, [0, "x"]]
    assert error_of(engine, "$lib.pkg.queues(other).get(work)") == "NoSuchName"
    engine.call("$lib.pkg.queues(feed).del(work)")
    assert error_of(engine, "$lib.pkg.queues(feed).get(work)") == "NoSuchName"


@pytest.mark.parametrize(
    ("definition", "name"),
    [
        ('{"name": "a"}', "SchemaViolation"),
        ('{"version": "0.0.1"}', "SchemaViolation"),
        ('{"name": "a", "version": "new"}', "SchemaViolation"),
        ('{"name": "a", "version": "0.0.1", "commands": [{"name": "a!!", "storm": ""}]}', "SchemaViolation"),
        ('{"name": "a", "version": "0.0.1", "modules": [{"name": "a.b", "storm": "| |"}]}', "BadSyntax"),
        ('{"name": "a", "version": "0.0.1", "synapse_version": ">=3.0.0"}', "BadVersion"),
        (
            '{"name": "a", "version": "0.0.1", "depends": {"conflicts": [{"name": "feed"}]}}',
            "StormPkgConflicts",
        ),
    ],
)
def test_packages_that_cannot_be(engine: Engine, definition: str, name: str) -> None:
    engine.call(PACKAGE)
    assert error_of(engine, f"$lib.pkg.add(({definition}))") == name
    assert error_of(engine, "$lib.pkg.del(none)") == "NoSuchPkg"


def test_they_are_there_after_reopening(tmp_path: Path) -> None:
    for _ in range(2):
        with open_engine(tmp_path / "kept") as engine:
            connect_packages(engine, engine.capabilities["packages"])
            if not engine.call("return($lib.pkg.has(feed))"):
                engine.call(PACKAGE)
            assert engine.call("return($lib.import(feed.read).x)") == 5
