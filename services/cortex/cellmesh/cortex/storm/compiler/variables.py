"""Variables, calls for their effect, `return`, `emit` and function definitions: as pipeline steps and as statements.

A step runs once for each row; with no rows it runs once if all it uses is known without a node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from cellmesh.common.errors import StormRuntimeError, StormVarListError
from cellmesh.cortex.storm.compiler.core import (
    BREAK,
    CONTINUE,
    DONE,
    RETURN,
    ROWLESS,
    STOP,
    Body,
    Compiler,
    Exec,
    Expr,
    Op,
)
from cellmesh.cortex.storm.compiler.names import Scope
from cellmesh.cortex.storm.parser import ast
from cellmesh.cortex.storm.runtime.context import RunContext
from cellmesh.cortex.storm.runtime.functions import StormFunction, StormGenerator
from cellmesh.cortex.storm.runtime.interface import REQUIRED, UNDEF
from cellmesh.cortex.storm.runtime.members import set_member, tolist
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.signals import Emitted, StormBreak, StormContinue, StormReturn, StormStop

Effect = Callable[[RunContext, Path], None]
Bind = Callable[[RunContext, Path, Any], None]


def effect_step(effect: Effect, is_safe: bool) -> Op:
    """Return a step that does something for each row and lets it through."""

    def run(context: RunContext, rows: Iterator[Path]) -> Iterator[Path]:
        path = None
        for path in rows:
            effect(context, path)
            yield path
        if path is None and is_safe:
            effect(context, ROWLESS)

    return run


def effect_statement(effect: Effect, is_safe: bool) -> Exec:
    """Return a statement that does something once, if it can without a node."""
    if not is_safe:
        return do_nothing

    def run(context: RunContext) -> int:
        effect(context, ROWLESS)
        return DONE

    return run


def do_nothing(context: RunContext) -> int:
    """A statement that without rows does nothing."""
    return DONE


def bind_one(compiler: Compiler, name: str) -> Bind:
    """Return what sets a variable, for the row and for the scope."""

    def bind(context: RunContext, path: Path, value: Any) -> None:
        if value is UNDEF:
            path.unset(name)
            context.del_var(name)
            return
        if path is not ROWLESS:
            path.vars = {**path.vars, name: value}
        own = context.vars
        if context.is_shared or name not in own:
            context.assign(name, value)
        else:
            own[name] = value

    return bind


def bind_several(compiler: Compiler, names: Sequence[str], place: object, *, exactly: bool) -> Bind:
    """Return what sets several variables to the items of a value.

    Args:
        compiler: The compiler.
        names: The variables.
        place: Where they stand.
        exactly: Whether further items are an error.
    """
    binds = [bind_one(compiler, name) for name in names]
    count = len(names)

    def bind(context: RunContext, path: Path, value: Any, place: object = place) -> None:
        if value is None and not exactly:
            raise StormRuntimeError("null cannot be unpacked", names=list(names))
        items = tolist(context, value)
        if len(items) < count or (exactly and len(items) != count):
            raise StormVarListError(
                f"{count} variables, but {len(items)} values", names=list(names), numitems=len(items)
            )
        for one, item in zip(binds, items):
            one(context, path, item)

    return bind


# Steps -------------------------------------------------------------------------------------------------------


def _set_variable_effect(compiler: Compiler, node: ast.SetVariable) -> Effect:
    value = compiler.expression(node.value)
    bind = bind_one(compiler, node.name)
    place = compiler.place(node)

    def effect(context: RunContext, path: Path, place: object = place) -> None:
        bind(context, path, value(context, path))

    return effect


def _set_item_effect(compiler: Compiler, node: ast.SetItem) -> Effect:
    base = compiler.expression(node.base)
    key = compiler.expression(node.key)
    value = compiler.expression(node.value)
    place = compiler.place(node)

    def effect(context: RunContext, path: Path, place: object = place) -> None:
        set_member(context, base(context, path), key(context, path), value(context, path))

    return effect


def _unpack_effect(compiler: Compiler, node: ast.UnpackVariables) -> Effect:
    value = compiler.expression(node.value)
    place = compiler.place(node)
    bind = bind_several(compiler, node.names, place, exactly=False)

    def effect(context: RunContext, path: Path, place: object = place) -> None:
        bind(context, path, value(context, path))

    return effect


def _evaluate_effect(compiler: Compiler, node: ast.Evaluate) -> Effect:
    value = compiler.expression(node.expression)

    def effect(context: RunContext, path: Path) -> None:
        # Without a row, what would be made on demand is made: a function's body runs. With rows it does not.
        result = value(context, path)
        if path is ROWLESS and type(result) is StormGenerator:
            for _ in result:
                context.tick()

    return effect


EFFECTS: dict[type, Callable[[Compiler, Any], Effect]] = {
    ast.SetVariable: _set_variable_effect,
    ast.SetItem: _set_item_effect,
    ast.UnpackVariables: _unpack_effect,
    ast.Evaluate: _evaluate_effect,
}


def compile_effect(compiler: Compiler, node: ast.Operation) -> Op:
    """`$x=1`, `$x.y=1`, `($a, $b)=$x`, `$f()` in a pipeline."""
    return effect_step(EFFECTS[type(node)](compiler, node), compiler.is_safe(node))


def execute_effect(compiler: Compiler, node: ast.Operation) -> Exec:
    """The same without rows."""
    is_safe = compiler.is_safe(node)
    if is_safe and isinstance(node, ast.SetVariable):
        return _execute_set_variable(compiler, node)
    return effect_statement(EFFECTS[type(node)](compiler, node), is_safe)


def _execute_set_variable(compiler: Compiler, node: ast.SetVariable) -> Exec:
    name = node.name
    value = compiler.expression(node.value)
    bind = bind_one(compiler, name)
    place = compiler.place(node)

    def run(context: RunContext, place: object = place) -> int:
        made = value(context, ROWLESS)
        own = context.vars
        if context.is_shared or name not in own or made is UNDEF:
            bind(context, ROWLESS, made)
        else:
            own[name] = made
        return DONE

    return run


# Leaving -----------------------------------------------------------------------------------------------------


def compile_return(compiler: Compiler, node: ast.Return) -> Op:
    """`return($x)`."""
    value: Expr = compiler.expression(node.value) if node.value is not None else _null
    is_safe = compiler.is_safe(node)

    def run(context: RunContext, rows: Iterator[Path]) -> Iterator[Path]:
        for path in rows:
            raise StormReturn(value(context, path))
        if is_safe:
            raise StormReturn(value(context, ROWLESS))
        return
        yield

    return run


def _null(context: RunContext, path: Path) -> Any:
    return None


def execute_return(compiler: Compiler, node: ast.Return) -> Exec:
    """`return($x)` without rows."""
    if not compiler.is_safe(node):
        return do_nothing
    value: Expr = compiler.expression(node.value) if node.value is not None else _null

    def run(context: RunContext) -> int:
        context.returned = value(context, ROWLESS)
        return RETURN

    return run


def compile_leave(compiler: Compiler, node: ast.Break | ast.Continue) -> Op:
    """`break`, `continue`: the row at hand goes along."""
    signal = StormBreak if isinstance(node, ast.Break) else StormContinue
    place = compiler.place(node)

    def run(context: RunContext, rows: Iterator[Path], place: object = place) -> Iterator[Path]:
        for path in rows:
            raise signal(path)
        raise signal
        yield

    return run


def execute_leave(compiler: Compiler, node: ast.Break | ast.Continue) -> Exec:
    """`break`, `continue` without rows."""
    return _left_at(BREAK if isinstance(node, ast.Break) else CONTINUE, compiler.place(node))


def compile_stop(compiler: Compiler, node: ast.Stop) -> Op:
    """`stop`."""
    place = compiler.place(node)

    def run(context: RunContext, rows: Iterator[Path], place: object = place) -> Iterator[Path]:
        for _ in rows:
            raise StormStop
        raise StormStop
        yield

    return run


def execute_stop(compiler: Compiler, node: ast.Stop) -> Exec:
    """`stop` without rows."""
    return _left_at(STOP, compiler.place(node))


def _left_at(code: int, place: object) -> Exec:
    def run(context: RunContext) -> int:
        # Should nothing be there to leave, the error tells where this stands; see `raise_signal`.
        context.returned = place
        return code

    return run


def compile_emit(compiler: Compiler, node: ast.Emit) -> Op:
    """`emit $x`: the value leaves the function; rows go on."""
    value = compiler.expression(node.value)
    is_safe = compiler.is_safe(node)
    place = compiler.place(node)
    if not compiler.is_emitting:
        return _emit_outside(place)

    def run(context: RunContext, rows: Iterator[Path], place: object = place) -> Iterator[Path]:
        path = None
        for path in rows:
            yield cast(Path, Emitted(value(context, path)))
            yield path
        if path is None and is_safe:
            yield cast(Path, Emitted(value(context, ROWLESS)))

    return run


def _emit_outside(place: object) -> Op:
    def run(context: RunContext, rows: Iterator[Path], place: object = place) -> Iterator[Path]:
        for _ in rows:
            break
        raise StormRuntimeError("emit stands outside of a function")
        yield

    return run


# Functions ---------------------------------------------------------------------------------------------------


def function_maker(compiler: Compiler, node: ast.Function) -> Callable[[RunContext], StormFunction]:
    """Return what makes the function when its definition is reached."""
    names = tuple(parameter.name for parameter in node.parameters)
    defaults: list[Expr | None] = [
        compiler.expression(parameter.default) if parameter.default is not None else None
        for parameter in node.parameters
    ]
    is_safe = all(
        compiler.is_safe(default) for parameter in node.parameters if (default := parameter.default)
    )
    effects = node.body_effects
    compiled: list[Body] = []

    def body() -> Body:
        # Compiled and checked at the first call: what it uses may be missing as long as nobody calls it.
        if not compiled:
            scope = Scope(node.body, names, compiler.scope)
            scope.check(compiler.source)
            inner = compiler.inner(scope, is_emitting=effects.has_emit)
            compiled.append(inner.body(node.body))
        return compiled[0]

    def make(context: RunContext) -> StormFunction:
        if not is_safe:
            raise StormRuntimeError(
                f"defaults of the function {node.name} may not depend on a node", name=node.name
            )
        return StormFunction(
            node.name,
            names,
            tuple(
                [REQUIRED if default is None else _default(default(context, ROWLESS)) for default in defaults]
            ),
            body,
            context,
            has_return=effects.has_return,
            has_emit=effects.has_emit,
        )

    return make


def _default(value: Any) -> Any:
    """Return the default of a parameter; what all calls would share and could change is refused."""
    if isinstance(value, (list, dict, set)):
        raise StormRuntimeError("the default of a parameter may not be a list, dictionary or set")
    return value


def compile_function(compiler: Compiler, node: ast.Function) -> Op:
    """`function f() { }`: defined when the first row reaches the step, or there is none."""
    make = function_maker(compiler, node)
    name = node.name

    def run(context: RunContext, rows: Iterator[Path]) -> Iterator[Path]:
        # What stands before has run by the time its first row is here.
        first = next(rows, None)
        context.own_vars()[name] = make(context)
        if first is not None:
            yield first
            yield from rows

    return run


def execute_function(compiler: Compiler, node: ast.Function) -> Exec:
    """`function f() { }` without rows."""
    make = function_maker(compiler, node)
    name = node.name

    def run(context: RunContext) -> int:
        context.own_vars()[name] = make(context)
        return DONE

    return run
