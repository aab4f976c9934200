"""An engine and the oracle side by side, on graphs that must stay the same."""

from __future__ import annotations

from typing import Any

from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime.messages import Error, NodeRow
from cellmesh.testing.oracle.evaluate import Oracle
from cellmesh.testing.oracle.making import Choices, Maker
from cellmesh.testing.oracle.queries import Query, text_of
from cellmesh.testing.oracle.world import PROPS, Ndef, World

WRITES = 4
"""Queries of a round that fill the graph first."""


class Pair:
    """Runs each query on both."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._oracle = Oracle(World())

    @property
    def steps(self) -> int:
        """How many nodes were lifted, walked to or edited."""
        return self._oracle.steps

    def clear(self) -> None:
        """Empty both graphs."""
        for message in self._engine.storm(".created | delnode --force"):
            assert not isinstance(message, Error), message
        self._oracle.world.clear()

    def round(self, choices: Choices, queries: int) -> None:
        """Make a graph, then run queries on it, each of which may change it for the next."""
        self.clear()
        maker = Maker(choices)
        texts: list[str] = []
        for number in range(WRITES + queries):
            query = maker.writing() if number < WRITES else maker.query()
            texts.append(text_of(query))
            self._compare(query, "\n".join(texts))

    def _compare(self, query: Query, texts: str) -> None:
        text = text_of(query)
        wanted = self._oracle.run(query)
        found: list[Ndef] = []
        error: str | None = None
        for message in self._engine.storm(text):
            if isinstance(message, NodeRow):
                found.append(message.node.ndef)
            elif isinstance(message, Error):
                error = message.error.name
        assert (found, error) == wanted, texts
        assert self._state() == self._oracle.world.state(), texts

    def _state(self) -> dict[Ndef, tuple[Any, ...]]:
        """All that is in the engine's graph, as the oracle tells it of its own."""
        graph = self._engine.graph
        found: dict[Ndef, tuple[Any, ...]] = {}
        with graph.begin(graph.default_view) as session:
            for form, props in PROPS.items():
                for node in session.lift_form(session.model.require_form(form)):
                    held = {name: node.get(name) for name in props if node.has(name)}
                    plain = {name: tuple(v) if isinstance(v, list) else v for name, v in held.items()}
                    edges = sorted(
                        (verb, repr(other.ndef)) for _, verb, other in session.edges_out([node], None)
                    )
                    found[node.ndef] = (
                        tuple(sorted(plain.items())),
                        tuple(sorted(node.tags)),
                        tuple(edges),
                    )
        return found
