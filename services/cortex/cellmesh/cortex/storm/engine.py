"""The engine: takes the text of a query and gives its messages, its value, or its count.

Everything is synchronous; a query runs on the thread that goes through its messages.
"""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, CellError
from cellmesh.cortex.storm.compiler.core import Body
from cellmesh.cortex.storm.compiler.dispatch import compile_scope
from cellmesh.cortex.storm.compiler.explain import explain, query_notes
from cellmesh.cortex.storm.execution import Running
from cellmesh.cortex.storm.parser import parse_source
from cellmesh.cortex.storm.parser.ast import ParseMode, Query
from cellmesh.cortex.storm.planner.changes import ChangeRules
from cellmesh.cortex.storm.planner.purity import is_pure
from cellmesh.cortex.storm.rights.checks import CHECKS
from cellmesh.cortex.storm.rights.commands import guarded
from cellmesh.cortex.storm.runtime.interface import CommandSpec, LibrarySpec, TypeSpec
from cellmesh.cortex.storm.runtime.libraries import TypeTable, build_library
from cellmesh.cortex.storm.runtime.messages import Message
from cellmesh.cortex.storm.runtime.options import QueryLimits, QueryOptions
from cellmesh.cortex.storm.runtime.plan import Plan, Profile
from cellmesh.cortex.storm.runtime.queries import StormQuery
from cellmesh.cortex.storm.runtime.rights import rights_of
from cellmesh.cortex.storm.runtime.turns import Turns
from cellmesh.cortex.storm.source import Source

if TYPE_CHECKING:
    from cellmesh.cortex.views.graph import Graph
    from cellmesh.cortex.views.session import GraphSession

CACHED_QUERY_COUNT_MAX: Final = 1000
CACHED_TEXT_SIZE_MAX: Final = 16 * 1024
PARSED_QUERY_COUNT_MAX: Final = 64
"""Queries that were parsed to find out whether they change anything, and have not been run since."""

PYTHON_RECURSION_LIMIT: Final = 20_000
"""Python frames within each other: enough for the deepest query the limits allow."""

NO_OPTIONS: Final = QueryOptions()


class Compiled:
    """A parsed and compiled text."""

    __slots__ = ("body", "query")

    def __init__(self, query: Query, body: Body) -> None:
        self.query = query
        self.body = body


class Engine:
    """Runs queries on a graph. May be used from many threads at once.

    Args:
        graph: The graph.
        commands: The commands queries may use.
        libraries: What `$lib` has.
        types: How values behave.
        capabilities: What the cell provides to commands and libraries, by name.
        limits: Bounds on each query.
    """

    def __init__(
        self,
        graph: Graph,
        commands: Iterable[CommandSpec] = (),
        libraries: Iterable[LibrarySpec] = (),
        types: Iterable[TypeSpec] = (),
        capabilities: Mapping[str, object] | None = None,
        limits: QueryLimits | None = None,
    ) -> None:
        self.graph = graph
        self.commands: Mapping[str, CommandSpec] = {command.name: guarded(command) for command in commands}
        self.library = build_library(libraries, CHECKS)
        self.types = TypeTable(types, CHECKS)
        self.capabilities: Mapping[str, object] = capabilities if capabilities is not None else {}
        self.limits = limits if limits is not None else QueryLimits()
        self._cache: OrderedDict[tuple[str, str, frozenset[str]], Compiled] = OrderedDict()
        self._rules = ChangeRules(self.commands, self.library, self.types.all())
        self._changing: OrderedDict[tuple[str, str], bool] = OrderedDict()
        self._parsed: OrderedDict[tuple[str, str], Query] = OrderedDict()
        self._lock = Lock()
        self._running: dict[str, Running] = {}
        self.started_s = time.time()
        self.turns = Turns()
        sys.setrecursionlimit(max(sys.getrecursionlimit(), PYTHON_RECURSION_LIMIT))

    # Compiling ---------------------------------------------------------------------------------------------

    def prepare(self, text: str, mode: str = "storm", names: Iterable[str] = ()) -> Compiled:
        """Parse and compile a text, or take it from the cache.

        Raises:
            BadSyntax: it does not parse.
            NoSuchVar: it uses a variable that is set nowhere.
        """
        key = (text, mode, frozenset(names))
        with self._lock:
            found = self._cache.get(key)
            if found is not None:
                self._cache.move_to_end(key)
                return found
        source = Source(text)
        with self._lock:
            query = self._parsed.pop((text, mode), None)
        if query is None:
            query = parse_source(source, _mode(mode))
        compiled = Compiled(
            query, compile_scope(query, source, key[2], self.library, is_batched=is_pure(query))
        )
        if len(text) <= CACHED_TEXT_SIZE_MAX:
            with self._lock:
                self._cache[key] = compiled
                if len(self._cache) > CACHED_QUERY_COUNT_MAX:
                    self._cache.popitem(last=False)
        return compiled

    def prepare_profiled(self, text: str, mode: str, names: Iterable[str], profile: Profile) -> Compiled:
        """Parse and compile a text for one run that is measured; raises what `prepare` does."""
        source = Source(text)
        query = parse_source(source, _mode(mode))
        body = compile_scope(query, source, names, self.library, is_batched=is_pure(query), profile=profile)
        return Compiled(query, body)

    def plan(self, text: str, options: QueryOptions = NO_OPTIONS) -> Plan:
        """Return the plan of a query, which is not run.

        Raises:
            BadSyntax: it does not parse.
            NoSuchVar: it uses a variable that is set nowhere.
        """
        return self.plan_of(self.prepare(text, options.mode, options.vars), text, options, None)

    def plan_of(self, compiled: Compiled, text: str, options: QueryOptions, profile: Profile | None) -> Plan:
        """Return the plan of a compiled query, with what was counted in a run of it."""
        query = compiled.query
        is_batched = is_pure(query)
        steps = explain(
            query,
            Source(text),
            self.graph.model,
            names=tuple(options.vars),
            is_batched=is_batched,
            profile=profile,
        )
        may_change = self._rules.may_change(query)
        has_all_rights = options.has_all_rights or rights_of(self, options.user) is None
        notes = query_notes(
            self.limits.within(options),
            is_point=Running(self, text, options).is_point(),
            has_all_rights=has_all_rights,
            may_change=may_change,
        )
        return Plan(steps, may_change, is_batched, tuple(notes))

    def compile(self, text: str, mode: str, names: Iterable[str]) -> Body:
        """Parse and compile a text that a running query gave."""
        source = Source(text)
        query = parse_source(source, _mode(mode))
        return compile_scope(query, source, names, self.library)

    def compile_query(self, query: StormQuery, names: Iterable[str]) -> Body:
        """Compile an embedded query, once for each set of variables it meets."""
        if query.query is None:
            return self.compile(query.text, "storm", names)
        key = frozenset(names)
        found = query.compiled.get(key)
        if found is None:
            source = query.source if query.source is not None else Source(query.text)
            found = query.compiled[key] = compile_scope(
                query.query, source, key, self.library, profile=query.profile
            )
        return found

    def may_change(self, text: str, mode: str = "storm") -> bool:
        """Whether a query may change anything; see `planner.changes`. One that does not parse changes nothing.

        Cheap for a text asked for before. What is parsed for it is parsed for the query itself.
        """
        key = (text, mode)
        with self._lock:
            found = self._changing.get(key)
            if found is not None:
                self._changing.move_to_end(key)
                return found
        if len(text) > CACHED_TEXT_SIZE_MAX:
            # This is asked where nothing may take long.
            return True
        try:
            query = parse_source(Source(text), _mode(mode))
        except CellError:
            return False
        changes = self._rules.may_change(query)
        with self._lock:
            self._changing[key] = changes
            if len(self._changing) > CACHED_QUERY_COUNT_MAX:
                self._changing.popitem(last=False)
            if not changes:
                self._parsed[key] = query
                if len(self._parsed) > PARSED_QUERY_COUNT_MAX:
                    self._parsed.popitem(last=False)
        return changes

    def check(self, text: str, mode: str = "storm") -> bool:
        """Check that a text is a query; returns whether it may change anything. Raises BadSyntax."""
        return self._rules.may_change(parse_source(Source(text), _mode(mode)))

    # Running -----------------------------------------------------------------------------------------------

    @property
    def running(self) -> list[Running]:
        """The queries that run now, in the order they began."""
        with self._lock:
            return list(self._running.values())

    def note_begin(self, running: Running) -> None:
        """Take note of a query that begins; for the query itself."""
        with self._lock:
            self._running[running.task_id] = running

    def note_end(self, running: Running) -> None:
        """Take note of a query that has ended; for the query itself."""
        with self._lock:
            self._running.pop(running.task_id, None)

    def start(
        self,
        text: str,
        options: QueryOptions = NO_OPTIONS,
        first: Callable[[GraphSession], None] | None = None,
    ) -> Running:
        """Return a query ready to run, which other threads may cancel.

        Args:
            text: The query.
            options: How it runs.
            first: Called with its session before it runs for its messages. What it writes is durable with the first
                edits of the query, or before the query waits for anything.
        """
        return Running(self, text, options, first)

    def storm(self, text: str, options: QueryOptions = NO_OPTIONS) -> Iterator[Message]:
        """Run a query for its messages: Init first, Fini last, when all its edits are durable.

        What is printed between two nodes comes when the next node does, or the end; see `Running.send_to` for
        messages as they arise.
        """
        return Running(self, text, options).messages()

    def call(self, text: str, options: QueryOptions = NO_OPTIONS) -> Any:
        """Run a query for the value it returns, plain; None if it returns nothing. Its edits are durable then.

        Raises:
            CellError: what went wrong, with the place where it is known.
        """
        return Running(self, text, options).value()

    def count(self, text: str, options: QueryOptions = NO_OPTIONS) -> int:
        """Run a query for the number of its nodes, from an index where one knows it.

        Raises:
            CellError: what went wrong, with the place where it is known.
        """
        return Running(self, text, options).count()


def _mode(name: str) -> ParseMode:
    try:
        return ParseMode(name)
    except ValueError:
        raise BadArg(f"there is no mode {name}", name="mode", valu=name) from None
