"""The types of views and layers, with all their methods."""

from __future__ import annotations

from typing import Final

from cellmesh.cortex.storm.objects import (
    layer_changes,
    layer_contents,
    layer_edits,
    layer_syncs,
    merge_requests,
    stack_contents,
    stack_facts,
    view_methods,
)
from cellmesh.cortex.storm.objects.stacks import LayerObject, ViewObject
from cellmesh.cortex.storm.runtime.interface import AttributeSpec, TypeSpec

TYPES: Final[tuple[TypeSpec, ...]] = (
    TypeSpec(
        "view",
        ViewObject,
        "A view.",
        (
            *stack_contents.VIEW_METHODS,
            *stack_facts.VIEW_METHODS,
            *view_methods.METHODS,
            *merge_requests.METHODS,
        ),
        (
            AttributeSpec("iden", "Its iden.", lambda c, s: str(s.view.id), "str"),
            AttributeSpec("layers", "Its layers, the top one first.", lambda c, s: s.layers, "list"),
            AttributeSpec(
                "parent",
                "The iden of the view it was forked from.",
                lambda c, s: s.storm_plain()["parent"],
                "str",
            ),
            AttributeSpec("triggers", "Its triggers.", view_methods.view_triggers, "list"),
        ),
    ),
    TypeSpec(
        "layer",
        LayerObject,
        "A layer. Nodes count where they were made, not where a layer above only changes them.",
        (
            *stack_contents.LAYER_METHODS,
            *stack_facts.LAYER_METHODS,
            *layer_contents.METHODS,
            *layer_changes.METHODS,
            *layer_edits.METHODS,
            *layer_syncs.METHODS,
        ),
        (
            AttributeSpec("iden", "Its iden.", lambda c, s: str(s.layer.id), "str"),
            AttributeSpec("name", "Its name when the value was made.", lambda c, s: s.name, "str"),
        ),
    ),
)
