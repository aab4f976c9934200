"""One query, from its text to its end: made, run once in one of several ways, cancelled from any thread."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import Cancelled, CellError, StormRuntimeError
from cellmesh.cortex.storm.commands.graph import Picture, rules_of
from cellmesh.cortex.storm.compiler.core import Body
from cellmesh.cortex.storm.compiler.lifts import LiftOnce
from cellmesh.cortex.storm.planner.counting import (
    COUNT_COMMAND,
    count_from_index,
    counted_steps,
    is_quickly_counted,
)
from cellmesh.cortex.storm.planner.points import LAYER_COUNT_MAX, Point, find_point, read_point
from cellmesh.cortex.storm.runtime.budget import Budget
from cellmesh.cortex.storm.runtime.context import QueryRun, RunContext
from cellmesh.cortex.storm.runtime.faults import typed_error
from cellmesh.cortex.storm.runtime.messages import (
    Error,
    Fini,
    Init,
    Message,
    NodeRecords,
    NodeRow,
    Profiled,
    Warn,
)
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.plan import Profile
from cellmesh.cortex.storm.runtime.rights import Rights, rights_of
from cellmesh.cortex.storm.runtime.signals import LoopSignal, StormExit, StormReturn, StormSignal, StormStop
from cellmesh.cortex.storm.runtime.values import toprim
from cellmesh.cortex.storm.runtime.valuing import plain_value
from cellmesh.cortex.views.lifts import LiftedNodes

if TYPE_CHECKING:
    from cellmesh.cortex.storm.engine import Compiled, Engine
    from cellmesh.cortex.views.graph import Graph
    from cellmesh.cortex.views.node import Node
    from cellmesh.cortex.views.session import GraphSession
    from cellmesh.cortex.views.view import View


COUNTED_TEXT_SIZE_MAX: Final = 256
"""Characters of a text that is looked at to tell whether it asks for a number only: parsing it takes little, too."""


class Running:
    """One query: made, run once in one of three ways, cancelled from any thread.

    Attributes:
        task_id: 32 hexadecimal digits.
        text: The query.
        options: How it runs.
        began_s: When it began, in seconds since 1970; 0 before that.
    """

    def __init__(
        self,
        engine: Engine,
        text: str,
        options: QueryOptions,
        first: Callable[[GraphSession], None] | None = None,
    ) -> None:
        self._first = first
        self.task_id = os.urandom(16).hex()
        self._engine = engine
        self.text = text
        self.options = options
        self.began_s = 0.0
        self._budget: Budget | None = None
        self._session: GraphSession | None = None
        self._is_cancelled = False
        self._profile: Profile | None = None
        self._profiled: Compiled | None = None
        self._is_looked_at = False
        self._found: Point | None = None

    @property
    def edit_count(self) -> int:
        """Node edits made so far; any thread may ask."""
        session = self._session
        return 0 if session is None else session.edit_count

    def cancel(self) -> None:
        """Make the query end with Cancelled at its next row."""
        self._is_cancelled = True
        if self._budget is not None:
            self._budget.cancel()

    def pause(self) -> None:
        """Let go of what others may wait for: to be called, on the query's own thread, before blocking."""
        if self._session is not None:
            self._session.pause()
        self._let_others()

    def is_point(self) -> bool:
        """Whether it looks up one node by its value."""
        return self._point() is not None

    def is_quick(self, *, by_call: bool = False) -> bool:
        """Whether running it here costs less than on another thread.

        It looks up one node by its value, or asks for a number that an index has.

        Args:
            by_call: Whether its nodes are to be counted: else it has a `| count` of its own.
        """
        return (not by_call and self._point() is not None) or self._is_quickly_counted(by_call)

    def _is_quickly_counted(self, by_call: bool) -> bool:
        options, text, engine = self.options, self.text, self._engine
        if len(text) > COUNTED_TEXT_SIZE_MAX or not (by_call or text.rstrip().endswith(COUNT_COMMAND)):
            return False
        if self._first is not None or options.mode != "storm" or options.ndefs or options.idens:
            return False
        if options.limit or options.profile:
            return False
        try:
            operations = engine.prepare(text, options.mode, options.vars).query.operations
            if not by_call:
                size = counted_steps(operations)
                if not size or size + 1 != len(operations):
                    return False
                operations = operations[:size]
            with engine.graph.begin(
                engine.graph.view(options.view), user=options.user, readonly=True
            ) as session:
                # What counts is run by itself then, and counts again: a few keys, for the way all queries go.
                return is_quickly_counted(session, operations)
        except CellError:
            return False

    def _point(self) -> Point | None:
        if not self._is_looked_at:
            self._is_looked_at = True
            self._found = self._find_point()
        return self._found

    def _find_point(self) -> Point | None:
        options = self.options
        if self._first is not None or options.mode != "storm" or options.ndefs or options.idens:
            return None
        graph = self._engine.graph
        try:
            if len(graph.view(options.view).layers) > LAYER_COUNT_MAX:
                return None
        except CellError:
            return None
        return find_point(self.text, graph.model, options.vars)

    # Ways to run ---------------------------------------------------------------------------------------------

    def messages(self) -> Iterator[Message]:
        """Run it for its messages."""
        held: deque[Message] = deque()
        for message in self._messages(held.append):
            while held:
                yield held.popleft()
            yield message

    def send_to(self, send: Callable[[Message], None], *, takes_records: bool = False) -> None:
        """Run it, handing each message to a function as it arises.

        Args:
            send: The function.
            takes_records: Whether nodes may come as NodeRecords, which only a query gives that is one lift.
        """
        for message in self._messages(send, takes_records):
            send(message)

    def value(self, send: Callable[[Message], None] | None = None) -> Any:
        """Run it for the value it returns; what it prints meanwhile goes to a function, or nowhere."""
        with self._begin() as session:
            try:
                compiled = self._prepare()
                run = self._run(session, send or _drop)
                context = RunContext(run, dict(self.options.vars))
                if self.options.ndefs or self.options.idens:
                    return toprim(_value_of_rows(compiled.body, context, self._inbound(context)))
                return toprim(compiled.body.value(context))
            except StormExit:
                return None
            except Exception as error:
                raise self._surfaced(error) from error
            finally:
                self._let_others()
                session.sync()

    def count(self) -> int:
        """Run it for the number of its nodes."""
        with self._begin() as session:
            try:
                compiled = self._prepare()
                run = self._run(session, _drop)
                options = self.options
                if not options.limit and not options.ndefs and not options.idens and options.mode == "storm":
                    found = count_from_index(session, compiled.query.operations)
                    if found is not None:
                        return found
                return sum(1 for _ in self._rows(compiled, RunContext(run, dict(options.vars))))
            except StormExit:
                return 0
            except Exception as error:
                raise self._surfaced(error) from error
            finally:
                self._let_others()
                session.sync()

    def point_records(self) -> list[bytes] | None:
        """Answer it, if it looks up one node: the nodes as serialized. None if it is to be run for its messages.

        That is so if an option asks for more than the nodes, or there is an error to tell.
        """
        point, options, engine = self._point(), self.options, self._engine
        if point is None or self._is_cancelled or _asks_for_more(options):
            return None
        graph = engine.graph
        try:
            view = graph.view(options.view)
            if not options.has_all_rights:
                _confirm_view(rights_of(engine, options.user), graph, view)
            found = read_point(graph, view, point)
        except CellError:
            return None
        return None if found is None or len(found) > engine.limits.row_count_max else found

    # Parts -----------------------------------------------------------------------------------------------------

    def _messages(self, emit: Callable[[Message], None], takes_records: bool = False) -> Iterator[Message]:
        """Yield Init, nodes, Error and Fini; other messages go to `emit` as they arise."""
        started = time.monotonic()
        show = self.options.show
        shown = emit if not show else _filtered(emit, show)
        is_node_shown = not show or "node" in show
        count = 0
        is_ended = False
        yield Init(self.task_id, self.text, int(time.time() * 1000))
        try:
            with self._begin() as session:
                try:
                    if self._first is not None:
                        if self._is_cancelled:
                            raise Cancelled("the query was stopped")
                        self._first(session)
                    compiled = self._prepare_profiled() if self.options.profile else self._prepare()
                    context = RunContext(self._run(session, shown), dict(self.options.vars))
                    lift = self._only_lift(compiled, context) if takes_records and is_node_shown else None
                    begun, blocks = None, None
                    if lift is not None:
                        found = lift.found(context)
                        begun, blocks = lift.rows(context, found), _blocks(context, found)
                    if blocks is not None:
                        for records in self._within_budget(blocks):
                            count += len(records)
                            yield NodeRecords(records)
                    else:
                        for path in self._rows(compiled, context, begun):
                            count += 1
                            if is_node_shown:
                                yield self._row(path)
                except StormExit as signal:
                    if signal.message:
                        shown(Warn(signal.message))
                except (
                    CellError,
                    StormSignal,
                    RecursionError,
                    MemoryError,
                    ArithmeticError,
                    UnicodeError,
                ) as error:
                    yield Error(self._surfaced(error))
                self._let_others()
                session.sync()
                if self._profiled is not None:
                    yield Profiled(
                        self._engine.plan_of(self._profiled, self.text, self.options, self._profile)
                    )
                is_ended = True
                yield Fini(count, time.monotonic() - started, session.edit_count)
        except Exception as error:  # noqa: BLE001  the last place where it can become a message
            # Outside of the session, which has taken back what was not yet durable.
            surfaced = self._surfaced(error)
            if not is_ended:
                yield Error(surfaced)
        finally:
            self._let_others()
        if not is_ended:
            yield Fini(count, time.monotonic() - started, 0)

    def _surfaced(self, error: Exception) -> CellError:
        """Return the error that leaves the query, with its place."""
        if isinstance(error, StormSignal):
            return typed_error(_misplaced(error).with_traceback(error.__traceback__), self.task_id)
        return typed_error(error, self.task_id)

    def _let_others(self) -> None:
        if self._budget is not None:
            self._budget.let_others()

    @contextmanager
    def _begin(self) -> Iterator[GraphSession]:
        options = self.options
        graph = self._engine.graph
        self.began_s = time.time()
        with graph.begin(graph.view(options.view), user=options.user, readonly=options.readonly) as session:
            self._session = session
            self._engine.note_begin(self)
            try:
                yield session
            finally:
                self._engine.note_end(self)

    def _prepare(self) -> Compiled:
        return self._engine.prepare(self.text, self.options.mode, self.options.vars)

    def _prepare_profiled(self) -> Compiled:
        self._profile = Profile()
        options = self.options
        compiled = self._engine.prepare_profiled(self.text, options.mode, options.vars, self._profile)
        self._profiled = compiled
        return compiled

    def _run(self, session: GraphSession, emit: Callable[[Message], None]) -> QueryRun:
        limits = self._engine.limits.within(self.options)
        self._budget = session.budget = Budget(limits, session, self._engine.turns)
        if self._is_cancelled:
            self._budget.cancel()
        run = QueryRun(self._engine, session, self.options, self._budget, emit)
        _confirm_view(run.rights, self._engine.graph, session.view)
        return run

    def _rows(
        self, compiled: Compiled, context: RunContext, begun: Iterator[Path] | None = None
    ) -> Iterator[Path]:
        """The query's rows; those of a lift that has begun already, if it is no more."""
        options = self.options
        if begun is not None:
            rows = begun
        elif options.ndefs or options.idens:
            rows = compiled.body.rows(context, self._inbound(context))
        else:
            rows = compiled.body.rows_of_none(context)
        rows = _projected(context, rows)
        limit = options.limit
        if not limit:
            return rows
        return _limited(rows, limit)

    def _only_lift(self, compiled: Compiled, context: RunContext) -> LiftOnce | None:
        """The lift that the query is, if it is no more and its nodes are wanted as they are stored."""
        options = self.options
        if options.ndefs or options.idens or options.limit or options.path or options.repr or options.profile:
            return None
        step = compiled.body.only_operation()
        return step if isinstance(step, LiftOnce) else None

    def _within_budget(self, blocks: Iterator[list[bytes]]) -> Iterator[list[bytes]]:
        """Yield blocks of records, each counted, as far as the rows that the query may go through."""
        budget = self._budget
        assert budget is not None, "made with the run"
        for records in blocks:
            count = len(records)
            room = budget.room(count)
            if room < count:
                if room > 0:
                    yield records[:room]
                budget.tick_many(count)
            elif count:
                budget.tick_many(count)
                yield records

    def _inbound(self, context: RunContext) -> Iterator[Path]:
        session = context.session
        for form_name, value in self.options.ndefs:
            node = session.node(context.model.require_form(form_name), value)
            if node is not None:
                yield Path(node, context.snapshot())
        for iden in self.options.idens:
            node = session.node_by_iden(iden)
            if node is not None:
                yield Path(node, context.snapshot())

    def _row(self, path: Path) -> NodeRow:
        extra: dict[str, Any] | None = None
        if path.meta:
            extra = {name: toprim(value) for name, value in path.meta.items()}
        if self.options.path:
            extra = {**_plain_vars(path.vars), **(extra or {})}
        return NodeRow(path.node, extra)


def _blocks(context: RunContext, found: Iterator[Node]) -> Iterator[list[bytes]] | None:
    """The nodes of a lift as blocks of records, if they can be had and no picture is to grow from them."""
    if context.run.projection is not None or not isinstance(found, LiftedNodes):
        return None
    return found.records()


def _asks_for_more(options: QueryOptions) -> bool:
    """Whether an option asks for anything but nodes, or bounds the query."""
    return bool(
        options.limit
        or options.repr
        or options.show
        or options.path
        or options.profile
        or options.time_limit_s is not None
        or options.row_limit
        or options.memory_limit
        or options.depth_limit
    )


def _confirm_view(rights: Rights | None, graph: Graph, view: View) -> None:
    """Raise AuthDeny unless a view may be read."""
    if rights is not None:
        rights.confirm(("view", "read"), str(view.id), default=view.id == graph.default_view.id)


def _value_of_rows(body: Body, context: RunContext, rows: Iterator[Path]) -> Any:
    try:
        for _ in body.rows(context, rows):
            pass
    except StormReturn as signal:
        return signal.value
    return None


def _projected(context: RunContext, rows: Iterator[Path]) -> Iterator[Path]:
    """Yield rows, or the picture that grows from them if the query has asked for one by when its first row comes."""
    for first in rows:
        if context.run.projection is None:
            yield first
            yield from rows
        else:
            rules = rules_of(context.run.projection)
            yield from Picture(context, rules).grow(chain((first,), rows))
        return


def _plain_vars(vars: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables that have a plain form."""
    found: dict[str, Any] = {}
    for name, value in vars.items():
        try:
            found[name] = plain_value(value)
        except CellError:
            continue
    return found


def _limited(rows: Iterator[Path], limit: int) -> Iterator[Path]:
    for count, path in enumerate(rows, 1):
        yield path
        if count >= limit:
            return


def _drop(message: Message) -> None:
    """Take a message that nobody asked for."""


def _filtered(emit: Callable[[Message], None], show: frozenset[str]) -> Callable[[Message], None]:
    names = {"print": "Print", "warn": "Warn", "fire": "Fire", "csv": "CsvRow"}
    kept = {names[kind] for kind in show if kind in names}

    def send(message: Message) -> None:
        if type(message).__name__ in kept:
            emit(message)

    return send


def _misplaced(signal: StormSignal) -> CellError:
    if isinstance(signal, StormReturn):
        return StormRuntimeError("return stands outside of a function in a query that is run for its nodes")
    if isinstance(signal, LoopSignal):
        return StormRuntimeError(f"{signal.statement} stands outside of a loop", statement=signal.statement)
    if isinstance(signal, StormStop):
        return StormRuntimeError("stop stands outside of a generator function", statement="stop")
    return StormRuntimeError("a statement stands where it cannot be used")
