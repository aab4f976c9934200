"""An engine on an empty graph, with all commands, libraries and types."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.changelog.log import DATABASES as LOG_DATABASES
from cellmesh.common.storage import Slab
from cellmesh.cortex.layers.schema import DATABASES
from cellmesh.cortex.model.registry import Model
from cellmesh.cortex.stores.schema import DATABASES as STORE_DATABASES
from cellmesh.cortex.stores.stores import Stores
from cellmesh.cortex.storm.commands import COMMANDS
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.library import LIBRARIES
from cellmesh.cortex.storm.primitives import TYPES
from cellmesh.cortex.views.graph import Graph

MakeEngine = Callable[..., Engine]


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[Graph]:
    """An empty graph."""
    slab = Slab.open(tmp_path, (*DATABASES, *STORE_DATABASES, *LOG_DATABASES), sync=False)
    try:
        yield Graph.open(slab, Model.load())
    finally:
        slab.close()


@pytest.fixture
def make_engine(graph: Graph) -> MakeEngine:
    """Makes engines on the graph, with the arguments an Engine takes."""

    def make(**arguments: Any) -> Engine:
        arguments.setdefault("capabilities", Stores.open(graph).capabilities())
        return Engine(graph, COMMANDS, LIBRARIES, TYPES, **arguments)

    return make


@pytest.fixture
def engine(make_engine: MakeEngine) -> Engine:
    """An engine with the default limits."""
    return make_engine()
