"""Loops, branches, `try`, subqueries, and what runs once: `init`, `empty`, `fini`; as steps and as statements."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from cellmesh.common.errors import CellError
from cellmesh.cortex.storm.compiler.core import (
    BREAK,
    CONTINUE,
    DONE,
    ROWLESS,
    Body,
    Compiler,
    Exec,
    Expr,
    Op,
)
from cellmesh.cortex.storm.compiler.variables import Bind, bind_one, bind_several, do_nothing
from cellmesh.cortex.storm.parser import ast
from cellmesh.cortex.storm.runtime.context import RunContext
from cellmesh.cortex.storm.runtime.members import toiter
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.signals import StormBreak, StormContinue, is_emitted
from cellmesh.cortex.storm.runtime.thrown import catches, error_value
from cellmesh.cortex.storm.runtime.values import tobool, tostr

# Loops -------------------------------------------------------------------------------------------------------


def _binder(compiler: Compiler, node: ast.For) -> Bind:
    if node.is_unpacking:
        return bind_several(compiler, node.names, compiler.place(node), exactly=True)
    return bind_one(compiler, node.names[0])


def compile_for(compiler: Compiler, node: ast.For) -> Op:
    """`for $x in $items { }`."""
    items = compiler.expression(node.items)
    bind = _binder(compiler, node)
    body = compiler.body(node.body)
    is_safe = compiler.is_safe(node.items)
    place = compiler.place(node.items)

    def run(context: RunContext, rows: Iterator[Path], place: object = place) -> Iterator[Path]:
        path = None
        for path in rows:
            for item in toiter(context, items(context, path)):
                context.tick()
                bind(context, path, item)
                try:
                    yield from body.rows(context, iter((path,)))
                except StormBreak as signal:
                    if signal.path is not None:
                        yield signal.path
                    break
                except StormContinue as signal:
                    if signal.path is not None:
                        yield signal.path
        if path is None and is_safe:
            for item in toiter(context, items(context, ROWLESS)):
                context.tick()
                bind(context, ROWLESS, item)
                try:
                    yield from body.rows_of_none(context)
                except StormBreak as signal:
                    if signal.path is not None:
                        yield signal.path
                    break
                except StormContinue as signal:
                    if signal.path is not None:
                        yield signal.path

    return run


def execute_for(compiler: Compiler, node: ast.For) -> Exec:
    """`for` without rows."""
    if not compiler.is_safe(node.items):
        return do_nothing
    items = compiler.expression(node.items)
    bind = _binder(compiler, node)
    body = compiler.body(node.body)
    place = compiler.place(node.items)

    def run(context: RunContext, place: object = place) -> int:
        tick = context.tick
        execute = body.execute
        for item in toiter(context, items(context, ROWLESS)):
            tick()
            bind(context, ROWLESS, item)
            code = execute(context)
            if code:
                if code == BREAK:
                    break
                if code != CONTINUE:
                    return code
        return DONE

    return run


def compile_while(compiler: Compiler, node: ast.While) -> Op:
    """`while $x { }`."""
    condition = compiler.expression(node.condition)
    body = compiler.body(node.body)
    is_safe = compiler.is_safe(node.condition)

    place = compiler.place(node.condition)

    def turns(context: RunContext, path: Path, place: object = place) -> Iterator[Path]:
        has_row = path is not ROWLESS
        while tobool(condition(context, path)):
            context.tick()
            try:
                yield from body.rows(context, iter((path,))) if has_row else body.rows_of_none(context)
            except StormBreak as signal:
                if signal.path is not None:
                    yield signal.path
                break
            except StormContinue as signal:
                if signal.path is not None:
                    yield signal.path

    def run(context: RunContext, rows: Iterator[Path]) -> Iterator[Path]:
        path = None
        for path in rows:
            yield from turns(context, path)
        if path is None and is_safe:
            yield from turns(context, ROWLESS)

    return run


def execute_while(compiler: Compiler, node: ast.While) -> Exec:
    """`while` without rows."""
    if not compiler.is_safe(node.condition):
        return do_nothing
    condition = compiler.expression(node.condition)
    body = compiler.body(node.body)

    place = compiler.place(node.condition)

    def run(context: RunContext, place: object = place) -> int:
        tick = context.tick
        execute = body.execute
        while tobool(condition(context, ROWLESS)):
            tick()
            code = execute(context)
            if code:
                if code == BREAK:
                    break
                if code != CONTINUE:
                    return code
        return DONE

    return run


# Branches ----------------------------------------------------------------------------------------------------


class _Chooser:
    """Finds the body to run for a row."""

    __slots__ = ("_branches", "_otherwise", "is_safe")

    def __init__(self, branches: list[tuple[Expr, Body]], otherwise: Body | None, is_safe: bool) -> None:
        self._branches = branches
        self._otherwise = otherwise
        self.is_safe = is_safe

    def choose(self, context: RunContext, path: Path) -> Body | None:
        for condition, body in self._branches:
            if tobool(condition(context, path)):
                return body
        return self._otherwise


def _if_chooser(compiler: Compiler, node: ast.If) -> _Chooser:
    return _Chooser(
        [(compiler.expression(branch.condition), compiler.body(branch.body)) for branch in node.branches],
        compiler.body(node.otherwise) if node.otherwise is not None else None,
        all(compiler.is_safe(branch.condition) for branch in node.branches),
    )


class _SwitchChooser:
    """Finds the body whose text the subject has; subjects that are no text or number take the default."""

    __slots__ = ("_bodies", "_otherwise", "_subject", "is_safe")

    def __init__(self, compiler: Compiler, node: ast.Switch) -> None:
        self._subject = compiler.expression(node.subject)
        self._bodies: dict[str, Body] = {}
        self._otherwise: Body | None = None
        self.is_safe = compiler.is_safe(node.subject)
        for case in node.cases:
            body = compiler.body(case.body)
            if not case.values:
                self._otherwise = body
            for value in case.values:
                self._bodies.setdefault(value.value, body)

    def choose(self, context: RunContext, path: Path) -> Body | None:
        value = self._subject(context, path)
        if isinstance(value, (list, tuple, dict, set)):
            return self._otherwise
        return self._bodies.get(tostr(value), self._otherwise)


def compile_branching(compiler: Compiler, node: ast.If | ast.Switch) -> Op:
    """`if`, `switch`."""
    chooser = _if_chooser(compiler, node) if isinstance(node, ast.If) else _SwitchChooser(compiler, node)
    choose = chooser.choose
    is_safe = chooser.is_safe

    def run(context: RunContext, rows: Iterator[Path]) -> Iterator[Path]:
        path = None
        for path in rows:
            body = choose(context, path)
            if body is None:
                yield path
            else:
                yield from body.rows(context, iter((path,)))
        if path is None and is_safe:
            body = choose(context, ROWLESS)
            if body is not None:
                yield from body.rows_of_none(context)

    return run


def execute_branching(compiler: Compiler, node: ast.If | ast.Switch) -> Exec:
    """`if`, `switch` without rows."""
    chooser = _if_chooser(compiler, node) if isinstance(node, ast.If) else _SwitchChooser(compiler, node)
    if not chooser.is_safe:
        return do_nothing
    choose = chooser.choose

    def run(context: RunContext) -> int:
        body = choose(context, ROWLESS)
        return DONE if body is None else body.execute(context)

    return run


# Errors ------------------------------------------------------------------------------------------------------


class _Catches:
    """The `catch` parts of a `try`."""

    __slots__ = ("_all",)

    def __init__(self, compiler: Compiler, node: ast.Try) -> None:
        self._all = [
            (
                compiler.expression(catch.names) if catch.names is not None else None,
                catch.names is not None and compiler.is_safe(catch.names),
                bind_one(compiler, catch.variable),
                compiler.body(catch.body),
            )
            for catch in node.catches
        ]

    def body_for(self, context: RunContext, path: Path, error: CellError) -> Body | None:
        """Return the body that takes the error, its variable set; or None."""
        for names, is_safe, bind, body in self._all:
            # Of no row a property is null, which names no error.
            if names is None or catches(
                context, names(context, path) if is_safe or path is not ROWLESS else None, error
            ):
                bind(context, path, error_value(error))
                return body
        return None


def compile_try(compiler: Compiler, node: ast.Try) -> Op:
    """`try { } catch X as e { }`: each row by itself."""
    body = compiler.body(node.body)
    handlers = _Catches(compiler, node)

    def attempt(context: RunContext, path: Path) -> Iterator[Path]:
        has_row = path is not ROWLESS
        try:
            yield from body.rows(context, iter((path,))) if has_row else body.rows_of_none(context)
        except CellError as error:
            handler = handlers.body_for(context, path, error)
            if handler is None:
                raise
        else:
            return
        yield from handler.rows(context, iter((path,))) if has_row else handler.rows_of_none(context)

    def run(context: RunContext, rows: Iterator[Path]) -> Iterator[Path]:
        path = None
        for path in rows:
            yield from attempt(context, path)
        if path is None:
            yield from attempt(context, ROWLESS)

    return run


def execute_try(compiler: Compiler, node: ast.Try) -> Exec:
    """`try` without rows."""
    body = compiler.body(node.body)
    handlers = _Catches(compiler, node)

    def run(context: RunContext) -> int:
        try:
            return body.execute(context)
        except CellError as error:
            handler = handlers.body_for(context, ROWLESS, error)
            if handler is None:
                raise
        return handler.execute(context)

    return run


# Subqueries and what runs once -------------------------------------------------------------------------------


def compile_subquery(compiler: Compiler, node: ast.Subquery) -> Op:
    """`{ -> inet:asn [ +#a ] }`: for each row, which itself goes on."""
    body = compiler.body(node.query)
    is_emitting = compiler.is_emitting

    def run(context: RunContext, rows: Iterator[Path]) -> Iterator[Path]:
        for path in rows:
            for row in body.rows(context, iter((path,))):
                if is_emitting and is_emitted(row):
                    yield cast(Path, row)
            yield path

    return run


def execute_subquery(compiler: Compiler, node: ast.Subquery) -> Exec:
    """A subquery without rows is not run."""
    return do_nothing


def compile_init(compiler: Compiler, node: ast.Init) -> Op:
    """`init { }`: before the first row, or once if there is none."""
    body = compiler.body(node.body)

    def run(context: RunContext, rows: Iterator[Path]) -> Iterator[Path]:
        is_first = True
        for path in rows:
            if is_first:
                is_first = False
                yield from body.rows_of_none(context)
            yield path
        if is_first:
            yield from body.rows_of_none(context)

    return run


def compile_empty(compiler: Compiler, node: ast.Empty) -> Op:
    """`empty { }`: once, if no row came."""
    body = compiler.body(node.body)

    def run(context: RunContext, rows: Iterator[Path]) -> Iterator[Path]:
        is_empty = True
        for path in rows:
            is_empty = False
            yield path
        if is_empty:
            yield from body.rows_of_none(context)

    return run


def compile_fini(compiler: Compiler, node: ast.Fini) -> Op:
    """`fini { }`: once, after the last row."""
    body = compiler.body(node.body)

    def run(context: RunContext, rows: Iterator[Path]) -> Iterator[Path]:
        yield from rows
        yield from body.rows_of_none(context)

    return run


def execute_once(compiler: Compiler, node: ast.Init | ast.Empty | ast.Fini) -> Exec:
    """`init`, `empty`, `fini` without rows: all run."""
    return compiler.body(node.body).execute
