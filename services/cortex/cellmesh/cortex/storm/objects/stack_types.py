"""The types of views and layers, with all their methods."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from cellmesh.cortex.storm.objects import (
    layer_changes,
    layer_contents,
    layer_edits,
    layer_syncs,
    stacks,
    view_methods,
)
from cellmesh.cortex.storm.runtime.interface import TypeSpec

_MORE: Final = {
    "view": view_methods.METHODS,
    "layer": (
        *layer_contents.METHODS,
        *layer_changes.METHODS,
        *layer_edits.METHODS,
        *layer_syncs.METHODS,
    ),
}

TYPES: Final[tuple[TypeSpec, ...]] = tuple(
    replace(spec, methods=(*spec.methods, *_MORE[spec.name])) for spec in stacks.TYPES
)
