"""Every command of the table: runs, prints its help, refuses bad arguments; and what goldens cannot show."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.cortex.storm.commands import COMMANDS
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime.interface import CommandSpec

sys.path.insert(0, str(Path(__file__).parents[1]))
from storm_kit import Run, open_engine

NODES = "[ ( it:dev:int=1 ) ( it:dev:int=2 ) ( it:dev:int=3 ) ] | spin"

# One use of each command; `it:dev:int` comes before it.
LAYER_URL = "aha://other.demo/layer/" + 32 * "a"

USES = {
    "feed.list": "feed.list",
    "nodes.import": "nodes.import",
    "wget": "wget",
    "gen.geo.place": "gen.geo.place a",
    "gen.it.prod.soft": "gen.it.prod.soft a",
    "gen.lang.language": "gen.lang.language a",
    "gen.ou.industry": "gen.ou.industry a",
    "gen.ou.org": "gen.ou.org a",
    "gen.ou.org.hq": "gen.ou.org.hq a",
    "gen.ou.campaign": "gen.ou.campaign a b",
    "gen.risk.threat": "gen.risk.threat a b",
    "gen.risk.tool.software": "gen.risk.tool.software a b",
    "gen.pol.country": "gen.pol.country us",
    "gen.pol.country.government": "gen.pol.country.government us",
    "gen.ps.contact.email": "gen.ps.contact.email a a@b.com",
    "gen.risk.vuln": "gen.risk.vuln CVE-2021-44228",
    "note.add": 'note.add "a note"',
    "scrape": 'scrape "a.com and 1.2.3.4" --refs',
    "macro.set": "macro.set m { it:dev:int }",
    "macro.get": "macro.get m",
    "macro.list": "macro.list",
    "macro.exec": "macro.set m { it:dev:int } | macro.exec m",
    "macro.del": "macro.set m { it:dev:int } | macro.del m",
    "model.deprecated.lock": "model.deprecated.lock edge:refs",
    "model.deprecated.locks": "model.deprecated.locks",
    "model.edge.list": "model.edge.list",
    "model.edge.set": "[ +(refs)> { it:dev:int } ] | model.edge.set refs doc words",
    "model.edge.get": "[ +(refs)> { it:dev:int } ] | model.edge.get refs",
    "model.edge.del": "[ +(refs)> { it:dev:int } ] | model.edge.set refs doc words | spin | model.edge.del refs doc",
    "queue.add": "queue.add q",
    "queue.del": "queue.add q | queue.del q",
    "queue.list": "queue.list",
    "copyto": "copyto $lib.view.get().iden",
    "layer.add": "layer.add --name l",
    "layer.get": "layer.get",
    "layer.list": "layer.list",
    "layer.set": "layer.set $lib.layer.get().iden name l",
    "layer.pull.add": f"layer.pull.add $lib.layer.get().iden {LAYER_URL}",
    "layer.pull.del": "layer.pull.del $lib.layer.get().iden abc",
    "layer.pull.list": "layer.pull.list $lib.layer.get().iden",
    "layer.push.add": f"layer.push.add $lib.layer.get().iden {LAYER_URL} --offset 3",
    "layer.push.del": "layer.push.del $lib.layer.get().iden abc",
    "layer.push.list": "layer.push.list $lib.layer.get().iden",
    "quorum.merge.list": "quorum.merge.list --todo",
    "layer.del": "$l=$lib.layer.add().iden | layer.del $l",
    "diff": "spin | $v=$lib.view.get().fork().iden | view.exec $v { diff }",
    "merge": "spin | $v=$lib.view.get().fork().iden | view.exec $v { merge --diff --apply }",
    "runas": "runas root { it:dev:int }",
    "view.add": "view.add --layers $lib.layer.get().iden",
    "view.del": "spin | $v=$lib.view.get().fork().iden | view.del $v",
    "view.exec": "view.exec $lib.view.get().iden { it:dev:int }",
    "view.fork": "view.fork $lib.view.get().iden",
    "view.get": "view.get",
    "view.list": "view.list",
    "view.merge": "spin | $v=$lib.view.get().fork().iden | view.merge $v --delete",
    "view.set": "view.set $lib.view.get().iden name v",
    "batch": "batch (true) { yield $nodes }",
    "count": "count --yield",
    "delnode": "delnode",
    "divert": "divert (true) $lib.lift.byNodeData(none)",
    "edges.del": "edges.del refs",
    "colorize": "colorize red",
    "index.count.prop": "index.count.prop it:dev:int",
    "model.deprecated.check": "model.deprecated.check",
    "ps.list": "ps.list",
    "ps.kill": "spin | for $q in $lib.set() { ps.kill $q }",
    "task.list": "task.list",
    "task.kill": "spin | for $q in $lib.set() { task.kill $q }",
    "uptime": "uptime",
    "gen.it.av.scan.result": "gen.it.av.scan.result inet:fqdn a.com b",
    "gen.ou.id.number": "gen.ou.id.number a 1",
    "gen.ou.id.type": "gen.ou.id.type a",
    "graph": "graph --refs --degrees 2",
    "help": "help",
    "iden": "iden 20153b758f9d5eaaa38e4f4a65c36da797c3e59e549620fa7c4895e1a920991f",
    "intersect": "intersect { it:dev:int=2 }",
    "lift.byverb": "lift.byverb refs",
    "limit": "limit 2",
    "max": "max $node.value()",
    "min": "min $node.value()",
    "movenodes": "spin | $v=$lib.view.get().fork().iden | view.exec $v { it:dev:int | movenodes --apply }",
    "movetag": "movetag a.b c.d",
    "once": "once done",
    "parallel": "parallel { it:dev:int=2 }",
    "reindex": "reindex",
    "sleep": "sleep 0",
    "spin": "spin",
    "stats.countby": "stats.countby $node.form()",
    "storm.exec": 'storm.exec "[ it:dev:str=a ]"',
    "tag.prune": "tag.prune a.b",
    "tee": "tee --join { it:dev:int=2 }",
    "tree": "tree { -it:dev:int }",
    "uniq": "uniq $node.form()",
    "version": "version",
}


# Those that need users are tried in test_commands_of_users.py, those of services and endpoints on a whole cell.
WITH_CELL = ("aha.", "auth.", "vault.", "pkg.", "service.", "cortex.")
TRIED = [spec for spec in COMMANDS if not spec.name.startswith(WITH_CELL)]


@pytest.fixture(name="engine", scope="module")
def _engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with open_engine(tmp_path_factory.mktemp("commands") / "graph") as engine:
        yield engine


@pytest.fixture(name="graph")
def _graph(tmp_path: Path) -> Iterator[Engine]:
    with open_engine(tmp_path / "graph") as engine:
        assert Run(engine, NODES).error is None
        yield engine


def test_no_name_is_used_twice() -> None:
    names = [spec.name for spec in COMMANDS]
    assert len(names) == len(set(names))


def test_every_command_has_a_use_here() -> None:
    assert USES.keys() == {spec.name for spec in TRIED}


@pytest.mark.parametrize("spec", TRIED, ids=lambda spec: spec.name)
def test_it_runs(spec: CommandSpec, graph: Engine) -> None:
    assert Run(graph, "[ it:dev:int=1 +#a.b ] | spin").error is None
    run = Run(graph, f"it:dev:int | {USES[spec.name]}")
    assert run.error is None, run.message


@pytest.mark.parametrize("spec", COMMANDS, ids=lambda spec: spec.name)
def test_its_help_names_all_arguments(spec: CommandSpec, engine: Engine) -> None:
    run = Run(engine, f"{spec.name} --help")
    text = "\n".join(run.prints)
    assert run.error is None, run.message
    assert f"Usage: {spec.name}" in text
    assert spec.doc.strip().partition("\n")[0] in text
    for argument in spec.arguments:
        assert argument.flags[0] in text
        assert argument.help, f"{argument.flags[0]} is not explained"


@pytest.mark.parametrize("spec", COMMANDS, ids=lambda spec: spec.name)
def test_an_unknown_option_is_refused(spec: CommandSpec, engine: Engine) -> None:
    assert Run(engine, f"{spec.name} --zork").error == "BadArg"


@pytest.mark.parametrize("spec", [one for one in TRIED if one.changes_state], ids=lambda spec: spec.name)
def test_a_read_only_query_changes_nothing(spec: CommandSpec, graph: Engine) -> None:
    run = Run(graph, f"it:dev:int | {USES[spec.name]}", readonly=True)
    assert run.error == "IsReadOnly"
    assert Run(graph, "it:dev:int").nodes == [1, 2, 3]


def test_limit_ends_what_comes_before(graph: Engine) -> None:
    run = Run(graph, "it:dev:int $lib.print($node.value()) | limit 2")
    assert (run.nodes, run.prints) == ([1, 2], ["1", "2"])


def test_max_keeps_several_and_the_first_of_equal_ones(graph: Engine) -> None:
    query = "[ ( inet:ipv4=1.1.1.1 :asn=5 ) ( inet:ipv4=1.1.1.2 :asn=9 ) ( inet:ipv4=1.1.1.3 :asn=9 ) ] | "
    assert Run(graph, query + "max :asn").nodes == [16843010]
    assert Run(graph, query + "max :asn --size 2").nodes == [16843010, 16843011]
    assert Run(graph, query + "min :asn --size 2").nodes == [16843009, 16843010]
    assert Run(graph, "it:dev:int | max (1) --size 10001").error == "BadArg"


def test_tee_runs_without_nodes(graph: Engine) -> None:
    assert Run(graph, "tee { it:dev:int=3 } { it:dev:int=1 }").nodes == [3, 1]


def test_tee_hands_its_variables_to_each_query_alone(graph: Engine) -> None:
    run = Run(graph, "$x=5 it:dev:int=1 | tee { $x=6 $lib.print($x) } { $lib.print($x) }")
    assert (run.error, run.prints) == (None, ["6", "5"])


def test_a_tree_that_never_ends_is_an_error(graph: Engine) -> None:
    run = Run(graph, "it:dev:int=1 | tree { it:dev:int=2 }")
    assert run.error == "StormRuntimeError"
    assert len(run.nodes) > 10


def test_batches_are_full_but_the_last(graph: Engine) -> None:
    run = Run(graph, "it:dev:int | batch (false) --size 2 { $lib.print($lib.len($nodes)) }")
    assert (run.nodes, run.prints) == ([1, 2, 3], ["2", "1"])


def test_delnode_takes_the_edges_along(graph: Engine) -> None:
    assert Run(graph, "it:dev:int=1 [ +(refs)> { it:dev:int=2 } ]").error is None
    assert Run(graph, "it:dev:int=2 | delnode").error == "CantDelNode"
    assert Run(graph, "it:dev:int=2 | delnode --deledges").error is None
    assert Run(graph, "it:dev:int").nodes == [1, 3]
    assert Run(graph, "it:dev:int=1 -(*)> *").nodes == []


def test_edges_del_from_either_end(graph: Engine) -> None:
    make = "it:dev:int=1 [ +(refs)> { it:dev:int=2 } +(uses)> { it:dev:int=2 } ]"
    assert Run(graph, make).error is None
    assert Run(graph, "it:dev:int=2 | edges.del uses --n2 | spin").error is None
    assert Run(graph, "lift.byverb uses").nodes == []
    assert Run(graph, "lift.byverb refs").nodes == [1]
    assert Run(graph, "lift.byverb refs --n2").nodes == [2]
    assert Run(graph, "it:dev:int=1 | edges.del *").nodes == [1]
    assert Run(graph, "lift.byverb refs").nodes == []


def test_iden_warns_of_what_is_none(graph: Engine) -> None:
    run = Run(graph, "iden zz 1234")
    assert (run.nodes, run.error, len(run.warns)) == ([], None, 2)
    iden = "fe398e61918ef9ccbc16ee8544e82e1d867e7621ed37468f83aecd5c6fbdbfc5"
    assert Run(graph, f"iden {iden}").nodes == [1]


def test_movetag_takes_intervals_texts_and_later_uses_along(graph: Engine) -> None:
    assert Run(graph, "[ syn:tag=a.b :title=words ]").error is None
    assert Run(graph, "it:dev:int=1 [ +#a.b.c=(2015, 2016) +#a.x ]").error is None
    assert Run(graph, "movetag a.b n.b").prints == ["moved tags on 1 nodes."]
    run = Run(graph, "it:dev:int=1 $lib.print($node.tags()) $lib.print(#n.b.c)")
    assert run.prints == [
        "['a', 'a.x', 'n', 'n.b', 'n.b.c']",
        "(1420070400000, 1451606400000)",
    ]
    assert Run(graph, "syn:tag=n.b $lib.print(:title)").prints == ["words"]
    assert Run(graph, "it:dev:int=2 [ +#a.b.z ] $lib.print($node.tags())").prints == ["['n', 'n.b', 'n.b.z']"]


@pytest.mark.parametrize(("old", "new"), [("none", "x"), ("a.b", "a.b"), ("a", "a.b"), ("n", "a")])
def test_movetag_refuses(old: str, new: str, graph: Engine) -> None:
    assert Run(graph, "it:dev:int=1 [ +#a.b +#m ] | spin | movetag m n").error is None
    assert Run(graph, "movetag a n").error is None
    assert Run(graph, f"movetag {old} {new}").error == "BadOperArg"


def test_tag_prune_leaves_no_empty_branch(graph: Engine) -> None:
    assert Run(graph, "it:dev:int=1 [ +#a.b.c +#a.d +#e.f ]").error is None
    run = Run(graph, "it:dev:int=1 | tag.prune a.b.c e.f nosuch | $lib.print($node.tags())")
    assert run.prints == ["['a', 'a.d']"]


def test_once_passes_a_node_once_for_each_name(graph: Engine) -> None:
    assert Run(graph, "it:dev:int | once one").nodes == [1, 2, 3]
    assert Run(graph, "it:dev:int | once one").nodes == []
    assert Run(graph, "it:dev:int | once two").nodes == [1, 2, 3]
    assert Run(graph, 'it:dev:int | once one --asof "+1 hour"').nodes == [1, 2, 3]
    assert Run(graph, "it:dev:int | once one --asof nope").error == "BadArg"


def test_help_finds_commands_and_libraries(engine: Engine) -> None:
    run = Run(engine, "help")
    listed = {line.partition(":")[0].strip() for line in run.prints}
    assert {spec.name for spec in COMMANDS} <= listed
    assert any(line.startswith("limit") for line in Run(engine, "help lim").prints)
    assert Run(engine, "help nosuch").prints == ['No commands found matching "nosuch"']
    assert "$lib.str.join(sepr, items)" in Run(engine, "help $lib.str").prints
    assert "print(mesg, **kwargs)" in Run(engine, "help $lib.print").prints


def test_sleep_waits(graph: Engine) -> None:
    run = Run(
        graph,
        "$start=$lib.time.now() it:dev:int | sleep 0.02 | spin | $lib.print(($lib.time.now() - $start >= 60))",
    )
    assert run.prints == ["true"], run.message
