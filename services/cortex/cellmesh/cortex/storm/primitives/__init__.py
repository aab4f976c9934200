"""What values of a query can do: methods and attributes of texts, numbers, containers, nodes and queries.

text.py         str
numbers.py      int, numbers with a point, booleans and null
containers.py   list, tuple, dict and set
binary.py       bytes
nodes.py        node, its properties and its data
tags.py         what methods about tags work out
paths.py        path, its variables and its meta values
queries.py      queries, functions and generators

`TYPES` lists them, with the values that library functions give, for the Engine; nothing is registered by being imported.
"""

from __future__ import annotations

from typing import Final

from cellmesh.cortex.storm.objects import TYPES as OBJECT_TYPES
from cellmesh.cortex.storm.primitives import binary, containers, nodes, numbers, paths, queries, text
from cellmesh.cortex.storm.runtime.interface import TypeSpec

TYPES: Final[tuple[TypeSpec, ...]] = (
    *text.TYPES,
    *numbers.TYPES,
    *containers.TYPES,
    *binary.TYPES,
    *nodes.TYPES,
    *paths.TYPES,
    *queries.TYPES,
    *OBJECT_TYPES,
)
