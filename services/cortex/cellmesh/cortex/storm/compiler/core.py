"""What the parts of the compiler share: the kinds of closures, the compiler's state, and bodies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cellmesh.cortex.storm.compiler.names import Scope, is_constant
from cellmesh.cortex.storm.parser import ast
from cellmesh.cortex.storm.runtime.context import RunContext
from cellmesh.cortex.storm.runtime.path import NO_VARS, Path
from cellmesh.cortex.storm.runtime.places import Place
from cellmesh.cortex.storm.runtime.plan import Profile
from cellmesh.cortex.storm.runtime.signals import StormBreak, StormContinue, StormReturn, StormStop
from cellmesh.cortex.storm.source import Source

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.libraries import Library

Expr: TypeAlias = Callable[[RunContext, Path], Any]
"""Works out a value for a row; for ROWLESS without one."""

Op: TypeAlias = Callable[[RunContext, Iterator[Path]], Iterator[Path]]
"""A step of a pipeline."""

Exec: TypeAlias = Callable[[RunContext], int]
"""A statement run without rows; gives one of the codes below."""

DONE: Final = 0
BREAK: Final = 1
CONTINUE: Final = 2
RETURN: Final = 3
STOP: Final = 4

ROWLESS: Final = Path(None, NO_VARS)  # type: ignore[arg-type]
"""Stands in for a row where there is none."""


def raise_signal(code: int, context: RunContext) -> None:
    """Raise what a code other than DONE stands for."""
    if code == RETURN:
        raise StormReturn(context.returned)
    # Found by its name when the error surfaces.
    place = context.returned  # noqa: F841
    if code == BREAK:
        raise StormBreak
    if code == CONTINUE:
        raise StormContinue
    if code == STOP:
        raise StormStop


@dataclass(frozen=True, slots=True)
class Tables:
    """What compiles each kind of syntax node.

    Attributes:
        expressions: To a closure that gives a value.
        operations: To a step of a pipeline.
        statements: To a statement run without rows; only kinds that never give rows then.
        hinted: Compiles the operation at a place with regard to those behind it, or gives None.
        folded: Makes one step of several where one suffices.
    """

    expressions: Mapping[type, Callable[[Compiler, Any], Expr]]
    operations: Mapping[type, Callable[[Compiler, Any], Op]]
    statements: Mapping[type, Callable[[Compiler, Any], Exec]]
    hinted: Callable[[Compiler, Sequence[ast.Operation], int], Op | None]
    folded: Callable[[Compiler, Sequence[ast.Operation], list[Op]], list[Op]]


class Compiler:
    """Compiles one scope.

    Attributes:
        source: The text, for places.
        scope: Its variables.
        library: `$lib`, so that calls into it are resolved once.
        is_emitting: Whether the scope is the body of a function with `emit`.
        is_batched: Whether steps may take several rows at once, since nobody can tell.
        profile: Where each step is measured; None for runs that are not profiled.
    """

    __slots__ = ("_tables", "is_batched", "is_emitting", "library", "profile", "scope", "source")

    def __init__(
        self,
        tables: Tables,
        source: Source,
        scope: Scope,
        library: Library,
        *,
        is_emitting: bool = False,
        is_batched: bool = False,
        profile: Profile | None = None,
    ) -> None:
        self._tables = tables
        self.source = source
        self.scope = scope
        self.library = library
        self.is_emitting = is_emitting
        self.is_batched = is_batched
        self.profile = profile

    def place(self, node: ast.Node) -> Place:
        """Return where a node stands."""
        return Place(self.source, node.span)

    def expression(self, node: ast.Node) -> Expr:
        """Compile an expression."""
        return self._tables.expressions[type(node)](self, node)

    def operation(self, node: ast.Node) -> Op:
        """Compile a step of a pipeline."""
        return self._tables.operations[type(node)](self, node)

    def operations(self, query: ast.Query) -> tuple[Op, ...]:
        """Compile the steps of a pipeline, lifts by what the filters behind them say."""
        nodes = query.operations
        steps = [
            self._tables.hinted(self, nodes, at) or self.operation(node) for at, node in enumerate(nodes)
        ]
        folded = self._tables.folded(self, nodes, steps)
        profile = self.profile
        if profile is not None:
            # What was folded is measured as the last of it.
            last = nodes[len(nodes) - len(folded) :]
            folded = [profile.measured(node, step) for node, step in zip(last, folded)]
        return tuple(folded)

    def statement(self, node: ast.Node) -> Exec:
        """Compile a statement to be run without rows."""
        statement = self._tables.statements[type(node)](self, node)
        if self.profile is not None:
            return self.profile.measured_statement(node, statement)
        return statement

    def body(self, query: ast.Query) -> Body:
        """Compile a query or body of this scope."""
        return Body(self, query)

    def nested(self, query: ast.Query) -> Body:
        """Compile a query that runs in a scope inside this one, without rows: there all variables are known.

        It is run with `context.inner({})`.
        """
        scope = Scope(query, (), Scope(None, self.scope.names()))
        return self.inner(scope, is_emitting=False).body(query)

    def is_safe(self, node: ast.Node) -> bool:
        """Whether what stands in the tree below needs no node."""
        return self.scope.is_safe(node)

    def is_constant(self, node: ast.Node) -> bool:
        """Whether what stands in the tree below is the same for every row."""
        # In a query whose steps take several rows at once nothing sets a variable.
        return is_constant(node) or (self.is_batched and self.is_safe(node))

    def is_statement(self, node: ast.Node) -> bool:
        """Whether an operation, run without rows, never gives any: then it can do without generators."""
        if type(node) not in self._tables.statements:
            return False
        return all(self.is_plain(query) for query in _bodies(node))

    def is_plain(self, query: ast.Query) -> bool:
        """Whether a body, run without rows, never gives any."""
        return all(self.is_statement(operation) for operation in query.operations)

    def inner(self, scope: Scope, *, is_emitting: bool) -> Compiler:
        """Return a compiler for the body of a function."""
        return Compiler(
            self._tables, self.source, scope, self.library, is_emitting=is_emitting, profile=self.profile
        )


def _bodies(node: ast.Node) -> Iterator[ast.Query]:
    """Yield the bodies of a statement that run without rows when it does."""
    if isinstance(node, (ast.For, ast.While, ast.Init, ast.Empty, ast.Fini)):
        yield node.body
    elif isinstance(node, ast.If):
        for branch in node.branches:
            yield branch.body
        if node.otherwise is not None:
            yield node.otherwise
    elif isinstance(node, ast.Switch):
        for case in node.cases:
            yield case.body
    elif isinstance(node, ast.Try):
        yield node.body
        for catch in node.catches:
            yield catch.body


class Body:
    """A compiled query or body. Each of its two forms is compiled when first needed.

    Attributes:
        is_plain: Whether, run without rows, it never gives any, so that `execute` does.
    """

    __slots__ = ("_compiler", "_operations", "_query", "_statements", "is_plain")

    def __init__(self, compiler: Compiler, query: ast.Query) -> None:
        self._compiler = compiler
        self._query = query
        self._operations: tuple[Op, ...] | None = None
        self._statements: tuple[Exec, ...] | None = None
        self.is_plain = compiler.is_plain(query)

    def rows(self, context: RunContext, rows: Iterator[Path]) -> Iterator[Path]:
        """Run it as a pipeline on inbound rows."""
        for operation in self._operations or self._compiled():
            rows = operation(context, rows)
        return rows

    def only_operation(self) -> Op | None:
        """Its step, if it has one and no more."""
        if len(self._query.operations) != 1 or self.is_plain:
            return None
        return self._compiled()[0]

    def _compiled(self) -> tuple[Op, ...]:
        operations = self._operations
        if operations is None:
            compiler = self._compiler
            operations = compiler.operations(self._query)
            if compiler.is_emitting:
                operations = _let_emitted_through(operations, self._query)
            self._operations = operations
        return operations

    def rows_of_none(self, context: RunContext) -> Iterator[Path]:
        """Run it as a pipeline without inbound rows."""
        if self.is_plain:
            code = self.execute(context)
            if code:
                raise_signal(code, context)
            return iter(())
        return self.rows(context, iter(()))

    def execute(self, context: RunContext) -> int:
        """Run it without rows; only if `is_plain`."""
        statements = self._statements
        if statements is None:
            statements = tuple([self._compiler.statement(node) for node in self._query.operations])
            self._statements = statements
        for statement in statements:
            code = statement(context)
            if code:
                return code
        return DONE

    def value(self, context: RunContext) -> Any:
        """Run it without inbound rows for what it returns; None if nothing."""
        if self.is_plain:
            code = self.execute(context)
            if code == RETURN:
                return context.returned
            raise_signal(code, context)
            return None
        try:
            for _ in self.rows(context, iter(())):
                pass
        except StormReturn as signal:
            return signal.value
        return None


def _let_emitted_through(operations: tuple[Op, ...], query: ast.Query) -> tuple[Op, ...]:
    """Make the steps behind one that may emit hand emitted values on instead of taking them for rows."""
    from cellmesh.cortex.storm.compiler.emitting import may_emit, passing_emitted

    made: list[Op] = []
    emitting = False
    for operation, node in zip(operations, query.operations):
        made.append(passing_emitted(operation) if emitting else operation)
        emitting = emitting or may_emit(node)
    return tuple(made)
