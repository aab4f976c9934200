"""Where a query is while it runs: variables by scope, and what it may reach."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from cellmesh.common.errors import (
    AuthDeny,
    FeatureNotSupported,
    IsReadOnly,
    NoSuchVar,
    RecursionLimitHit,
    StormRuntimeError,
)
from cellmesh.cortex.storm.runtime.budget import Budget
from cellmesh.cortex.storm.runtime.messages import CsvRow, Fire, Message, Print, Warn
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.queries import StormQuery
from cellmesh.cortex.storm.runtime.rights import rights_of
from cellmesh.cortex.storm.runtime.values import toprim

if TYPE_CHECKING:
    from collections.abc import Callable

    from cellmesh.cortex.model.registry import Model
    from cellmesh.cortex.storm.runtime.interface import CommandSpec
    from cellmesh.cortex.storm.runtime.libraries import Library, TypeTable
    from cellmesh.cortex.views.graph import Graph
    from cellmesh.cortex.views.session import GraphSession
    from cellmesh.cortex.views.view import View


class CompiledQuery(Protocol):
    """A query ready to run, free of any one run's state."""

    def rows(self, context: RunContext, rows: Iterator[Path]) -> Iterator[Path]:
        """Run as a pipeline on inbound rows."""

    def value(self, context: RunContext) -> Any:
        """Run without inbound rows for what it returns."""


class RunningQuery(Protocol):
    """A query that runs."""

    task_id: str
    text: str
    options: QueryOptions
    began_s: float

    def cancel(self) -> None:
        """Make it end with Cancelled at its next row; from any thread."""


class EngineApi(Protocol):
    """What a running query needs of the engine."""

    graph: Graph
    commands: Mapping[str, CommandSpec]
    types: TypeTable
    library: Library
    capabilities: Mapping[str, object]
    started_s: float

    @property
    def running(self) -> Sequence[RunningQuery]:
        """The queries that run now, in the order they began."""

    def compile(self, text: str, mode: str, names: Iterable[str]) -> CompiledQuery:
        """Parse and compile a text, in which the variables `names` have values."""

    def compile_query(self, query: StormQuery, names: Iterable[str]) -> CompiledQuery:
        """Compile an embedded query."""


class QueryRun:
    """What all scopes of one top-level query share.

    Attributes:
        emit: Takes each message as it arises.
        is_readonly: Whether edits are refused.
        projection: Rules of a graph projection to grow a picture by from the query's nodes; None for the nodes as they are.
        rights: What its user may do; None for everything.
        is_debugged: What `$lib.debug` says.
        warned: The warnings sent that are sent once.
    """

    __slots__ = (
        "budget",
        "emit",
        "engine",
        "is_debugged",
        "is_readonly",
        "library",
        "model",
        "options",
        "projection",
        "rights",
        "session",
        "warned",
    )

    def __init__(
        self,
        engine: EngineApi,
        session: GraphSession,
        options: QueryOptions,
        budget: Budget,
        emit: Callable[[Message], None],
    ) -> None:
        self.engine = engine
        self.session = session
        self.model = session.model
        self.options = options
        self.budget = budget
        self.emit = emit
        self.projection: Mapping[str, Any] | None = None
        self.is_readonly = options.readonly
        self.is_debugged = False
        self.warned: set[str] = set()
        # For a user with all rights there is nothing to ask.
        self.rights = None if options.has_all_rights else rights_of(engine, options.user)
        session.guard = self.rights
        self.library = engine.library


class RunContext:
    """One scope of variables in a running query: the query itself, a function call, or a nested query.

    Attributes:
        run: What all scopes share.
        vars: The scope's own variables. Rows made by lifts share this dict; see `own_vars`.
        parent: The scope a function was defined in, or None.
        is_shared: Whether a row holds `vars`, so that it must be copied before it changes.
        function: Name of the function this is a call of, or empty.
        returned: What a `return` met by `execute` gave.
    """

    __slots__ = ("function", "is_shared", "parent", "returned", "run", "session", "tick", "vars")

    def __init__(
        self, run: QueryRun, vars: dict[str, Any], parent: RunContext | None = None, function: str = ""
    ) -> None:
        self.run = run
        self.session = run.session
        self.tick = run.budget.tick
        self.vars = vars
        self.parent = parent
        self.is_shared = False
        self.function = function
        self.returned: Any = None

    # Variables ---------------------------------------------------------------------------------------------

    def snapshot(self) -> Mapping[str, Any]:
        """Return the variables as they are now, for a new row; later assignments leave it alone."""
        self.is_shared = True
        return self.vars

    def own_vars(self) -> dict[str, Any]:
        """Return the scope's dict for changing it."""
        if self.is_shared:
            self.vars = dict(self.vars)
            self.is_shared = False
        return self.vars

    def lookup(self, name: str) -> Any:
        """Return a variable of this scope or those outside it.

        Raises:
            NoSuchVar: none has it.
        """
        scope: RunContext | None = self
        while scope is not None:
            if name in scope.vars:
                return scope.vars[name]
            scope = scope.parent
        raise NoSuchVar(f"the variable ${name} has no value", name=name)

    def assign(self, name: str, value: Any) -> None:
        """Set a variable where it has a value already, going outwards, or else in this scope."""
        if name not in self.vars:
            scope = self.parent
            while scope is not None:
                if name in scope.vars:
                    scope.own_vars()[name] = value
                    return
                scope = scope.parent
        self.own_vars()[name] = value

    def get_var(self, name: str, default: Any = None) -> Any:
        """Return a variable of this scope or those outside it, or a default."""
        try:
            return self.lookup(name)
        except NoSuchVar:
            return default

    def set_var(self, name: str, value: Any) -> None:
        """Set a variable as an assignment in this scope does."""
        self.assign(name, value)

    def del_var(self, name: str) -> None:
        """Remove a variable of this scope or, if it has none of that name, of one outside."""
        scope: RunContext | None = self
        while scope is not None:
            if name in scope.vars:
                del scope.own_vars()[name]
                return
            scope = scope.parent

    def all_vars(self) -> dict[str, Any]:
        """Return the variables that can be seen from here."""
        if self.parent is None:
            return dict(self.vars)
        return {**self.parent.all_vars(), **self.vars}

    def inner(self, vars: dict[str, Any], function: str = "") -> RunContext:
        """Return a scope inside this one, for a call of a function defined here."""
        return RunContext(self.run, vars, self, function)

    def rows_of_value(self, rows: Callable[[RunContext, Iterator[Path]], Iterator[Path]]) -> Iterator[Path]:
        """Run a query in braces that stands for a value; the variables it sets are set here afterwards."""
        inner = self.inner({})
        try:
            yield from rows(inner, iter(()))
        finally:
            for name, value in inner.vars.items():
                self.assign(name, value)

    # What the query may reach ------------------------------------------------------------------------------

    @property
    def engine(self) -> EngineApi:
        """The engine that runs the query."""
        return self.run.engine

    @property
    def options(self) -> QueryOptions:
        """The options of the top-level query."""
        return self.run.options

    @property
    def model(self) -> Model:
        """The data model."""
        return self.run.session.model

    @property
    def view(self) -> View:
        """The view the query runs in."""
        return self.run.session.view

    @property
    def user(self) -> str:
        """Name of the user the query runs as."""
        return self.run.options.user

    def capability(self, name: str) -> Any:
        """Return what the cell provides under a name, such as "auth" or "axon".

        Raises:
            FeatureNotSupported: it provides nothing of that name.
        """
        try:
            return self.run.engine.capabilities[name]
        except KeyError:
            raise FeatureNotSupported(f"this cell has no {name}", name=name) from None

    def confirm(self, path: tuple[str, ...], gate: str = "", *, default: bool = False) -> None:
        """Check that the query's user may do something, on a gate or nowhere in particular.

        Args:
            path: Such as `("queue", "add")`.
            gate: The iden of an object that has rules of its own.
            default: What counts where no rule speaks of it.

        Raises:
            AuthDeny: the user may not.
        """
        rights = self.run.rights
        if rights is not None:
            rights.confirm(path, gate, default=default)

    def confirm_admin(self, what: str) -> None:
        """Check that the query's user is an administrator; raises AuthDeny."""
        rights = self.run.rights
        if rights is not None:
            raise AuthDeny(f"{what} is for administrators", user=rights.user_id, username=rights.user)

    def check_writable(self) -> None:
        """Check that the query may edit.

        Raises:
            IsReadOnly: it may not.
        """
        if self.run.is_readonly:
            raise IsReadOnly("the query is read-only")

    # Messages ----------------------------------------------------------------------------------------------

    def print(self, text: str) -> None:
        """Send text."""
        self.run.emit(Print(text))

    def warn(self, text: str, **fields: Any) -> None:
        """Send a warning."""
        self.run.emit(Warn(text, fields))

    def warn_once(self, text: str) -> None:
        """Send a warning, unless the query has sent it already."""
        if text not in self.run.warned:
            self.run.warned.add(text)
            self.warn(text)

    def fire(self, type: str, data: dict[str, Any]) -> None:
        """Send an event."""
        self.run.emit(Fire(type, toprim(data)))

    def csv_row(self, row: list[Any], table: str | None = None) -> None:
        """Send a row of a table."""
        self.run.emit(CsvRow(toprim(row), table))

    # Calls and nested queries ------------------------------------------------------------------------------

    def call(self, function: Any, *arguments: Any, **keywords: Any) -> Any:
        """Call a callable value of the language.

        Raises:
            StormRuntimeError: it cannot be called.
        """
        call = getattr(function, "storm_call", None)
        if call is None:
            raise StormRuntimeError(f"a {type(function).__name__} cannot be called")
        return call(self, list(arguments), keywords)

    def rows_of(
        self,
        query: StormQuery | str,
        rows: Iterable[Path] | None = None,
        vars: Mapping[str, Any] | None = None,
    ) -> Iterator[Path]:
        """Run a query given to a command, on inbound rows, in a scope inside this one.

        As in a function, assigning a variable that has a value here changes it here.
        """
        own = dict(vars) if vars else {}
        known = {**self.all_vars(), **own}
        compiled = self._compile(query, known)
        budget = self.run.budget
        try:
            budget.enter()
        except RecursionLimitHit as error:
            # Only a command that follows nodes from one to the next gets here: to users it is no recursion.
            raise StormRuntimeError(
                "a command's query led on too deeply", name="depth", limit=budget.limits.depth_max
            ) from error
        try:
            scope = RunContext(self.run, own, self)
            yield from compiled.rows(scope, iter(rows) if rows is not None else iter(()))
        finally:
            budget.leave()

    def run_query(
        self,
        query: StormQuery | str,
        vars: Mapping[str, Any] | None = None,
        rows: Iterable[Path] | None = None,
    ) -> Iterator[Path]:
        """Run a query in a scope of its own, which has the variables it captured and `vars`."""
        own = dict(query.vars) if isinstance(query, StormQuery) else {}
        return self._nested(query, own, vars, rows)

    def value_of(self, query: StormQuery | str, vars: Mapping[str, Any] | None = None) -> Any:
        """Run a query in a scope of its own for what it returns; None if it returns nothing."""
        own = dict(query.vars) if isinstance(query, StormQuery) else {}
        if vars:
            own.update(vars)
        compiled = self._compile(query, own)
        budget = self.run.budget
        budget.enter()
        try:
            return compiled.value(RunContext(self.run, own))
        finally:
            budget.leave()

    def _nested(
        self,
        query: StormQuery | str,
        own: dict[str, Any],
        vars: Mapping[str, Any] | None,
        rows: Iterable[Path] | None,
    ) -> Iterator[Path]:
        if vars:
            own.update(vars)
        compiled = self._compile(query, own)
        budget = self.run.budget
        budget.enter()
        try:
            yield from compiled.rows(RunContext(self.run, own), iter(rows) if rows is not None else iter(()))
        finally:
            budget.leave()

    def _compile(self, query: StormQuery | str, names: Iterable[str]) -> CompiledQuery:
        if isinstance(query, StormQuery):
            return self.run.engine.compile_query(query, names)
        return self.run.engine.compile(query, "storm", names)
