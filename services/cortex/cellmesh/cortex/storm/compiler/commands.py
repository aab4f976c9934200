"""Commands: arguments worked out and checked, then the command's own generator."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from cellmesh.common.errors import NoSuchName, StormRuntimeError
from cellmesh.cortex.storm.compiler.core import ROWLESS, Compiler, Op
from cellmesh.cortex.storm.parser import ast
from cellmesh.cortex.storm.parser.hints import KEYWORDS
from cellmesh.cortex.storm.runtime.arguments import Given, fill, fill_defaults
from cellmesh.cortex.storm.runtime.context import RunContext
from cellmesh.cortex.storm.runtime.interface import Arguments
from cellmesh.cortex.storm.runtime.libraries import near_match
from cellmesh.cortex.storm.runtime.path import Path


def compile_command(compiler: Compiler, node: ast.Command) -> Op:
    """`limit 10`."""
    name = node.name.text
    parts = [
        (compiler.expression(argument), isinstance(argument, ast.Literal) and argument.is_bare)
        for argument in node.arguments
    ]
    is_safe = all(compiler.is_safe(argument) for argument in node.arguments)
    place = compiler.place(node)

    def given(context: RunContext, path: Path) -> list[Given]:
        return [(value(context, path), is_bare) for value, is_bare in parts]

    def run(context: RunContext, rows: Iterator[Path], place: object = place) -> Iterator[Path]:
        spec = context.engine.commands.get(name)
        if spec is None:
            raise NoSuchName(
                f"no command named {name}",
                name=name,
                **near_match(name, [*context.engine.commands, *KEYWORDS]),
            )
        if spec.changes_state:
            context.check_writable()
        arguments = Arguments()
        if is_safe:
            # What stands before has run by the time its first row is here, and has set its variables.
            first = next(rows, None) if parts else None
            if fill(context, spec, arguments, given(context, ROWLESS)):
                yield from spec.run(context, arguments, rows if first is None else chain((first,), rows))
            return
        if spec.needs_constant:
            # Without a row there is nothing that the arguments could depend on.
            if next(rows, None) is None:
                return
            raise StormRuntimeError(f"the arguments of {name} may not depend on the node", name=name)
        arguments.is_constant = False
        fill_defaults(spec, arguments)

        def filled() -> Iterator[Path]:
            for path in rows:
                if not fill(context, spec, arguments, given(context, path)):
                    return
                yield path

        yield from spec.run(context, arguments, filled())

    return run
