"""Random work on a Cortex, some of it rolled back; its log, replayed into an empty one, gives the same state."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.errors import CellError
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cellmesh.cortex.views.feed import FeedNode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from replay_kit import Cortex, following, leading

EXAMPLE_COUNT = int(os.environ.get("CELLMESH_REPLAY_EXAMPLES", "12"))

ADDRESS = st.sampled_from(["1.1.1.1", "1.1.1.2", "10.0.0.1"])
NUMBER = st.integers(1, 4)
TAG = st.sampled_from(["a", "a.b", "a.b.c", "b", "new.x", "new.y"])
WORD = st.sampled_from(["x", "y", "z"])

QUERIES = st.one_of(
    st.builds("[ inet:ipv4={} :asn={} ]".format, ADDRESS, NUMBER),
    st.builds("[ ou:org=(org, {}) :name={} :names=({}, {}) ]".format, NUMBER, WORD, WORD, WORD),
    st.builds("[ inet:dns:a=({}.com, {}) .seen=(2020, 2021) ]".format, WORD, ADDRESS),
    st.builds("inet:ipv4={} [ -:asn ]".format, ADDRESS),
    st.builds("inet:ipv4={} [ +#{} ]".format, ADDRESS, TAG),
    st.builds("inet:ipv4={} [ +#{}=(202{}, 2025) ]".format, ADDRESS, TAG, NUMBER),
    st.builds("inet:ipv4={} [ -#{} ]".format, ADDRESS, TAG),
    st.builds("inet:ipv4={} [ +#{}:score={} ]".format, ADDRESS, TAG, NUMBER),
    st.builds("inet:ipv4={} [ -#{}:score ]".format, ADDRESS, TAG),
    st.builds("inet:ipv4={} [ +({})> {{ inet:asn={} }} ]".format, ADDRESS, WORD, NUMBER),
    st.builds("inet:ipv4={} [ -({})> {{ inet:asn={} }} ]".format, ADDRESS, WORD, NUMBER),
    st.builds("inet:ipv4={} $node.data.set({}, ({{'b': {}, 'a': 'x'}}))".format, ADDRESS, WORD, NUMBER),
    st.builds("inet:ipv4={} $node.data.pop({})".format, ADDRESS, WORD),
    st.builds("inet:ipv4={} | delnode --force".format, ADDRESS),
    st.builds("inet:asn={} | delnode --force".format, NUMBER),
    st.builds("inet:asn={} [ :name=$lib.guid() +#{} ] $lib.raise(Oops, no)".format, NUMBER, TAG),
    st.builds("[ inet:ipv4=zzz inet:asn={} ]".format, NUMBER),
    st.builds("[ _corp:asset=a{} :_level={} ]".format, NUMBER, NUMBER),
    st.builds("inet:ipv4={} [ :_score={} ]".format, ADDRESS, NUMBER),
    st.builds("_corp:asset=a{} | delnode".format, NUMBER),
    # Model.
    st.just("$lib.model.ext.addTagProp(score, (int, ({})), ({}))"),
    st.just("$lib.model.ext.delTagProp(score)"),
    st.just("$lib.model.ext.addForm('_corp:asset', str, ({}), ({'doc': 'An asset.'}))"),
    st.just("$lib.model.ext.addFormProp('_corp:asset', _level, (int, ({})), ({'ro': true}))"),
    st.just("$lib.model.ext.delFormProp('_corp:asset', _level)"),
    st.just("$lib.model.ext.delForm('_corp:asset')"),
    st.just("$lib.model.ext.addFormProp(inet:ipv4, _score, (int, ({})), ({}))"),
    st.just("$lib.model.ext.addFormProp(inet:ipv4, _score, (str, ({})), ({}))"),
    st.just("$lib.model.ext.delFormProp(inet:ipv4, _score, force=$lib.true)"),
    st.just("$lib.model.ext.addUnivProp(_note, (str, ({})), ({}))"),
    st.just("$lib.model.ext.addEdge(inet:ipv4, _owns, *, ({'doc': 'x'}))"),
    st.builds("$lib.model.tags.set({}, prune, ({}))".format, TAG, NUMBER),
    st.builds("$lib.model.tags.del({})".format, TAG),
    # Stores.
    st.builds("macro.set m{} {{ inet:asn={} }}".format, NUMBER, NUMBER),
    st.builds("macro.del m{}".format, NUMBER),
    st.builds("$lib.queue.gen({}).put({})".format, WORD, NUMBER),
    st.builds("$lib.queue.gen({}).cull({})".format, WORD, NUMBER),
    st.builds("$lib.queue.gen({}).pop()".format, WORD),
    st.builds("$lib.queue.del({})".format, WORD),
    st.builds("$lib.globals.set({}, ([1, {}]))".format, WORD, NUMBER),
    st.builds("$lib.globals.pop({})".format, WORD),
    st.builds("$lib.user.vars.set({}, {})".format, WORD, NUMBER),
    st.builds("$lib.user.profile.pop({})".format, WORD),
    st.builds("$lib.jsonstor.set(p/{}, ({{'a': {}}}))".format, WORD, NUMBER),
    st.builds("$lib.jsonstor.set(p/{}, {}, prop=a)".format, WORD, NUMBER),
    st.builds("$lib.jsonstor.del(p/{})".format, WORD),
    st.builds("$lib.vault.add({}, t{}, global, $lib.null, ({{}}), ({{}}))".format, WORD, NUMBER),
    st.builds("for $v in $lib.vault.list() {{ $v.secrets.{}=x $v.name={} }}".format, WORD, WORD),
    st.builds("$lib.vault.byname({}).delete()".format, WORD),
    st.builds("$lib.pkg.add(({{'name': 'p{}', 'version': '0.0.{}'}}))".format, NUMBER, NUMBER),
    st.builds("$lib.pkg.del(p{})".format, NUMBER),
    st.builds("$lib.graph.add(({{'name': {}, 'degrees': {}}}))".format, WORD.map("'{}'".format), NUMBER),
    st.builds(
        "for $g in $lib.graph.list() {{ $lib.graph.mod($g.iden, ({{'degrees': {}}})) }}".format, NUMBER
    ),
    st.just("for $g in $lib.graph.list() { $lib.graph.del($g.iden) break }"),
    # Layers and views.
    st.builds("$lib.view.get().fork(name={})".format, WORD),
    st.just("for $v in $lib.view.list() { if $v.parent { $v.merge() } }"),
    st.just("for $v in $lib.view.list() { if $v.parent { $lib.view.del($v.iden) break } }"),
    st.builds("$lib.view.get().set(name, {})".format, WORD),
    st.builds("$lib.layer.get().set(name, {})".format, WORD),
    st.builds("$lib.layer.add(({{'name': {}}}))".format, WORD.map("'{}'".format)),
    st.just("for $l in $lib.layer.list() { $lib.layer.del($l.iden) break }"),
    st.just("for $l in $lib.layer.list() { try { $lib.layer.del($l.iden) } catch * as err { } }"),
    # Automation.
    st.builds(
        "trigger.add node:add --form inet:asn --query {{ [ +#auto.t{} ] }} --name {}".format, NUMBER, WORD
    ),
    st.builds("trigger.add tag:add --async --tag {} --query {{ [ inet:asn={} ] }}".format, TAG, NUMBER),
    st.just("for $t in $lib.trigger.list() { $t.set(enabled, $lib.false) break }"),
    st.just("for $t in $lib.trigger.list() { $lib.trigger.del($t.iden) break }"),
    st.builds("cron.add --hour +{} {{ [ inet:asn={} ] }}".format, NUMBER, NUMBER),
    st.just("for $c in $lib.cron.list() { $lib.cron.del($c.iden) break }"),
    st.just("for $c in $lib.cron.list() { $c.set(name, n) break }"),
    st.just("$lib.dmon.add(${ $lib.time.sleep(60) }, name=d)"),
    st.just("for $d in $lib.dmon.list() { $lib.dmon.del($d.iden) break }"),
)

RECORD = st.builds(
    FeedNode,
    st.just("inet:ipv4"),
    st.integers(0x01010100, 0x01010108),
    st.fixed_dictionaries({}, optional={"asn": NUMBER, "loc": WORD, "_score": NUMBER}),
    st.dictionaries(TAG, st.none() | st.just((1000, 2000)), max_size=2),
)

STEP = st.one_of(
    st.tuples(st.just("run"), QUERIES, NUMBER),
    st.tuples(st.just("run"), QUERIES, NUMBER),
    st.tuples(st.just("run"), QUERIES, NUMBER),
    st.tuples(st.just("roll back"), QUERIES, NUMBER),
    st.tuples(st.just("fail"), QUERIES, NUMBER),
    st.tuples(st.just("feed"), st.lists(RECORD, min_size=1, max_size=20), NUMBER),
    st.tuples(st.just("tasks"), st.none(), NUMBER),
    st.tuples(st.just("tick"), st.none(), NUMBER),
    st.tuples(st.just("follow"), st.none(), NUMBER),
)


def do(cortex: Cortex, kind: str, given: Any, number: int) -> None:
    """Do one step in one of the views."""
    views = list(cortex.graph.views)
    view = str(views[-1] if number > 2 else views[0])
    if kind == "run":
        cortex.run(given, QueryOptions(view=view))
    elif kind == "roll back":
        cortex.run_rolled_back(given)
    elif kind == "fail":
        # An op that fails after it has written takes all others of its transaction with it.
        with cortex.graph.begin(user="root") as session:
            fail(session)
            cortex.run(given, QueryOptions(view=view))
    elif kind == "feed":
        with cortex.graph.begin(cortex.graph.views[views[-1 if number > 2 else 0]]) as session:
            session.feed(given)
            session.sync()
    elif kind == "tasks":
        cortex.tasks()
    elif kind == "tick":
        clock = cortex.automation.cron.now_s
        clock.now_s += 3600 * number  # type: ignore[attr-defined]  # the test's own
        cortex.automation.cron.start_due()
        for job in cortex.automation.cron.by_iden.values():
            if job.work is not None and job.work.thread is not None:
                job.work.thread.join(5)


def fail(session: Any) -> None:
    names = session.graph.names

    def op(txn: Any) -> None:
        for kind in names.all:
            kind.ensure(txn, "gone")
            kind.ensure(txn, "new.x")
        raise OSError("the disk")

    with pytest.raises((OSError, CellError)):
        session.write_op(op)


START = (
    "[ inet:ipv4=1.1.1.1 :asn=1 ] $lib.model.ext.addTagProp(score, (int, ({})), ({}))"
    " $lib.model.ext.addFormProp(inet:ipv4, _score, (int, ({})), ({}))"
    " $lib.model.ext.addForm('_corp:asset', str, ({}), ({}))"
    " $lib.model.ext.addFormProp('_corp:asset', _level, (int, ({})), ({'ro': true}))"
)


@settings(
    max_examples=EXAMPLE_COUNT,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(steps=st.lists(STEP, min_size=10, max_size=50), seed=st.integers(0, 1000))
def test_a_replayed_log_gives_the_same_state(steps: list[tuple[str, Any, int]], seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with leading(place / "leader") as leader, following(leader, place / "follower", seed) as follower:
            leader.run(START)
            for kind, given_, number in steps:
                if kind == "follow":
                    follower.follow()
                else:
                    do(leader, kind, given_, number)
            assert leader.automation.executor.stop(5)
            follower.check()
