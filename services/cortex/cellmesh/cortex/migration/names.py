"""What names that steps know are called in the model of this program.

A Cortex that goes over several versions has its steps run by the newest model, which knows none of the names between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cellmesh.common.errors import BadFormDef
from cellmesh.cortex.layers.catalog import IndexCatalog
from cellmesh.cortex.migration.steps import (
    STEPS,
    Change,
    ModelStep,
    RenameForm,
    RenameProp,
    RenameTagProp,
    RetypeProp,
)
from cellmesh.cortex.views.graph import Graph


class StepNames:
    """Names of all steps.

    Args:
        steps: All there are, in order.
    """

    def __init__(self, steps: Sequence[ModelStep]) -> None:
        self._changes: list[tuple[int, int, Change]] = [
            (step.number, index, change) for step in steps for index, change in enumerate(step.changes)
        ]

    def form(self, name: str, number: int, index: int) -> str:
        """Return what a form is called now that has a name after a change, told by its step and place."""
        for change in self._after(number, index):
            if isinstance(change, RenameForm) and change.old_name == name:
                name = change.new_name
        return name

    def prop(self, form: str, name: str, number: int, index: int) -> tuple[str, str]:
        """Return what a property of a form, and the form, are called now."""
        for change in self._after(number, index):
            if isinstance(change, RenameForm) and change.old_name == form:
                form = change.new_name
            elif isinstance(change, RenameProp) and (change.form, change.old_name) == (form, name):
                name = change.new_name
        return form, name

    def tag_prop(self, name: str, number: int, index: int) -> str:
        """Return what a tag property is called now."""
        for change in self._after(number, index):
            if isinstance(change, RenameTagProp) and change.old_name == name:
                name = change.new_name
        return name

    def tell(self, catalog: IndexCatalog) -> None:
        """Have indexes know what was before: entries from then are found, and records of the log from then applied."""
        for number, index, change in self._changes:
            match change:
                case RenameProp():
                    catalog.add_former(change.form, change.old_name, change.old_type)
                case RetypeProp():
                    catalog.add_former(change.form, change.name, change.old_type)
                case RenameTagProp():
                    now = self.tag_prop(change.new_name, number, index)
                    catalog.add_former_tag_prop(change.old_name, now, change.old_type)
                case RenameForm():
                    now = self.form(change.new_name, number, index)
                    catalog.add_former_form(change.old_name, now)

    def check(self, catalog: IndexCatalog) -> None:
        """Make certain that the model is that of the steps, of which the catalog was told.

        Raises:
            BadFormDef: it has a form that was renamed, or lacks what one is called now.
        """
        model = catalog.model
        for old, now in catalog.former_forms.items():
            if model.is_form(old) or not model.is_form(now):
                raise BadFormDef(f"a step renames {old} to {now}, and the model does not", form=now, name=old)
            if old.startswith("_") or model.require_form(now).is_runtime:
                raise BadFormDef(f"a step cannot rename {old}: only the shipped forms of nodes", form=old)

    def _after(self, number: int, index: int) -> Iterator[Change]:
        for other, place, change in self._changes:
            if (other, place) > (number, index):
                yield change


def tell_names(graph: Graph, steps: Sequence[ModelStep] = STEPS) -> None:
    """Have a graph know what was called otherwise before. To be called before what users added to the model is read."""
    StepNames(steps).tell(graph.catalog)
