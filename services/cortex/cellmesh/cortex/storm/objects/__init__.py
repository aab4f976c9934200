"""What library functions give: values with methods of their own, shared by `library` and `primitives`.

builder.py   text that grows
chance.py    sources of random numbers
models.py    forms, properties and types of the data model
queues.py    durable queues
stacks.py    views and layers
tally.py     counts by name
"""

from __future__ import annotations

from typing import Final

from cellmesh.cortex.storm.objects import builder, chance, models, queues, stacks, tally
from cellmesh.cortex.storm.runtime.interface import TypeSpec

TYPES: Final[tuple[TypeSpec, ...]] = (
    *builder.TYPES,
    *chance.TYPES,
    *models.TYPES,
    *queues.TYPES,
    *stacks.TYPES,
    *tally.TYPES,
)
