"""Triggers: what sets them off, what they see, and what becomes of their errors."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cellmesh.common.errors import (
    BadOptValu,
    BadSyntax,
    DupIden,
    NoSuchIden,
    SchemaViolation,
    StormRuntimeError,
)
from cellmesh.cortex.automation.changes import TYPE_NAME as CHANGE_TYPE
from cellmesh.cortex.automation.triggers import glob
from cellmesh.cortex.views.feed import FeedNode
from cellmesh.cortex.views.stacks import remove_view

sys.path.insert(0, str(Path(__file__).parent))
from automation_kit import Bench, open_bench, wait_until


def tags(bench: Bench, text: str) -> list[str]:
    """Return the sorted tags of one node."""
    return sorted(bench.call(f"{text} return($node.tags())"))


def add(bench: Bench, condition: str, **fields: object) -> str:
    """Make a trigger, return its iden."""
    given = {"condition": condition, **fields}
    found: str = bench.call("return($lib.trigger.add($given).iden)", given=given)
    return found


def test_conditions(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        add(bench, "node:add", form="inet:asn", storm="[ +#added ]")
        add(bench, "prop:set", prop="inet:asn:name", storm="[ +#named ]")
        add(bench, "tag:add", tag="foo.*", storm="[ +#t.$tag ]")
        add(bench, "tag:del", tag="foo.**", storm="[ +#gone ]")
        add(bench, "edge:add", verb="r*", n2form="inet:fqdn", storm="[ +#edged ]")
        add(bench, "edge:del", verb="refs", storm="[ +#unedged ]")
        bench.run("[ inet:asn=1 ]")
        assert tags(bench, "inet:asn=1") == ["added"]
        bench.run("inet:asn=1 [ :name=x ]")
        assert "named" in tags(bench, "inet:asn=1")
        bench.run("inet:asn=1 [ -#named :name=x ]")
        assert "named" not in tags(bench, "inet:asn=1")
        bench.run("inet:asn=1 [ +#foo.bar ]")
        assert "t.foo.bar" in tags(bench, "inet:asn=1")
        bench.run("inet:asn=1 [ +(refs)> { [ inet:ipv4=1.2.3.4 ] } ]")
        assert "edged" not in tags(bench, "inet:asn=1")
        bench.run("inet:asn=1 [ +(refs)> { [ inet:fqdn=a.com ] } ]")
        assert "edged" in tags(bench, "inet:asn=1")
        bench.run("inet:asn=1 [ -(refs)> { inet:fqdn=a.com } -#foo.bar ]")
        assert {"unedged", "gone"} <= set(tags(bench, "inet:asn=1"))


def test_deleted_node_shows_its_value(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        add(bench, "node:del", form="inet:asn", storm="[ inet:ipv4=$node.value() ]")
        bench.run("[ inet:asn=7 +#x ] | delnode")
        assert bench.run("inet:ipv4") == [7]


def test_a_trigger_may_delete_what_set_it_off(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        add(bench, "node:add", form="inet:asn", storm="delnode")
        add(bench, "node:add", form="inet:asn", storm="[ inet:ipv4=1 ]")
        bench.run("[ inet:asn=7 ]")
        assert bench.run("inet:asn inet:ipv4") == [1]


def test_errors_are_noted_and_stop_nothing(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        bad = add(bench, "node:add", form="inet:asn", storm="$lib.raise(Foo, bar)")
        add(bench, "node:add", form="inet:asn", storm="[ +#after ]")
        assert bench.run("[ inet:asn=7 inet:asn=8 ]") == [7, 8]
        assert tags(bench, "inet:asn=8") == ["after"]
        row = bench.call("return($lib.trigger.get($bad).pack())", bad=bad)
        assert (row["startcount"], row["errcount"], len(row["lasterrs"])) == (2, 2, 2)


def test_endless_chains_end(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        iden = add(bench, "node:add", form="inet:asn", storm="[ inet:asn=$($node.value() + 1) ]")
        assert bench.run("[ inet:asn=1 ]")[0] == 1
        assert 10 < bench.engine.count("inet:asn") <= 200
        assert bench.call("return($lib.trigger.get($iden).errcount)", iden=iden) >= 1


def test_disabled_changed_moved_deleted(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        iden = add(bench, "node:add", form="inet:asn", storm="[ +#one ]")
        bench.run("trigger.disable $iden", iden=iden)
        bench.run("[ inet:asn=1 ]")
        bench.run("trigger.enable $iden", iden=iden)
        bench.run("trigger.mod $iden { [ +#two ] }", iden=iden[:8])
        bench.run("[ inet:asn=2 ]")
        fork = bench.graph.fork(bench.graph.default_view)
        bench.call("$lib.trigger.get($iden).move($view)", iden=iden, view=str(fork.id))
        bench.run("[ inet:asn=3 ]")
        assert [tags(bench, f"inet:asn={n}") for n in (1, 2, 3)] == [[], ["two"], []]
        assert bench.call("return($lib.len($lib.trigger.list()))") == 0
        assert bench.call("return($lib.len($lib.trigger.list(all=(true))))") == 1
        bench.run("trigger.del $iden", iden=iden)
        assert not bench.graph.edit_watchers
        with pytest.raises(StormRuntimeError):
            bench.run("trigger.del $iden", iden=iden)
        with pytest.raises(NoSuchIden):
            bench.call("return($lib.trigger.get($iden))", iden=iden)


def test_restart(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        iden = add(bench, "node:add", form="inet:asn", storm="[ +#kept ]", name="n")
        gone = add(bench, "node:add", form="inet:asn", storm="[ +#gone ]")
        bench.run("trigger.del $gone", gone=gone)
    with open_bench(tmp_path) as bench:
        bench.run("[ inet:asn=7 ]")
        assert tags(bench, "inet:asn=7") == ["kept"]
        assert bench.call("return($lib.trigger.get($iden).name)", iden=iden) == "n"
        types = [record.type_name for record in bench.graph.log.read(0).records]
        assert types.count(CHANGE_TYPE) == 3


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"condition": "node:add", "storm": ""}, SchemaViolation),
        ({"condition": "node:zork", "form": "inet:asn", "storm": ""}, SchemaViolation),
        ({"condition": "node:add", "form": "*", "storm": ""}, SchemaViolation),
        ({"condition": "tag:add", "tag": "a.b*", "storm": ""}, SchemaViolation),
        ({"condition": "node:add", "form": "inet:asn", "storm": "", "enabled": "foo"}, SchemaViolation),
        ({"condition": "node:add", "form": "inet:asn", "storm": "", "iden": "foo"}, SchemaViolation),
        ({"condition": "node:add", "form": "inet:asn", "storm": "[ "}, BadSyntax),
        ({"condition": "node:add", "form": "inet:asn", "tag": "x", "storm": ""}, BadOptValu),
        ({"condition": "node:add", "form": "inet:asn", "storm": "", "view": "zork"}, NoSuchIden),
    ],
)
def test_wrong_definitions(tmp_path: Path, fields: dict[str, object], error: type[Exception]) -> None:
    with open_bench(tmp_path) as bench:
        with pytest.raises(error):
            bench.call("return($lib.trigger.add($given).iden)", given=fields)
        assert bench.call("return($lib.len($lib.trigger.list()))") == 0


def test_iden_is_taken(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        iden = add(bench, "node:add", form="inet:asn", storm="", iden="0" * 32)
        with pytest.raises(DupIden):
            add(bench, "node:add", form="inet:asn", storm="", iden=iden)


def test_asynchronous(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        add(bench, "tag:add", tag="foo.*", storm="[ inet:asn=$node.value() +#t.$tag ]", **{"async": True})
        bench.run("[ inet:ipv4=7 +#foo.bar ]")
        assert bench.run("inet:asn") == []
    with open_bench(tmp_path) as bench:  # the task outlives the process
        assert bench.automation.triggers.run_task()
        assert not bench.automation.triggers.run_task()
        assert bench.run("inet:asn#t.foo.bar") == [7]
        bench.automation.executor.start("tasks", bench.automation._run_tasks, bench.automation._stop_tasks)
        bench.run("[ inet:ipv4=8 +#foo.bar ]")
        wait_until(lambda: bench.engine.count("inet:asn") == 2)


def test_feeds_set_triggers_off(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        add(bench, "node:add", form="inet:fqdn", storm="[ +#seen ]")
        add(bench, "tag:add", tag="foo.*", storm="[ +#tagged ]")
        batch = [FeedNode("inet:fqdn", f"n{n}.com", {}, {"foo.bar": None}) for n in range(20)]
        with bench.graph.begin() as session:
            result = session.feed(batch)
            assert result.rejects == []
            session.feed(batch)
            session.sync()
        assert bench.engine.count("inet:fqdn#tagged +#seen") == 20
        assert bench.engine.count("inet:fqdn=com +#seen") == 1
        row = bench.call("return($lib.trigger.list().0.pack())")
        assert row["startcount"] == 21  # the second feed changed nothing


def test_merging_sets_off_those_of_the_view_below(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        add(bench, "node:add", form="inet:asn", storm="[ +#added ]")
        add(bench, "tag:add", tag="mrg", storm="[ +#tagged ]")
        add(bench, "prop:set", prop="inet:asn:name", storm="[ +#named ]")
        bench.run("[ inet:asn=3 ]")
        fork = str(bench.call("return($lib.view.get().fork().iden)"))
        bench.run("view.exec $fork { [ inet:asn=1 :name=x inet:asn=2 inet:asn=3 +#mrg ] }", fork=fork)
        assert bench.run("inet:asn#mrg") == []
        bench.run("view.exec $fork { inet:asn=1 | merge --apply }", fork=fork)
        assert set(tags(bench, "inet:asn=1")) == {"added", "mrg", "named", "tagged"}
        bench.run("$lib.view.get($fork).merge()", fork=fork)
        assert set(tags(bench, "inet:asn=2")) == {"added", "mrg", "tagged"}
        assert set(tags(bench, "inet:asn=3")) >= {"mrg", "tagged"}


def test_globs() -> None:
    one, many = glob("foo.*", is_tag=True), glob("foo.**", is_tag=True)
    assert [one(tag) for tag in ("foo", "foo.bar", "foo.bar.baz", "fooo.bar")] == [False, True, False, False]
    assert [many(tag) for tag in ("foo", "foo.bar", "foo.bar.baz")] == [False, True, True]
    assert glob("a.*.c", is_tag=True)("a.b.c")
    assert not glob("a.*.c", is_tag=True)("a.b.b.c")
    assert glob("r*", is_tag=False)("refs")


def test_they_go_with_their_view(tmp_path: Path) -> None:
    tdef = '({"condition": "node:add", "form": "inet:asn", "storm": "[ +#t ]", "view": $v})'
    with open_bench(tmp_path) as bench:
        view = bench.call(f"$v=$lib.view.get().fork().iden $lib.trigger.add({tdef}) return($v)")
        assert bench.call("return($lib.len($lib.view.get($v).triggers))", v=view) == 1
        assert bench.call("return($lib.view.get($v).triggers.index(0).form)", v=view) == "inet:asn"
        assert bench.call("return($lib.len($lib.view.get().triggers))") == 0
        bench.run("view.del $v", v=view)
        assert bench.call("return($lib.len($lib.trigger.list(all=(true))))") == 0


def test_those_of_a_view_that_is_gone_are_removed(tmp_path: Path) -> None:
    tdef = '({"condition": "node:add", "form": "inet:asn", "storm": "[ +#t ]", "view": $v})'
    with open_bench(tmp_path) as bench:
        view = bench.call(f"$v=$lib.view.get().fork().iden $lib.trigger.add({tdef}) return($v)")
        # As if the process had ended behind the removal of the view.
        remove_view(bench.graph, bench.graph.view(view))
    with open_bench(tmp_path) as bench:
        assert bench.call("return($lib.len($lib.trigger.list(all=(true))))") == 1
        bench.automation.triggers.resume()
        assert bench.call("return($lib.len($lib.trigger.list(all=(true))))") == 0


def test_edits_given_to_a_view_set_them_off(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        add(bench, "node:add", form="inet:asn", storm="[ +#seen ]")
        bench.run(
            "$v=$lib.view.add(layers=($lib.layer.add().iden,)).iden view.exec $v { [ inet:asn=1 ] } | spin"
        )
        bench.call("""
            for $v in $lib.view.list() {
                $layer = $v.layers.0
                if ($layer.iden = $lib.layer.get().iden) { continue }
                for ($offset, $edits) in $layer.edits(wait=(false)) { $lib.view.get().addNodeEdits($edits) }
            }
            return()
        """)
        assert tags(bench, "inet:asn=1") == ["seen"]
