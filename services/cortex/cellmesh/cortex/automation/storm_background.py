"""The command `background`: a query that goes on by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import CellError
from cellmesh.cortex.automation.executor import LOGGER, Executor
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.messages import Error, Message
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.queries import StormQuery
from cellmesh.cortex.storm.runtime.values import toprim

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


def _background(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    yield from rows
    query: StormQuery = arguments.query
    # What was edited so far is there for the other query, and it does not wait for this one's transaction.
    context.session.sync()
    start_background(context, query)


def start_background(context: RunContext, query: StormQuery) -> str:
    """Start a query beside the one that runs, as its user and with its variables; returns its task id.

    Raises:
        NoSuchVar: it uses a variable that is set nowhere.
        ShuttingDown: the cell stops, or another one leads.
    """
    variables = {**_plain(context.all_vars()), **_plain(query.vars)}
    engine: Any = context.engine
    engine.prepare(query.text, "storm", variables)
    options = QueryOptions(
        vars=variables, view=str(context.view.id), user=context.user, readonly=context.run.is_readonly
    )
    running = engine.start(query.text, options)
    executor: Executor = context.capability("executor")

    def note(message: Message) -> None:
        if isinstance(message, Error):
            LOGGER.warning(
                "a query in the background failed",
                extra={"task": running.task_id, "error": f"{message.error.name}: {message.error}"},
            )

    executor.start(
        f"background-{running.task_id[:8]}", lambda: running.send_to(note), running.cancel, has_end=True
    )
    return str(running.task_id)


def _plain(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables that another query can have: those with a plain form."""
    found: dict[str, Any] = {}
    for name, value in variables.items():
        try:
            found[name] = toprim(value)
        except (CellError, TypeError, ValueError):
            continue
    return found


COMMANDS: Final = (
    CommandSpec(
        "background",
        """Run a query by itself, while this one goes on.

        It has the variables of this query, but not its nodes, and what it prints is seen by nobody. It is lost when
        the cell stops.

            background { for $name in $names { [ inet:fqdn=$name ] } }
        """,
        _background,
        (ArgumentSpec(("query",), "The query to run.", type="query"),),
        needs_constant=True,
        may_change=True,
    ),
)
