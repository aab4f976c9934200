"""Triggers: queries that run when edits of a view meet a condition.

A trigger runs inside the query that made the edit, in the same session: it sees the edit, and its own edits become
durable with it. Triggers run one after the other, in the order of the edits and then in the order they were made; an
error in one is noted in it and stops neither the others nor the query. An asynchronous one leaves a task that is
stored with the edit and run by the executor.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import (
    BadArg,
    BadOptValu,
    Cancelled,
    CellError,
    DupIden,
    LimitExceeded,
    SchemaViolation,
    StorageAborted,
    StorageFull,
)
from cellmesh.common.hashing import guid
from cellmesh.common.storage import WriteTxn
from cellmesh.common.storage.codecs import UINT64
from cellmesh.cortex.automation.changes import delete_task, log_change, put_task
from cellmesh.cortex.automation.schema import TRIGGER_TASKS, TRIGGERS
from cellmesh.cortex.automation.store import (
    Definition,
    DefinitionStore,
    Write,
    check_iden,
    missing,
    new_iden,
)
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.records import Record, node_head
from cellmesh.cortex.storm.runtime.budget import Budget
from cellmesh.cortex.storm.runtime.context import QueryRun, RunContext
from cellmesh.cortex.storm.runtime.messages import Message
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.signals import StormExit, StormReturn, StormSignal
from cellmesh.cortex.values.edits import (
    EdgeAdd,
    EdgeDelete,
    NodeAdd,
    NodeDelete,
    NodeEdit,
    NodeEdits,
    PropDelete,
    PropSet,
    TagDelete,
    TagSet,
)
from cellmesh.cortex.values.ids import ViewId, buid_of
from cellmesh.cortex.values.wire import decode_plain, encode_value
from cellmesh.cortex.views.node import Node

if TYPE_CHECKING:
    from cellmesh.cortex.storm.engine import Engine
    from cellmesh.cortex.views.graph import Graph
    from cellmesh.cortex.views.session import GraphSession

NEEDED: Final = {
    "node:add": "form",
    "node:del": "form",
    "prop:set": "prop",
    "tag:add": "tag",
    "tag:del": "tag",
    "edge:add": "verb",
    "edge:del": "verb",
}
"""Conditions, and the field that each needs."""

CHANGEABLE: Final = frozenset({"name", "doc", "enabled", "storm", "async", "user"})
ERRORS_KEPT: Final = 5
TAGS_KNOWN_MAX: Final = 10_000

_FORM: Final = re.compile(r"[a-z][a-z0-9_]*(:[a-z0-9_]+)+")
_PROP: Final = re.compile(r"[a-z][a-z0-9_]*(:[a-z0-9_]+)+(\.[a-z0-9_:]+)?|\.[a-z][a-z0-9_:]*")
_TAG: Final = re.compile(r"(\w+|\*\*?)(\.(\w+|\*\*?))*")
_PATTERNS: Final = {"form": _FORM, "n2form": _FORM, "prop": _PROP, "tag": _TAG}
_KEPT: Final = ("cond", "form", "tag", "prop", "verb", "n2form")
_FATAL: Final = (Cancelled, LimitExceeded, StorageAborted, StorageFull)
"""Errors that are the query's own, whichever trigger they come up in."""


@dataclass(slots=True, eq=False)
class Trigger:
    """A trigger and how its runs went since the cell started.

    Attributes:
        row: The definition as stored; replaced as a whole, never changed.
    """

    row: Definition
    start_count: int = 0
    error_count: int = 0
    errors: deque[str] = field(default_factory=lambda: deque(maxlen=ERRORS_KEPT))

    @property
    def iden(self) -> str:
        """32 hexadecimal digits."""
        return str(self.row["iden"])

    @property
    def view(self) -> ViewId:
        """The view whose edits it watches."""
        return ViewId(self.row["view"])


def glob(pattern: str, *, is_tag: bool) -> Callable[[str], bool]:
    """Return what tells whether a name matches: in tags `*` stands for one level and `**` for any."""
    if "*" not in pattern:
        return pattern.__eq__
    parts = re.split(r"(\*\*|\*)", pattern)
    one = "[^.]+" if is_tag else ".*"
    stands = {"**": ".+" if is_tag else ".*", "*": one}
    compiled = re.compile("".join(stands.get(part, re.escape(part)) for part in parts))
    return lambda name: compiled.fullmatch(name) is not None


class ViewTriggers:
    """The enabled triggers of one view, found by what an edit does. Made anew when any of them changes."""

    def __init__(self, triggers: Iterable[Trigger]) -> None:
        self._exact: dict[tuple[str, str], list[Trigger]] = {}
        self._globs: dict[str, list[tuple[Callable[[str], bool], Trigger]]] = {}
        self._known: dict[tuple[str, str], list[Trigger]] = {}
        for trigger in triggers:
            row = trigger.row
            condition = row["cond"]
            wanted = row[NEEDED[condition]]
            if condition in ("node:add", "node:del", "prop:set"):
                self._exact.setdefault((condition, wanted), []).append(trigger)
            else:
                test = glob(wanted, is_tag=condition.startswith("tag:"))
                self._globs.setdefault(condition, []).append((test, trigger))

    def exact(self, condition: str, name: str) -> Sequence[Trigger]:
        """Return the triggers of a condition for a form or property."""
        return self._exact.get((condition, name), ())

    def matching(self, condition: str, name: str) -> Sequence[Trigger]:
        """Return the triggers of a condition whose pattern a tag or verb matches."""
        globs = self._globs.get(condition)
        if globs is None:
            return ()
        key = (condition, name)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= TAGS_KNOWN_MAX:
                self._known.clear()
            found = self._known[key] = [trigger for test, trigger in globs if test(name)]
        return found


class Triggers:
    """All triggers of the cell. May be used from many threads.

    Args:
        graph: The graph; its `edit_watchers` are kept up to date.
        on_task: Called when a transaction may have left a task; from the thread of the query.

    They are active wherever a session can edit. At a follower none can: the records of its leader have what triggers
    did there, and make no session.
    """

    def __init__(self, graph: Graph, on_task: Callable[[], None]) -> None:
        self._graph = graph
        self._store = DefinitionStore(graph, TRIGGERS)
        self._on_task = on_task
        self._lock = Lock()
        self._by_iden: dict[str, Trigger] = {}
        self._by_view: dict[ViewId, ViewTriggers] = {}
        self._engine: Engine | None = None

    def load(self, engine: Engine) -> None:
        """Read the stored triggers, and run them with an engine from now on."""
        self._engine = engine
        for row in self._store.load():
            self._by_iden[row["iden"]] = Trigger(row)
        with self._lock:
            for view in {trigger.view for trigger in self._by_iden.values()}:
                self._renew(view)

    # Definitions -----------------------------------------------------------------------------------------------

    @property
    def by_iden(self) -> dict[str, Trigger]:
        """The triggers by iden, a dict of its own, in the order they were made."""
        with self._lock:
            return dict(self._by_iden)

    def of_view(self, view: str | None) -> list[Trigger]:
        """Return the triggers of a view, or of all, in the order they were made."""
        return [found for found in self.by_iden.values() if view is None or found.row["view"] == view]

    def get(self, iden: str) -> Trigger:
        """Return a trigger by iden.

        Raises:
            NoSuchIden: there is none.
        """
        found = self._by_iden.get(iden)
        if found is None:
            raise missing("trigger", iden)
        return found

    def add(self, write: Write, given: Mapping[str, Any], *, user: str, view: str) -> Trigger:
        """Make a trigger, durable on return.

        Raises:
            SchemaViolation, BadOptValu: the definition is wrong; BadSyntax: its query is.
            DupIden: the iden is taken. NoSuchIden: there is no such view.
        """
        row = self._checked(given)
        row["user"] = user
        row["view"] = given.get("view") or view
        if row["view"] not in self._graph.views:
            raise missing("view", str(row["view"]))
        row["iden"] = check_iden(given["iden"]) if given.get("iden") is not None else new_iden()
        if row["iden"] in self._by_iden:
            raise DupIden("there is a trigger of this iden", iden=row["iden"])
        row["created"] = self._graph.now_ms()
        row["number"] = len(self._by_iden)
        self._store.put(write, row, user)
        self.follow(row["iden"])
        return self.get(row["iden"])

    def set(self, write: Write, trigger: Trigger, name: str, value: Any, *, user: str) -> None:
        """Change a field, durable on return.

        Raises:
            BadArg: the field cannot be changed. BadSyntax: the new query is wrong.
        """
        if name not in CHANGEABLE:
            raise BadArg("this cannot be changed in a trigger", name=name)
        if name == "storm":
            self._require_engine().check(value)
        self._replace(write, trigger, {name: value}, user)

    def move(self, write: Write, trigger: Trigger, view: str, *, user: str) -> None:
        """Have a trigger watch another view.

        Raises:
            NoSuchView: there is none.
        """
        self._replace(write, trigger, {"view": self._graph.view(view).id}, user)

    def delete(self, write: Write, iden: str, *, user: str) -> None:
        """Remove a trigger."""
        self.get(iden)
        self._store.delete(write, iden, user)
        self.follow(iden)

    def follow(self, iden: str) -> None:
        """Bring memory in line with a stored trigger that was made, changed or removed."""
        with self._lock:
            row = self._store.find(iden)
            trigger = self._by_iden.get(iden)
            views = set() if trigger is None else {trigger.view}
            if row is None:
                self._by_iden.pop(iden, None)
            elif trigger is None:
                self._by_iden[iden] = Trigger(row)
            else:
                trigger.row = row
            if row is not None:
                views.add(ViewId(row["view"]))
            for view in views:
                self._renew(view)

    def _replace(self, write: Write, trigger: Trigger, changes: Mapping[str, Any], user: str) -> None:
        self._store.update(write, trigger.iden, changes, user)
        self.follow(trigger.iden)

    def _renew(self, view: ViewId) -> None:
        """Find the triggers of a view by what they watch, and watch it; called with the lock."""
        active = [found for found in self._by_iden.values() if found.view == view and found.row["enabled"]]
        if active:
            self._by_view[view] = ViewTriggers(active)
            self._graph.edit_watchers[view] = self.on_edits
        else:
            self._by_view.pop(view, None)
            self._graph.edit_watchers.pop(view, None)

    def resume(self) -> None:
        """Remove triggers of views that are gone: the cell ended, or its leader did, between the two."""
        for trigger in self.by_iden.values():
            if trigger.view not in self._graph.views:
                self.delete_of_view(trigger.view, user=trigger.row["user"])

    def delete_of_view(self, view: str, *, user: str) -> None:
        """Remove the triggers of a view that is gone; on a thread that has no query open, or has paused it."""
        for trigger in self.of_view(view):
            self._store.delete(self._store.write_alone, trigger.iden, user)
            self.follow(trigger.iden)

    def _require_engine(self) -> Engine:
        assert self._engine is not None, "the triggers are not loaded"
        return self._engine

    def _checked(self, given: Mapping[str, Any]) -> Definition:
        row: Definition = {}
        condition = given.get("cond", given.get("condition"))
        storm = given.get("storm")
        if condition is None or "storm" not in given:
            raise SchemaViolation("a trigger needs a condition and a query", name="data")
        if condition not in NEEDED:
            raise SchemaViolation("there is no such condition", name="data.cond", valu=condition)
        if given.get(NEEDED[condition]) is None:
            raise SchemaViolation(f"{condition} needs a {NEEDED[condition]}", name="data")
        row["cond"], row["storm"] = condition, storm
        for name in ("form", "tag", "prop", "verb", "n2form"):
            value = given.get(name)
            if value is None:
                continue
            if name == "tag" and isinstance(value, str):
                value = value.removeprefix("#")
            pattern = _PATTERNS.get(name)
            if not isinstance(value, str) or (pattern is not None and not pattern.fullmatch(value)):
                raise SchemaViolation(f"this is no {name}", name=f"data.{name}", valu=value)
            row[name] = value
        for name, kind in (("storm", str), ("name", str), ("doc", str), ("enabled", bool), ("async", bool)):
            if name in given and not isinstance(given[name], kind):
                raise SchemaViolation(f"{name} has the wrong type", name=f"data.{name}", valu=given[name])
        self._require_engine().check(row["storm"])
        for name, prefix in (("tag", "tag:"), ("prop", "prop:")):
            if name in row and not condition.startswith(prefix):
                raise BadOptValu(f"{condition} takes no {name}", name=name)
        if condition == "prop:set" and "form" in row:
            raise BadOptValu("prop:set takes no form: the name of a property tells it", name="form")
        row["async"], row["enabled"] = given.get("async", False), given.get("enabled", True)
        row.update({name: given[name] for name in ("name", "doc") if name in given})
        return row

    # Running ---------------------------------------------------------------------------------------------------

    def on_edits(self, session: GraphSession, changed: Sequence[NodeEdits]) -> None:
        """Run what some edits of a session set off; called when they are applied, between ops."""
        watched = self._by_view.get(session.view.id)
        if watched is None:
            return
        for edits in changed:
            for edit in edits.edits:
                self._on_edit(session, watched, edits, edit)

    def _on_edit(
        self, session: GraphSession, watched: ViewTriggers, edits: NodeEdits, edit: NodeEdit
    ) -> None:
        form = edits.form
        match edit:
            case NodeAdd():
                self._fire(session, watched.exact("node:add", form), edits, {})
            case NodeDelete():
                self._fire(session, watched.exact("node:del", form), edits, {})
            case PropSet(name=name) | PropDelete(name=name):
                full = f"{form}{name}" if name.startswith(".") else f"{form}:{name}"
                found = list(watched.exact("prop:set", full))
                if name.startswith("."):
                    found += watched.exact("prop:set", name)
                self._fire(session, found, edits, {"propname": name, "propfull": full})
            case TagSet(name=tag):
                self._fire(session, watched.matching("tag:add", tag), edits, {"tag": tag})
            case TagDelete(name=tag):
                self._fire(session, watched.matching("tag:del", tag), edits, {"tag": tag})
            case EdgeAdd(verb=verb, to_nid=nid):
                self._edge(session, watched.matching("edge:add", verb), edits, verb, nid)
            case EdgeDelete(verb=verb, to_nid=nid):
                self._edge(session, watched.matching("edge:del", verb), edits, verb, nid)
            case _:
                pass

    def _edge(
        self, session: GraphSession, found: Sequence[Trigger], edits: NodeEdits, verb: str, nid: int
    ) -> None:
        if not found:
            return
        key = keys.pack_nid(nid)
        form = session.form_of_key(key).name
        others = session.nodes_by_nid((nid,))
        options = {"verb": verb, "n2iden": others[0].iden if others else None}
        self._fire(session, [t for t in found if t.row.get("n2form", form) == form], edits, options)

    def _fire(
        self, session: GraphSession, found: Sequence[Trigger], edits: NodeEdits, options: dict[str, Any]
    ) -> None:
        for trigger in found:
            if trigger.row.get("form", edits.form) != edits.form:
                continue
            given = {**options, "form": edits.form, "valu": edits.value}
            if trigger.row["async"]:
                self._leave_task(session, trigger, edits, given)
            else:
                self._run(session, trigger, edits, given)

    def _run(
        self, session: GraphSession, trigger: Trigger, edits: NodeEdits, options: dict[str, Any]
    ) -> None:
        engine = self._require_engine()
        row = trigger.row
        budget = session.budget or Budget(engine.limits, session)
        variables: dict[str, Any] = {"auto": automatic(engine, trigger, options)}
        if "tag" in options:
            variables["tag"] = options["tag"]
        nodes = session.nodes_by_nid((edits.nid,))
        node = nodes[0] if nodes else former_node(session, edits)
        acting, session.user = session.user, row["user"]
        previous, session.budget = session.budget, budget
        trigger.start_count += 1
        try:
            budget.tick()
            budget.enter()
            try:
                compiled = engine.prepare(row["storm"], "storm", variables)
                run = QueryRun(engine, session, QueryOptions(user=row["user"]), budget, _drop)
                context = RunContext(run, variables)
                for _ in compiled.body.rows(context, iter((Path(node, context.snapshot()),))):
                    pass
            finally:
                budget.leave()
        except (StormExit, StormReturn):
            pass
        except _FATAL:
            raise
        except (CellError, StormSignal, RecursionError) as error:
            trigger.error_count += 1
            name = error.name if isinstance(error, CellError) else type(error).__name__
            trigger.errors.append(f"{name}: {error}")
        finally:
            session.user, session.budget = acting, previous

    # Tasks -----------------------------------------------------------------------------------------------------

    def _leave_task(
        self, session: GraphSession, trigger: Trigger, edits: NodeEdits, options: dict[str, Any]
    ) -> None:
        task = encode_value(
            {
                "trigger": trigger.iden,
                "view": str(session.view.id),
                "nid": edits.nid,
                "form": edits.form,
                "value": edits.value,
                "options": options,
            }
        )

        time_us = self._graph.now_ms() * 1000

        def op(txn: WriteTxn) -> None:
            last = txn.last(TRIGGER_TASKS)
            number = 0 if last is None else UINT64.decode(last[0]) + 1
            log_change(self._graph, txn, put_task(number, task), session.user, time_us)

        session.write_op(op)
        self._on_task()

    def run_task(self) -> bool:
        """Run the oldest task that is committed; whether there was one.

        Its removal comes first, in one transaction with its first edits. So it is never run twice, and one that fits
        a transaction is done or still there, whenever the cell ends.
        """
        with self._graph.slab.view() as txn:
            first = txn.first(TRIGGER_TASKS)
        if first is None:
            return False
        key, data = first
        task = decode_plain(data)
        trigger = self._by_iden.get(task["trigger"])
        view = self._graph.views.get(ViewId(task["view"]))
        if trigger is None or view is None:
            self._graph.slab.write(lambda txn: self._drop_task(txn, key, ""))
            return True
        with self._graph.begin(view, user=trigger.row["user"]) as session:
            edits = NodeEdits(task["nid"], task["form"], task["value"], ())
            session.write_op(lambda txn: self._drop_task(txn, key, session.user))
            try:
                self._run(session, trigger, edits, dict(task["options"]))
            except (Cancelled, LimitExceeded) as error:
                trigger.error_count += 1
                trigger.errors.append(f"{error.name}: {error}")
            session.sync()
        return True

    def _drop_task(self, txn: WriteTxn, key: bytes, user: str) -> None:
        if txn.has(TRIGGER_TASKS, key):
            change = delete_task(UINT64.decode(key))
            log_change(self._graph, txn, change, user, self._graph.now_ms() * 1000)


def automatic(engine: Engine, trigger: Trigger, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variable `$auto` of a run."""
    opts = {**options, "user": user_iden(engine, trigger.row["user"])}
    return {"opts": opts, "iden": trigger.iden, "type": "trigger"}


def former_node(session: GraphSession, edits: NodeEdits) -> Node:
    """Return a node that is gone: with its value, without properties and tags."""
    head = node_head(edits.form, edits.value, buid_of(edits.form, edits.value))
    return Node(session, keys.pack_nid(edits.nid), Record(head).node_bytes(), session.generation)


def user_iden(engine: Engine, user: str) -> str:
    """Return the iden of a user; one made of the name where the cell keeps no users."""
    known = engine.graph.model.iden_of("user", user)
    return known if known is not None else guid(["user", user])


def _drop(message: Message) -> None:
    """Nobody listens to what a trigger prints."""
