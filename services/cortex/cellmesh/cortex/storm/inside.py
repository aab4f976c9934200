"""Python that runs as a query: with its session, its user's rights and its budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cellmesh.common.telemetry.logs import get_logger
from cellmesh.cortex.storm.runtime.functions import NativeFunction
from cellmesh.cortex.storm.runtime.interface import FunctionSpec
from cellmesh.cortex.storm.runtime.messages import Error, Message, Warn
from cellmesh.cortex.storm.runtime.options import QueryOptions

if TYPE_CHECKING:
    from cellmesh.cortex.storm.engine import Engine
    from cellmesh.cortex.storm.execution import Running
    from cellmesh.cortex.storm.runtime.context import RunContext

LOGGER = get_logger(__name__)

NAME = "act"


def query_of(engine: Engine, act: Callable[[RunContext], None], user: str) -> Running:
    """Return a query of a user, ready to run, that does what a function does."""
    function = NativeFunction(FunctionSpec(NAME, "What is to be done.", act))
    return engine.start(f"${NAME}()", QueryOptions(vars={NAME: function}, user=user))


def run_logged(running: Running, event: str, **facts: str) -> bool:
    """Run a query to its end; what it warns of, and what it fails with, is logged. Returns whether it did not fail."""
    is_well = True

    def take(message: Message) -> None:
        nonlocal is_well
        if isinstance(message, Warn):
            LOGGER.warning(event, **facts, warning=message.text)
        elif isinstance(message, Error):
            is_well = False
            error = message.error
            LOGGER.warning(event, **facts, error=error.name, error_text=error.message)

    running.send_to(take)
    return is_well
