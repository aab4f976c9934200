"""Callable values and what they give: library functions, methods, functions written in Storm, generators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from cellmesh.common.errors import StormRuntimeError
from cellmesh.cortex.storm.runtime.interface import REQUIRED, FunctionSpec
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.signals import LoopSignal, StormReturn, StormStop, is_emitted

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import CompiledQuery, RunContext


class StormGenerator:
    """A stream of values made on demand; it can be gone through once.

    What a function without `emit` and `return` gives are (node, path) pairs.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Iterator[Any]) -> None:
        self._values = values

    def __iter__(self) -> Iterator[Any]:
        return self._values

    def close(self) -> None:
        """End the stream and whatever feeds it."""
        close = getattr(self._values, "close", None)
        if close is not None:
            close()

    def storm_text(self) -> str:
        """Return a text for messages."""
        return "<generator>"


def fill_arguments(
    name: str,
    names: Sequence[str],
    defaults: Sequence[Any],
    arguments: list[Any],
    keywords: dict[str, Any],
) -> list[Any]:
    """Return one value a parameter.

    Args:
        name: The function's name, for errors.
        names: Its parameters.
        defaults: One a parameter, REQUIRED where there is none.
        arguments: Positional arguments, changed in place.
        keywords: Named ones.

    Raises:
        StormRuntimeError: there are too few, too many, or one that no parameter takes.
    """
    given = len(arguments)
    if given > len(names):
        raise StormRuntimeError(f"{name}() takes {len(names)} arguments, not {given}", name=name)
    used = 0
    for position in range(given, len(names)):
        key = names[position]
        if keywords and key in keywords:
            arguments.append(keywords[key])
            used += 1
            continue
        default = defaults[position]
        if default is REQUIRED:
            raise StormRuntimeError(f"{name}() needs the argument {key}", name=name)
        arguments.append(default)
    if used != len(keywords):
        unknown = next((key for key in keywords if key not in names[given:]), "")
        raise StormRuntimeError(f"{name}() takes no further argument {unknown}", name=name)
    return arguments


Check: TypeAlias = Callable[..., None]
"""Raises AuthDeny unless a function may be called by the query's user; gets what the function gets."""


class NativeFunction:
    """A library function, or a method with the value it belongs to.

    Args:
        spec: How it is declared.
        check: Asked before each call of a user who has not all rights.

    Attributes:
        spec: How it is declared.
    """

    __slots__ = ("_check", "_defaults", "_names", "_own", "_plain_count", "_required", "spec")

    def __init__(self, spec: FunctionSpec, check: Check | None = None) -> None:
        self.spec = spec
        self._check = check
        self._names = tuple(parameter.name for parameter in spec.parameters)
        self._defaults = tuple(parameter.default for parameter in spec.parameters)
        self._required = sum(1 for default in self._defaults if default is REQUIRED)
        self._own: tuple[Any, ...] = ()
        special = (
            spec.rest is not None
            or spec.keywords is not None
            or spec.is_generator
            or spec.changes_state
            or spec.deprecated != ""
            or check is not None
        )
        # How many arguments need no filling at all; -1 never matches.
        self._plain_count = -1 if special else len(self._names)

    def of(self, value: Any) -> NativeFunction:
        """Return the method bound to a value."""
        bound = NativeFunction.__new__(NativeFunction)
        bound.spec = self.spec
        bound._check = self._check
        bound._names = self._names
        bound._defaults = self._defaults
        bound._required = self._required
        bound._plain_count = self._plain_count
        bound._own = (value,)
        return bound

    def storm_call(self, context: RunContext, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        """Call it."""
        if len(arguments) == self._plain_count and not keywords:
            return self.spec.function(context, *self._own, *arguments)
        return self._call_special(context, self._own, arguments, keywords)

    def call_on(self, context: RunContext, value: Any, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        """Call it as a method of a value, without binding it first."""
        if len(arguments) == self._plain_count and not keywords:
            return self.spec.function(context, value, *arguments)
        return self._call_special(context, (value,), arguments, keywords)

    def _call_special(
        self, context: RunContext, own: tuple[Any, ...], arguments: list[Any], keywords: dict[str, Any]
    ) -> Any:
        spec = self.spec
        names = self._names
        rest: tuple[Any, ...] = ()
        others: dict[str, Any] = {}
        if spec.rest is not None and len(arguments) > len(names):
            rest = tuple(arguments[len(names) :])
            arguments = arguments[: len(names)]
        if spec.keywords is not None and keywords:
            others = {key: value for key, value in keywords.items() if key not in names}
            keywords = {key: value for key, value in keywords.items() if key in names}
        filled: list[Any] = fill_arguments(spec.name, names, self._defaults, arguments, keywords)
        if spec.rest is not None:
            filled.append(rest)
        if spec.keywords is not None:
            filled.append(others)
        if spec.changes_state:
            context.check_writable()
        if self._check is not None and context.run.rights is not None:
            self._check(context, *own, *filled)
        if spec.deprecated:
            context.warn_once(f"{spec.name}() is deprecated: {spec.deprecated}")
        result = spec.function(context, *own, *filled)
        return StormGenerator(result) if spec.is_generator else result

    def storm_text(self) -> str:
        """Return a text for messages."""
        return f"builtin function {self.spec.name}"


class StormFunction:
    """A function written in Storm.

    Attributes:
        name: Its name.
        has_return: Whether a call runs the body at once for what it returns.
        has_emit: Whether a call gives the values it emits; with neither it gives nodes.
    """

    __slots__ = ("_body", "_context", "_defaults", "_names", "has_emit", "has_return", "name")

    def __init__(
        self,
        name: str,
        names: tuple[str, ...],
        defaults: tuple[Any, ...],
        body: Callable[[], CompiledQuery],
        context: RunContext,
        *,
        has_return: bool,
        has_emit: bool,
    ) -> None:
        self.name = name
        self._names = names
        self._defaults = defaults
        self._body = body
        self._context = context
        self.has_return = has_return
        self.has_emit = has_emit

    def storm_call(self, context: RunContext, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        """Call it: gives what it returns, or a StormGenerator."""
        names = self._names
        if keywords or len(arguments) != len(names):
            arguments = fill_arguments(self.name, names, self._defaults, arguments, keywords)
        scope = self._context.inner(dict(zip(names, arguments)), self.name)
        if self.has_emit:
            return StormGenerator(self._emitted(scope))
        if not self.has_return:
            return StormGenerator(self._nodes(scope))
        budget = scope.run.budget
        budget.enter()
        try:
            return self._body().value(scope)
        except LoopSignal as signal:
            raise self._misplaced(signal.statement) from None
        except StormStop:
            raise self._misplaced("stop") from None
        finally:
            budget.leave()

    def _emitted(self, scope: RunContext) -> Iterator[Any]:
        budget = scope.run.budget
        budget.enter()
        try:
            for row in self._body().rows(scope, iter(())):
                if is_emitted(row):
                    yield row.value
        except (StormStop, StormReturn):
            return
        except LoopSignal as signal:
            raise self._misplaced(signal.statement) from None
        finally:
            budget.leave()

    def _nodes(self, scope: RunContext) -> Iterator[tuple[Any, Path]]:
        budget = scope.run.budget
        budget.enter()
        try:
            for row in self._body().rows(scope, iter(())):
                yield row.node, row
        except StormStop:
            return
        except LoopSignal as signal:
            raise self._misplaced(signal.statement) from None
        finally:
            budget.leave()

    def _misplaced(self, statement: str) -> StormRuntimeError:
        return StormRuntimeError(
            f"{statement} stands where the function {self.name} cannot use it",
            function=self.name,
            statement=statement,
        )

    def storm_text(self) -> str:
        """Return a text for messages."""
        return f"function {self.name}"
