"""Projects, and their epics, sprints, tickets and comments, as values: `$lib.projects`. All of them are nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Final

from cellmesh.common import hashing
from cellmesh.common.errors import NoSuchForm, NoSuchName, StormRuntimeError
from cellmesh.cortex.storm.runtime.interface import AttributeSpec, FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.values import toprim, tostr
from cellmesh.cortex.views.node import Node

if TYPE_CHECKING:
    from cellmesh.cortex.model.registry import Form
    from cellmesh.cortex.storm.runtime.context import RunContext


class ProjectItem:
    """A node of a project."""

    __slots__ = ("node",)
    form: ClassVar[str]

    def __init__(self, node: Node) -> None:
        self.node = node

    def storm_plain(self) -> Any:
        """Return the node's value."""
        return self.node.value


class Project(ProjectItem):
    """A project."""

    __slots__ = ()
    form = "proj:project"


class Epic(ProjectItem):
    """An epic."""

    __slots__ = ()
    form = "proj:epic"


class Sprint(ProjectItem):
    """A sprint."""

    __slots__ = ()
    form = "proj:sprint"


class Ticket(ProjectItem):
    """A ticket."""

    __slots__ = ()
    form = "proj:ticket"


class Comment(ProjectItem):
    """A comment on a ticket."""

    __slots__ = ()
    form = "proj:comment"


class Items:
    """The epics, sprints or tickets of a project, or the comments of a ticket."""

    __slots__ = ("owner",)
    kind: ClassVar[type[ProjectItem]]
    link: ClassVar[str] = "project"

    def __init__(self, owner: ProjectItem) -> None:
        self.owner = owner


class Epics(Items):
    """The epics of a project."""

    __slots__ = ()
    kind = Epic


class Sprints(Items):
    """The sprints of a project."""

    __slots__ = ()
    kind = Sprint


class Tickets(Items):
    """The tickets of a project."""

    __slots__ = ()
    kind = Ticket


class Comments(Items):
    """The comments on a ticket."""

    __slots__ = ()
    kind = Comment
    link = "ticket"


def _form(context: RunContext, name: str) -> Form:
    form = context.model.form(name)
    if form is None:
        raise NoSuchForm(f"the model has no form {name}", name=name)
    return form


def make_item(context: RunContext, form_name: str, props: dict[str, Any]) -> Node:
    """Make a node with a new iden, its creator and time."""
    context.check_writable()
    form = _form(context, form_name)
    node = context.session.add_node(form, hashing.guid())
    creator = context.model.iden_of("user", context.user)
    if creator is not None:
        context.session.set_prop(node, "creator", creator)
    context.session.set_prop(node, "created", "now")
    for name, value in props.items():
        if value is not None:
            context.session.set_prop(node, name, value)
    return node


def named_item(context: RunContext, nodes: Iterator[Node], name: Any) -> Node | None:
    """Return the node that has a name, or whose iden begins with it; None if there is none.

    Raises:
        StormRuntimeError: there are several.
    """
    wanted = tostr(name)
    found = []
    for node in nodes:
        context.tick()
        if (
            node.get("name") == wanted.lower()
            or node.get("name") == wanted
            or str(node.value).startswith(wanted)
        ):
            found.append(node)
    if len(found) > 1:
        raise StormRuntimeError(f"{wanted} could be one of several", name=wanted)
    return found[0] if found else None


def item_nodes(context: RunContext, items: Items) -> Iterator[Node]:
    """Yield the nodes of a project's items."""
    prop = context.model.require_prop(f"{items.kind.form}:{items.link}")
    yield from context.session.lift_value(prop, "=", items.owner.node.value)


def _get(context: RunContext, self: Items, name: Any) -> ProjectItem | None:
    node = named_item(context, item_nodes(context, self), name)
    return None if node is None else self.kind(node)


def _del(context: RunContext, self: Items, name: Any) -> bool:
    node = named_item(context, item_nodes(context, self), name)
    if node is None:
        return False
    remove_item(context, node)
    return True


def remove_item(context: RunContext, node: Node) -> None:
    """Delete a node, and let go of it what refers to it."""
    context.check_writable()
    context.session.delete_node(node, force=True)


def _iterate(context: RunContext, self: Items) -> Iterator[ProjectItem]:
    for node in item_nodes(context, self):
        context.tick()
        yield self.kind(node)


def _add(context: RunContext, self: Items, name: Any, **props: Any) -> ProjectItem:
    return self.kind(
        make_item(context, self.kind.form, {"name": tostr(name), self.link: self.owner.node.value, **props})
    )


def _add_epic(context: RunContext, self: Items, name: Any) -> ProjectItem:
    return _add(context, self, name)


def _add_sprint(context: RunContext, self: Items, name: Any, period: Any) -> ProjectItem:
    return _add(context, self, name, period=toprim(period), status="planned")


def _add_ticket(context: RunContext, self: Items, name: Any, text: Any) -> ProjectItem:
    return _add(context, self, name, desc=tostr(text), status=0, priority=0)


def _add_comment(context: RunContext, self: Items, text: Any) -> ProjectItem:
    return Comment(make_item(context, Comment.form, {"text": tostr(text), self.link: self.owner.node.value}))


def _get_comment(context: RunContext, self: Items, iden: Any) -> ProjectItem | None:
    wanted = tostr(iden)
    return next((Comment(node) for node in item_nodes(context, self) if node.value == wanted), None)


def _del_comment(context: RunContext, self: Comment) -> bool:
    remove_item(context, self.node)
    return True


def _sprint_tickets(context: RunContext, self: Sprint) -> list[Ticket]:
    prop = context.model.require_prop(f"{Ticket.form}:sprint")
    return [Ticket(node) for node in context.session.lift_value(prop, "=", self.node.value)]


def _prop(name: str, doc: str, kind: str = "str") -> AttributeSpec:
    """An attribute that is a property of the node; null removes it."""

    def change(context: RunContext, self: ProjectItem, value: Any) -> None:
        context.check_writable()
        if value is None:
            context.session.pop_prop(self.node, name)
        else:
            context.session.set_prop(self.node, name, toprim(value))

    return AttributeSpec(name, doc, lambda c, s: s.node.get(name), kind, change)


def _reference(name: str, doc: str, items: type[Items]) -> AttributeSpec:
    """An attribute that names another item of the project."""

    def change(context: RunContext, self: ProjectItem, value: Any) -> None:
        context.check_writable()
        if value is None:
            context.session.pop_prop(self.node, name)
            return
        prop = context.model.require_prop(f"{items.kind.form}:project")
        nodes = context.session.lift_value(prop, "=", self.node.get("project"))
        found = named_item(context, nodes, value)
        if found is None:
            raise NoSuchName(f"the project has no {name} {tostr(value)}", name=tostr(value))
        context.session.set_prop(self.node, name, found.value)

    return AttributeSpec(name, doc, lambda c, s: s.node.get(name), "str", change)


_NAME: Final = ParameterSpec("name", type="str", doc="Its name, or the beginning of its iden.")
_NEW: Final = ParameterSpec("name", type="str", doc="Its name.")
_DESC: Final = ParameterSpec("desc", "", "str", "What it is about.")


def _items(name: str, kind: type[Items], what: str, add: FunctionSpec) -> TypeSpec:
    return TypeSpec(
        name,
        kind,
        f"The {what}s of a project.",
        (
            add,
            FunctionSpec(
                "del",
                f"Delete a {what}; gives whether it was there.",
                _del,
                (_NAME,),
                "bool",
                changes_state=True,
            ),
            FunctionSpec("get", f"A {what}; null if there is none.", _get, (_NAME,), f"proj:{what}"),
        ),
        iterate=_iterate,
    )


TYPES: Final = (
    TypeSpec(
        "proj:project",
        Project,
        "A project.",
        attributes=(
            AttributeSpec("epics", "Its epics.", lambda c, s: Epics(s), "proj:epics"),
            _prop("name", "Its name."),
            AttributeSpec("sprints", "Its sprints.", lambda c, s: Sprints(s), "proj:sprints"),
            AttributeSpec("tickets", "Its tickets.", lambda c, s: Tickets(s), "proj:tickets"),
        ),
    ),
    TypeSpec("proj:epic", Epic, "An epic of a project.", attributes=(_prop("name", "Its name."),)),
    TypeSpec(
        "proj:sprint",
        Sprint,
        "A sprint of a project.",
        attributes=(
            _prop("desc", "What it is about."),
            _prop("name", "Its name."),
            _prop("status", "How far it is."),
            AttributeSpec("tickets", "Its tickets.", _sprint_tickets, "list"),
        ),
    ),
    TypeSpec(
        "proj:ticket",
        Ticket,
        "A ticket of a project.",
        attributes=(
            _prop("assignee", "Who works on it."),
            AttributeSpec("comments", "The comments on it.", lambda c, s: Comments(s), "proj:comments"),
            _prop("desc", "What it is about."),
            _reference("epic", "The epic it belongs to.", Epics),
            _prop("name", "Its name."),
            _prop("priority", "How urgent it is.", "int"),
            _reference("sprint", "The sprint it belongs to.", Sprints),
            _prop("status", "How far it is.", "int"),
        ),
    ),
    TypeSpec(
        "proj:comment",
        Comment,
        "A comment on a ticket.",
        (FunctionSpec("del", "Delete it.", _del_comment, (), "bool", changes_state=True),),
        (_prop("text", "What it says."),),
    ),
    _items(
        "proj:epics",
        Epics,
        "epic",
        FunctionSpec("add", "Make an epic.", _add_epic, (_NEW,), "proj:epic", changes_state=True),
    ),
    _items(
        "proj:sprints",
        Sprints,
        "sprint",
        FunctionSpec(
            "add",
            "Make a sprint.",
            _add_sprint,
            (_NEW, ParameterSpec("period", None, "list", "From when until when.")),
            "proj:sprint",
            changes_state=True,
        ),
    ),
    _items(
        "proj:tickets",
        Tickets,
        "ticket",
        FunctionSpec("add", "Make a ticket.", _add_ticket, (_NEW, _DESC), "proj:ticket", changes_state=True),
    ),
    TypeSpec(
        "proj:comments",
        Comments,
        "The comments on a ticket.",
        (
            FunctionSpec(
                "add",
                "Add a comment.",
                _add_comment,
                (ParameterSpec("text", type="str", doc="What it says."),),
                "proj:comment",
                changes_state=True,
            ),
            FunctionSpec(
                "get",
                "A comment; null if there is none.",
                _get_comment,
                (ParameterSpec("guid", type="str", doc="Its iden."),),
                "proj:comment",
            ),
        ),
        iterate=_iterate,
    ),
)
