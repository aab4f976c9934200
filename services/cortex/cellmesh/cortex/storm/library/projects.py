"""`$lib.projects`: projects and what belongs to them, as nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import NoSuchForm
from cellmesh.cortex.storm.objects.projects import Project, make_item, named_item, remove_item
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.views.node import Node


def _nodes(context: RunContext) -> Iterator[Node]:
    form = context.model.form(Project.form)
    if form is None:
        raise NoSuchForm(f"the model has no form {Project.form}", name=Project.form)
    return context.session.lift_form(form)


def _add(context: RunContext, name: Any, text: Any) -> Project:
    return Project(make_item(context, Project.form, {"name": tostr(name), "desc": tostr(text)}))


def _get(context: RunContext, name: Any) -> Project | None:
    node = named_item(context, _nodes(context), name)
    return None if node is None else Project(node)


def _del(context: RunContext, name: Any) -> bool:
    node = named_item(context, _nodes(context), name)
    if node is None:
        return False
    remove_item(context, node)
    return True


_NAME: Final = ParameterSpec("name", type="str", doc="Its name, or the beginning of its iden.")

LIBRARIES: Final = (
    LibrarySpec(
        ("projects",),
        "Projects.",
        (
            FunctionSpec(
                "add",
                "Make a project.",
                _add,
                (
                    ParameterSpec("name", type="str", doc="Its name."),
                    ParameterSpec("desc", "", "str", "What it is about."),
                ),
                "proj:project",
                changes_state=True,
            ),
            FunctionSpec(
                "del",
                "Delete a project; gives whether it was there.",
                _del,
                (_NAME,),
                "bool",
                changes_state=True,
            ),
            # What is taken from it may be changed.
            FunctionSpec(
                "get", "A project; null if there is none.", _get, (_NAME,), "proj:project", may_change=True
            ),
        ),
    ),
)
