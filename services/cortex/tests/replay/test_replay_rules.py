"""What replay and roles rest on, case by case."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.errors import CellError, NoSuchLayer, NoSuchView, StorageCorrupt
from cellmesh.common.failpoints import failing
from cellmesh.cortex.layers.schema import NAMES
from cellmesh.cortex.values.changes import COMPRESSED_TYPE_NAME, TYPE_NAME, decode_record, encode_layer_edits
from cellmesh.cortex.values.edits import LayerEdits
from cellmesh.cortex.views.feed import FeedNode
from cellmesh.cortex.views.stacks import finish_removals, remove_layer, remove_view

sys.path.insert(0, str(Path(__file__).parent))
from replay_kit import Clock, Cortex, Follower, differences, following, leading

SCORE = "$lib.model.ext.addFormProp(inet:ipv4, _score, (int, ({})), ({}))"


def wait_for(cortex: Cortex) -> None:
    assert cortex.automation.executor.wait_idle(5)


def test_numbers_given_out_in_vain_are_not_replayed(tmp_path: Path) -> None:
    with leading(tmp_path / "a") as leader, following(leader, tmp_path / "b") as follower:
        leader.run_rolled_back("[ inet:ipv4=1.1.1.1 +#one +(lost)> {[ inet:asn=1 ]} ]")
        leader.run_rolled_back("[ ou:org=* +#two ]")
        leader.run("[ inet:ipv4=1.1.1.2 +#two ]")
        leader.run("[ inet:ipv4=1.1.1.3 +#one +(found)> {[ inet:asn=1 ]} ]")
        with leader.slab.view() as txn:
            numbers = {name: leader.graph.names.tags.find(txn, name) for name in ("one", "two")}
            assert txn.get(NAMES, b"vlost") is None
        # The first was chosen first and stored last.
        assert numbers == {"one": 1, "two": 2}
        follower.check()


def test_a_name_stored_in_an_op_that_failed_is_stored_by_the_next(tmp_path: Path) -> None:
    with leading(tmp_path) as leader:
        graph = leader.graph

        def broken(txn: Any) -> None:
            graph.names.tags.ensure(txn, "a")
            raise OSError("the disk")

        with graph.begin() as session, pytest.raises((OSError, CellError)):
            session.write_op(broken)
        assert graph.names.stored == graph.names.fresh == []
        leader.run("[ inet:ipv4=1.1.1.1 +#b ]")
        with graph.slab.view() as txn:
            assert txn.get(NAMES, b"ta") is None
        leader.run("inet:ipv4 [ +#a ]")
        with graph.slab.view() as txn:
            assert txn.get(NAMES, b"ta") is not None


def test_the_nid_sequence_does_not_tell_of_what_was_rolled_back(tmp_path: Path) -> None:
    with leading(tmp_path / "a") as leader, following(leader, tmp_path / "b") as follower:
        leader.run("[ inet:ipv4=1.1.1.1 ]")
        leader.run("inet:ipv4=1.1.1.1 | delnode")
        leader.run_rolled_back("[ inet:ipv4=1.1.1.2 inet:ipv4=1.1.1.3 ]")
        with leader.graph.begin() as session:
            session.feed([FeedNode("inet:ipv4", "1.1.1.1")])
            session.sync()
        follower.check()


def test_a_change_of_the_model_that_is_rolled_back_is_taken_back(tmp_path: Path) -> None:
    with leading(tmp_path / "a") as leader, following(leader, tmp_path / "b") as follower:
        leader.run("[ inet:ipv4=1.1.1.1 ]")
        leader.run_rolled_back(SCORE)
        assert leader.graph.before_op is None
        assert leader.run("inet:ipv4 [ :_score=3 ]")[-1] == "NoSuchProp"
        leader.run(SCORE)
        leader.run("inet:ipv4 [ :_score=3 ]")
        follower.check(["inet:ipv4:_score=3"])


def test_edits_after_a_rollback_find_the_model_put_back(tmp_path: Path) -> None:
    with leading(tmp_path / "a") as leader, following(leader, tmp_path / "b") as follower:
        leader.run("[ inet:ipv4=1.1.1.1 ]")
        with leader.graph.begin() as session:
            # The query that extends the model has not yet learned that its transaction is gone.
            extensions = leader.stores.extensions.extensions

            def op(txn: Any) -> None:
                extensions.add_prop("inet:ipv4", "_score", ("int", {}), {})
                leader.stores.extensions.watch(txn, b"never stored")
                txn.touched = True
                raise OSError("the disk")

            with pytest.raises((OSError, CellError)):
                session.write_op(op)
        assert leader.graph.model.prop("inet:ipv4:_score") is not None
        with leader.graph.begin() as session:
            # Made ready with the property, and made ready anew without it.
            result = session.feed([FeedNode("inet:ipv4", "1.1.1.2", {"_score": 5})])
            session.sync()
        assert [reject.error.name for reject in result.rejects] == ["NoSuchProp"]
        assert leader.graph.model.prop("inet:ipv4:_score") is None
        follower.check()


def test_the_model_of_a_follower_changes_with_the_log(tmp_path: Path) -> None:
    with leading(tmp_path / "a") as leader, following(leader, tmp_path / "b") as follower:
        leader.run(f"[ inet:ipv4=1.1.1.1 ] {SCORE} [ :_score=3 ]")
        leader.run("$lib.model.ext.delFormProp(inet:ipv4, _score, force=(true))")
        leader.run("[ inet:ipv4=1.1.1.2 ]")
        leader.run("$lib.model.ext.addFormProp(inet:ipv4, _score, (str, ({})), ({}))")
        leader.run("inet:ipv4=1.1.1.2 [ :_score=high ]")
        # All in one batch: each edit is indexed by the model of its time.
        records = leader.records(0, 1000)
        follower.cortex.replay.apply(records)
        assert differences(leader.slab, follower.cortex.slab) == []
        assert (
            len(follower.cortex.run("inet:ipv4:_score=high")) == len(leader.run("inet:ipv4:_score=high")) > 0
        )


def test_a_batch_that_fails_leaves_the_follower_as_it_was(tmp_path: Path) -> None:
    with leading(tmp_path / "a") as leader, following(leader, tmp_path / "b") as follower:
        leader.run("[ inet:ipv4=1.1.1.1 +#a ]")
        follower.follow_all()
        before = follower.cortex.run("inet:ipv4")
        leader.run(f"{SCORE} $lib.view.get().fork() [ inet:ipv4=1.1.1.2 +#new ]")
        records = leader.records(follower.offset, 1000)
        with failing("slab_before_commit", "error"), pytest.raises(CellError):
            follower.cortex.replay.apply(records)
        cortex = follower.cortex
        assert cortex.run("inet:ipv4") == before
        assert cortex.graph.model.prop("inet:ipv4:_score") is None
        assert len(cortex.graph.views) == 1
        follower.check()


def test_numbers_that_clash_are_corrupt(tmp_path: Path) -> None:
    with leading(tmp_path / "a") as leader, following(leader, tmp_path / "b") as follower:
        leader.run("[ inet:ipv4=1.1.1.1 +#a ]")
        follower.follow_all()
        layer = leader.graph.default_view.layers[0]
        payload = encode_layer_edits(LayerEdits(layer.id, (), names=((3, "zz", 1),)))
        with leader.slab.session() as session:
            session.write(
                lambda txn: leader.graph.log.append(
                    txn, time_us=1, actor="", type_name=TYPE_NAME, payload=payload
                )
            )
            session.sync()
        with pytest.raises(StorageCorrupt, match="number"):
            follower.cortex.replay.apply(leader.records(follower.offset, 10))


def test_records_hold_the_names_they_number_once(tmp_path: Path) -> None:
    with leading(tmp_path) as leader:
        leader.run("[ inet:ipv4=1.1.1.1 +#a ]")
        leader.run("[ inet:ipv4=1.1.1.2 +#a ]")
        records = [
            decode_record(one.type_name, one.payload)
            for one in leader.records(0, 100)
            if one.type_name in (TYPE_NAME, COMPRESSED_TYPE_NAME)
        ]
        names = [name for record in records for name in record.names]
        assert (3, "a", 1) in names
        assert len(names) == len(set(names))
        with leader.slab.view() as txn:
            assert len(names) == txn.entries(NAMES)


# Layers and views.


def test_a_layer_that_was_removed_takes_no_more_edits(tmp_path: Path) -> None:
    with leading(tmp_path / "a") as leader, following(leader, tmp_path / "b") as follower:
        graph = leader.graph
        fork = graph.fork(graph.default_view)
        with graph.begin(fork) as session:
            form = graph.model.require_form("inet:ipv4")
            session.feed([FeedNode("inet:ipv4", number) for number in range(100)])
            session.sync()
            remove_view(graph, fork)
            remove_layer(graph, fork.layers[0])
            with pytest.raises(NoSuchLayer):
                session.add_node(form, "1.2.3.4")
            with pytest.raises(NoSuchLayer):
                session.feed([FeedNode("inet:ipv4", 5)])
        with pytest.raises(NoSuchView):
            graph.fork(fork)
        with pytest.raises(NoSuchLayer):
            graph.add_view(fork.layers)
        with graph.slab.view() as txn:
            assert [key for key, _ in txn.scan(_nodes(), count_max=10).items] == []
        follower.check()


def test_a_removal_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    with leading(tmp_path / "a") as leader, following(leader, tmp_path / "b") as follower:
        graph = leader.graph
        fork = graph.fork(graph.default_view)
        with graph.begin(fork) as session:
            session.feed([FeedNode("inet:ipv4", number) for number in range(3000)])
            session.sync()
        remove_view(graph, fork)
        # The first transaction detaches the layer, the second begins to clear it, the third fails.
        with failing("slab_before_commit", "2>error"), pytest.raises(CellError):
            remove_layer(graph, fork.layers[0])
        assert fork.layers[0].id not in graph.layers
        follower.check()
        finish_removals(graph)
        with graph.slab.view() as txn:
            assert [key for key, _ in txn.scan(_nodes(), count_max=10).items] == []
        follower.check()


def _nodes() -> Any:
    from cellmesh.cortex.layers.schema import NODES

    return NODES


# Automation.


def test_only_a_leader_runs_automation(tmp_path: Path) -> None:
    clock = Clock()
    with leading(tmp_path / "a", clock) as leader, following(leader, tmp_path / "b") as follower:
        leader.run("trigger.add node:add --form inet:ipv4 --query { [ +#seen ] }")
        leader.run("trigger.add node:add --async --form inet:ipv4 --query { [ +#later ] }")
        leader.run("cron.add --hour +1 { [ inet:asn=7 ] }")
        leader.run("$lib.dmon.add(${ [ inet:asn=8 ] $lib.time.sleep(60) }, name=d)")
        leader.run("[ inet:ipv4=1.1.1.1 ]")
        wait_until_there(leader, "inet:asn=8")
        leader.automation.suspend()
        follower.check()
        cortex = follower.cortex
        # It has the task, the due job and the daemon, and does nothing.
        cortex.automation.cron.now_s.now_s = clock.now_s + 7200  # type: ignore[attr-defined]
        assert cortex.automation.daemons.by_iden
        assert all(daemon.running is None for daemon in cortex.automation.daemons.by_iden.values())
        follower.reopen()
        cortex = follower.cortex
        cortex.automation.cron.now_s.now_s = clock.now_s + 7200  # type: ignore[attr-defined]
        asyncio.run(cortex.automation.start())
        assert cortex.run("inet:asn=7") == []
        # Now it leads: what was left is done once.
        asyncio.run(cortex.automation.role_changed(True))
        asyncio.run(cortex.automation.role_changed(True))
        wait_until_there(cortex, "inet:asn=7")
        wait_until_there(cortex, "inet:ipv4 +#later")
        [job] = cortex.automation.cron.by_iden.values()
        assert job.row["startcount"] == 1
        assert list(cortex.graph.edit_watchers)
        asyncio.run(cortex.automation.role_changed(False))
        assert cortex.automation.executor.wait_idle(0.1)


def wait_until_there(cortex: Cortex, query: str) -> None:
    from time import monotonic, sleep

    end = monotonic() + 5
    while not cortex.run(query):
        assert monotonic() < end, f"{query} gives nothing"
        sleep(0.01)


def test_a_cron_job_that_a_suspension_kept_from_starting_is_left_to_the_next_leader(tmp_path: Path) -> None:
    clock = Clock()
    with leading(tmp_path, clock) as leader:
        leader.run("cron.add --hour +1 { [ inet:asn=7 ] }")
        [job] = leader.automation.cron.by_iden.values()
        due_s = job.row["nexttime"]
        clock.now_s += 7200
        leader.automation.executor.stop()
        leader.automation.cron.start_due()
        assert (job.row["nexttime"], job.row["isrunning"], job.row["startcount"]) == (due_s, False, 0)
        leader.automation.executor.reopen()
        leader.automation.cron.start_due()
        wait_for(leader)
        assert job.row["startcount"] == 1
        assert leader.run("inet:asn=7")


def test_a_leader_that_was_a_follower_writes_on(tmp_path: Path) -> None:
    with leading(tmp_path / "a") as first:
        first.run("[ inet:ipv4=1.1.1.1 +#a ]")
        first.run(SCORE)
        second = Follower(first, tmp_path / "b", 1)
        second.follow_all()
        asyncio.run(second.cortex.automation.role_changed(True))
        second.cortex.run("[ inet:ipv4=1.1.1.2 :_score=4 +#b +#a ]")
        second.cortex.automation.suspend()
        with following(second.cortex, tmp_path / "c") as third:
            third.check(["inet:ipv4:_score=4"])
        second.close()


def test_an_empty_follower_has_no_view_yet(tmp_path: Path) -> None:
    cortex = Cortex(tmp_path, leads=False)
    try:
        with cortex.slab.view() as txn:
            assert cortex.graph.log.next_offset(txn) == 0
        with pytest.raises(NoSuchView):
            cortex.graph.view(None)
    finally:
        cortex.close()


@pytest.mark.parametrize(
    ("add", "edit", "has", "remove", "again"),
    [
        (
            "addFormProp(inet:ipv4, _score, ({0}, ({{}})), ({{}}))",
            ":_score={0}",
            ":_score",
            "delFormProp(inet:ipv4, _score, force=(true))",
            "inet:ipv4:_score",
        ),
        (
            "addUnivProp(_score, ({0}, ({{}})), ({{}}))",
            "._score={0}",
            "._score",
            "delUnivProp(_score, force=(true))",
            "inet:ipv4._score",
        ),
        (
            "addTagProp(score, ({0}, ({{}})), ({{}}))",
            "+#a.b:score={0}",
            "#a.b:score",
            "delTagProp(score, force=(true))",
            "#a.b:score",
        ),
    ],
)
def test_a_property_removed_by_force_leaves_nothing(
    tmp_path: Path, add: str, edit: str, has: str, remove: str, again: str
) -> None:
    with leading(tmp_path / "a") as leader, following(leader, tmp_path / "b") as follower:
        leader.run(f"$lib.model.ext.{add.format('int')}")
        leader.run(f"for $i in $lib.range(600) {{ [ inet:ipv4=$i {edit.format('$i')} ] }} | spin")
        leader.run(
            "$fork=$lib.view.get().fork().iden view.exec $fork { for $i in $lib.range(650, start=590) "
            f"{{ [ inet:ipv4=$i {edit.format('7')} ] }} | spin }}"
        )
        leader.run(f"$lib.model.ext.{remove}")
        leader.run(f"$lib.model.ext.{add.format('str')}")
        assert leader.run(f"inet:ipv4 +{has}") == []
        assert leader.run(again) == []
        leader.run(f"inet:ipv4=5 [ {edit.format('text')} ]")
        assert len(leader.run(again)) == 1
        leader.run(f"inet:ipv4=5 [ {edit.format('other')} -{has} ]")
        assert leader.run(again) == []
        follower.check()
