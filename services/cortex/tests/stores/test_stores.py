"""What a Cortex keeps beside the graph: through queries, over reopening, and replayed from the change log."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.changelog import DATABASES as LOG_DATABASES
from cellmesh.common.changelog import ChangeLog
from cellmesh.common.errors import CellError
from cellmesh.common.storage import Slab
from cellmesh.cortex.layers.schema import DATABASES
from cellmesh.cortex.model import Model
from cellmesh.cortex.stores.changes import TYPE_NAME, apply_record
from cellmesh.cortex.stores.schema import DATABASES as STORE_DATABASES
from cellmesh.cortex.stores.stores import Stores
from cellmesh.cortex.storm.commands import COMMANDS
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.library import LIBRARIES
from cellmesh.cortex.storm.primitives import TYPES
from cellmesh.cortex.storm.runtime.messages import Print
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cellmesh.cortex.views.graph import Graph

ALL = (*DATABASES, *STORE_DATABASES, *LOG_DATABASES)


@contextmanager
def opened(folder: Path) -> Iterator[Engine]:
    """Give an engine on the graph in a folder, as a cell puts it together."""
    with Slab.open(folder, ALL, sync=False) as slab:
        graph = Graph.open(slab, Model.load())
        yield Engine(graph, COMMANDS, LIBRARIES, TYPES, Stores.open(graph).capabilities())


def error_of(engine: Engine, text: str) -> str:
    with pytest.raises(CellError) as caught:
        engine.call(text)
    return caught.value.name


MAKE = """
$lib.globals.set(answer, ({"n": 42}))
$lib.macro.set(tagit, ${ [ +#by.macro ] })
$q=$lib.queue.add(work) $q.puts((a, b, c)) $q.cull(0)
$lib.model.ext.addForm(_corp:asset, str, ({}), ({"doc": "An asset."}))
$lib.model.ext.addFormProp(inet:ipv4, _score, (int, ({})), ({}))
$lib.model.ext.addEdge(*, _owns, *, ({}))
$lib.model.tags.set(adv, regex, ($lib.null, "[0-9]{3}"))
$lib.model.deprecated.lock(edge:refs, (true))
$lib.user.vars.set(color, blue)
$lib.user.profile.set(size, (5))
$lib.jsonstor.set(a/b, ({"c": 1}))
$lib.vault.add(keys, feed, global, $lib.null, ({"key": "s3cret"}), ({"url": "u"}))
"""
LOOK = """
return((
    $lib.globals.list(), $lib.macro.get(tagit).storm, $lib.queue.get(work).size(), $lib.queue.get(work).pop(),
    $lib.model.tags.list(), $lib.model.deprecated.locks()."edge:refs", $lib.model.ext.getExtModel()
))
"""


def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        engine.call(MAKE)
        extensions = engine.call("return($lib.model.ext.getExtModel())")
    with opened(tmp_path) as engine:
        variables, macro, size, item, tags, locked, extensions_after = engine.call(LOOK)
        assert [list(pair) for pair in variables] == [["answer", {"n": 42}]]
        assert macro.strip() == "[ +#by.macro ]"
        assert (size, list(item)) == (2, [1, "b"])
        assert [tag for tag, _ in tags] == ["adv"]
        assert locked is True
        assert extensions_after == extensions
        assert (
            engine.count(
                "[ _corp:asset=x ] | spin | [ inet:ipv4=1.2.3.4 :_score=5 <(_owns)+ { _corp:asset=x } ]"
            )
            == 1
        )
        assert error_of(engine, "[ inet:asn=5 +#adv.x20 ]") == "BadTypeValu"
        assert error_of(engine, "[ edge:refs=((inet:asn, 1), (inet:asn, 2)) ]") == "IsDeprLocked"
        assert engine.call("inet:ipv4=1.2.3.4 | macro.exec tagit | return($node.tags())") == [
            "by",
            "by.macro",
        ]


def test_change_records_make_the_same_rows(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as engine:
        engine.call(MAKE)
        engine.call("$lib.globals.pop(answer) $lib.macro.del(tagit) $lib.queue.del(work)")
        slab = engine.graph.slab
        records = [one for one in ChangeLog(slab).read(0).records if one.type_name == TYPE_NAME]
        before = rows(slab)
    assert len(records) >= 9
    with Slab.open(tmp_path / "b", ALL, sync=False) as copy:
        for record in records:
            copy.write(lambda txn, record=record: apply_record(txn, record))
        assert rows(copy) == before


def rows(slab: Slab) -> dict[str, list[tuple[bytes, bytes]]]:
    with slab.view() as txn:
        return {db.name: list(txn.scan(db, count_max=10_000).items) for db in STORE_DATABASES}


def test_a_read_only_query_changes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        for text in ("$lib.globals.set(a, b)", "$lib.queue.add(q)", "macro.set m { inet:ipv4 }"):
            with pytest.raises(CellError) as caught:
                engine.call(text, QueryOptions(readonly=True))
            assert caught.value.name == "IsReadOnly"
        assert engine.call("return($lib.globals.list())") == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("$q.puts((a, b, c)) return(($q.get(0), $q.get(5, wait=(false)), $q.size()))", [[0, "a"], None, 0]),
        ("return(($q.put(a), $q.put(b), $q.puts((c, d))))", [0, 1, 2]),
        ("$q.puts((a, b)) $q.pop() $q.put(c) return($q.pop(2))", [2, "c"]),
        ("$q.puts((a, b)) $q.cull(-1) return(($q.size(), $q.pop(7)))", [2, None]),
        ("$q.puts($lib.range(2500)) $q.cull(2400) return($q.size())", 99),
        (
            "$q.puts((a, b, c)) $o=([]) for ($i, $x) in $q.gets(1, wait=(false), size=1) { $o.append($x) } return($o)",
            ["b"],
        ),
        ("$lib.queue.del(q) return($lib.queue.gen(q).put(x))", 0),
    ],
)
def test_queues(tmp_path: Path, text: str, wanted: Any) -> None:
    with opened(tmp_path) as engine:
        found = engine.call(f"$q=$lib.queue.add(q) {text}")
        assert plain(found) == wanted


def plain(value: Any) -> Any:
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def test_errors_of_the_stores(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        assert error_of(engine, "$lib.queue.add(q) $lib.queue.add(q)") == "DupName"
        assert error_of(engine, "return($lib.queue.get(nope))") == "NoSuchName"
        assert error_of(engine, "$lib.macro.del(nope)") == "NoSuchName"
        assert error_of(engine, '$lib.macro.set(m, "inet:ipv4 [")') == "BadSyntax"
        assert error_of(engine, "$lib.model.tags.set(foo, zork, (2))") == "SchemaViolation"
        assert error_of(engine, "$lib.model.deprecated.lock(nope, (true))") == "NoSuchProp"
        assert error_of(engine, "$lib.model.edge.set(refs, doc, x)") == "NoSuchName"
        assert error_of(engine, "$lib.model.ext.addForm(bad, str, ({}), ({}))") == "BadFormDef"


def test_tags_are_pruned(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        text = "$lib.model.tags.set(no.more, prune, (2)) [ inet:asn=5 +#no.more.foo.bar +#no.less ]"
        assert engine.call(f"{text} [ -#no.more.foo.bar ] return($node.tags())") == ["no", "no.less"]
        kept = "[ inet:asn=6 +#no.more.a +#no.more.b ] [ -#no.more.a ] return($node.tags())"
        assert engine.call(kept) == ["no", "no.more", "no.more.b"]


WORKER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_stores import ALL, Engine, Graph, Model, Slab, Stores, COMMANDS, LIBRARIES, TYPES

with Slab.open(Path(sys.argv[1]), ALL) as slab:
    graph = Graph.open(slab, Model.load())
    engine = Engine(graph, COMMANDS, LIBRARIES, TYPES, Stores.open(graph).capabilities())
    engine.call("$lib.queue.add(q)")
    count = 0
    while True:
        text = "$q=$lib.queue.get(q) $q.put($n) $lib.globals.set(n, $n) if ($n > 2) { $q.cull(($n - 3)) }"
        engine.call(f"$n=({count}) {text}")
        print(count, flush=True)
        count += 1
"""


def test_nothing_acknowledged_is_lost_by_a_kill(tmp_path: Path) -> None:
    """Each query puts an item, sets a variable and culls: after SIGKILL all of the last one is there."""
    script = textwrap.dedent(WORKER)
    worker = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    acknowledged = -1
    for line in worker.stdout:
        acknowledged = int(line)
        if acknowledged >= 40:
            break
    worker.kill()
    rest = worker.stdout.read().split()
    worker.wait()
    acknowledged = int(rest[-1]) if rest else acknowledged
    with opened(tmp_path) as engine:
        last = engine.call("return($lib.globals.get(n))")
        items = engine.call(
            "$o=([]) for ($i, $x) in $lib.queue.get(q).gets(wait=(false)) { $o.append($i) } return($o)"
        )
    assert last in (acknowledged, acknowledged + 1)
    # A query of which only a part was committed when the process ended may have put without culling.
    assert items[-1] in (last, last + 1)
    assert items[0] in (last - 2, last - 3)


KEPT = """
return(($lib.user.vars.list(), $lib.user.profile.get(size), $lib.jsonstor.get(a/b, c), $lib.vault.bytype(feed).secrets))
"""


def test_what_users_keep_is_there_after_reopening(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        engine.call(MAKE)
    with opened(tmp_path) as engine:
        variables, size, value, secrets = engine.call(KEPT)
        assert [list(pair) for pair in variables] == [["color", "blue"]]
        assert (size, value, secrets) == (5, 1, {"key": "s3cret"})


def test_a_printed_vault_shows_no_secrets(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        engine.call(MAKE)
        messages = engine.storm("$v=$lib.vault.byname(keys) $lib.print($v) $lib.vault.print($v)")
        shown = [message.text for message in messages if isinstance(message, Print)]
        assert "  Configs:" in shown
        assert not any("s3cret" in line for line in shown)


def test_paths_of_the_json_store_below_each_other(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        engine.call("$lib.jsonstor.set(a, 1) $lib.jsonstor.set((a, 'b/c'), 2) $lib.jsonstor.set(ab, 3)")
        found = engine.call(
            "$o=([]) for ($p, $v) in $lib.jsonstor.iter(a) { $o.append(($p, $v)) } return($o)"
        )
        assert [(list(path), value) for path, value in found] == [([], "1"), (["b/c"], "2")]
        everything = engine.call("$o=([]) for ($p, $v) in $lib.jsonstor.iter() { $o.append($p) } return($o)")
        assert [list(path) for path in everything] == [["a"], ["a", "b/c"], ["ab"]]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("$lib.vault.add(keys, other, global, $lib.null, ({}), ({}))", "DupName"),
        ("$lib.vault.add(more, feed, global, $lib.null, ({}), ({}))", "DupName"),
        ("$lib.vault.add(more, feed, user, $lib.null, ({}), ({}))", "BadArg"),
        ("$lib.vault.add(more, feed, all, $lib.user.iden, ({}), ({}))", "SchemaViolation"),
        ("$lib.vault.byname(none)", "NoSuchName"),
        ("$lib.vault.get($lib.guid())", "NoSuchIden"),
        ("$v=$lib.vault.byname(keys) $v.secrets=x", "BadArg"),
    ],
)
def test_vaults_that_cannot_be(tmp_path: Path, text: str, name: str) -> None:
    with opened(tmp_path) as engine:
        engine.call(MAKE)
        assert error_of(engine, text) == name


def test_graph_projections(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        made = engine.call('return($lib.graph.add(({"name": "near", "degrees": 2, "pivots": ["-> *"]})))')
        assert (made["degrees"], made["scope"], made["edgelimit"]) == (2, "user", 3000)
        options = QueryOptions(vars={"iden": made["iden"]})
        engine.call(
            "$lib.graph.mod($iden, ({'name': 'far'})) $lib.graph.grant($iden, roles, $iden, (2))", options
        )
    with opened(tmp_path) as engine:
        found = engine.call("return($lib.graph.get($iden))", options)
        assert (found["name"], found["permissions"]["roles"]) == ("far", {made["iden"]: 2})
        engine.call("$lib.graph.revoke($iden, roles, $iden)", options)
        assert [known["name"] for known in engine.call("return($lib.graph.list())")] == ["far"]
        engine.call("$lib.graph.del($iden)", options)
        assert error_of(engine, "$lib.graph.get(none)") == "NoSuchIden"
        assert error_of(engine, "$lib.graph.mod(none, ({'name': 'x'}))") == "NoSuchIden"
        assert error_of(engine, "$lib.graph.add(({'name': 'x', 'zork': 1}))") == "SchemaViolation"
        assert error_of(engine, "$lib.graph.add(({'degrees': 1}))") == "SchemaViolation"
        assert error_of(engine, "$lib.graph.add(({'name': 'x', 'pivots': ['| |']}))") == "BadSyntax"
