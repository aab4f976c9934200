"""What is asked before functions of `$lib` and methods of values run for a user who has not all rights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import AuthDeny
from cellmesh.cortex.storm.objects.stacks import LayerObject, ViewObject
from cellmesh.cortex.storm.rights.gates import queue_gate
from cellmesh.cortex.storm.runtime.functions import Check
from cellmesh.cortex.storm.runtime.rights import EASY_ADMIN, EASY_EDIT, EASY_READ, Rights
from cellmesh.cortex.storm.runtime.values import tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


def asks(*path: str, default: bool = False) -> Check:
    """Ask for a permission."""
    return lambda context, *arguments: context.confirm(path, default=default)


def asks_with(*path: str, default: bool = False) -> Check:
    """Ask for a permission that ends in the first argument."""
    return lambda context, name, *others: context.confirm((*path, tostr(name)), default=default)


def admins(what: str) -> Check:
    """Ask for all rights."""
    return lambda context, *arguments: context.confirm_admin(what)


def rights_in(context: RunContext) -> Rights:
    """Return the rights of a query whose user has not all."""
    assert context.run.rights is not None, "asked for a user with all rights"
    return context.run.rights


# Views and layers.


def on_view(*path: str, default: bool = False) -> Check:
    """Ask for a permission on the view that a method belongs to."""

    def check(context: RunContext, view: ViewObject, *arguments: Any) -> None:
        context.confirm(path, str(view.view.id), default=default)

    return check


def on_iden(*path: str) -> Check:
    """Ask for a permission on the object whose iden is the first argument."""
    return lambda context, iden, *others: context.confirm(path, tostr(iden))


def _view_set(context: RunContext, self: ViewObject, name: Any, value: Any) -> None:
    context.confirm(("view", "set", tostr(name)), str(self.view.id))


def _layer_set(context: RunContext, self: LayerObject, name: Any, value: Any) -> None:
    context.confirm(("layer", "set", tostr(name)), str(self.layer.id))


def _view_fork(context: RunContext, self: ViewObject, name: Any) -> None:
    context.confirm(("view", "add"))
    confirm_reading(context, str(self.view.id))
    context.confirm(("view", "fork"), str(self.view.id), default=True)


def _view_add(context: RunContext, layers: Any, *others: Any) -> None:
    context.confirm(("view", "add"))
    for layer in layers or ():
        gate = tostr(layer)
        is_default = any(str(own.id) == gate for own in context.session.graph.default_view.layers)
        context.confirm(("layer", "read"), gate, default=is_default)


def confirm_reading(context: RunContext, view: str) -> None:
    """Ask whether the user may read a view. The default view is for everybody unless a rule says otherwise."""
    is_default = str(context.session.graph.default_view.id) == view
    context.confirm(("view", "read"), view, default=is_default)


def confirm_merging(context: RunContext, view: Any) -> None:
    """Ask whether the user may merge a fork: do everything with nodes of the layer below."""
    parent = None if view.parent is None else context.session.graph.views.get(view.parent)
    if parent is not None:
        context.confirm(("node",), str(parent.layers[0].id))


def _on_top_layer(*paths: tuple[str, ...]) -> Check:
    """Ask for permissions on the layer that a view writes to."""

    def check(context: RunContext, self: ViewObject, *arguments: Any) -> None:
        for path in paths:
            context.confirm(path, str(self.view.layers[0].id))

    return check


def _on_layer(*path: str) -> Check:
    """Ask for a permission on a layer. Those of the default view are for everybody unless a rule says otherwise."""

    def check(context: RunContext, self: LayerObject, *arguments: Any) -> None:
        gate = str(self.layer.id)
        is_default = any(str(own.id) == gate for own in context.session.graph.default_view.layers)
        context.confirm(path, gate, default=is_default and path == ("layer", "read"))

    return check


def _on_request(context: RunContext, self: ViewObject, *arguments: Any) -> None:
    """Ask whether the user may ask for a fork to be merged: who made it may."""
    if self.view.facts.get("creator") != rights_in(context).user_id:
        context.confirm(("view", "set", "merge"), str(self.view.id))


def _view_reading(context: RunContext, self: Any, *arguments: Any) -> None:
    if isinstance(self, ViewObject):
        confirm_reading(context, str(self.view.id))


# What belongs to somebody.


def _owned(owner: Callable[[RunContext, Any], str | None], *path: str, gate: Callable[[Any], str]) -> Check:
    """Ask for a permission on an object, which who made it has."""

    def check(context: RunContext, self: Any, *arguments: Any) -> None:
        rights = rights_in(context)
        if owner(context, self) not in (rights.user_id, rights.user):
            rights.confirm(path, gate(self))

    return check


def _queue_name(given: Any) -> str:
    return given.name if hasattr(given, "name") else tostr(given)


def _queue_owner(context: RunContext, given: Any) -> str | None:
    name = _queue_name(given)
    for known in context.capability("queues").describe(context.session):
        if known["name"] == name:
            return str(known["meta"]["creator"])
    return None


def _on_queue(*path: str) -> Check:
    return _owned(_queue_owner, *path, gate=lambda given: queue_gate(_queue_name(given)))


def _queue_gen(context: RunContext, name: Any) -> None:
    if context.capability("queues").has(context.session, tostr(name)):
        _on_queue("queue", "get")(context, name)
    else:
        context.confirm(("queue", "add"))


def _found(holder: Any, given: Any) -> tuple[str, Mapping[str, Any]]:
    """Return the iden and definition of a trigger or cron job, given as value or by the start of its iden."""
    for name in ("trigger", "job"):
        own = getattr(given, name, None)
        if own is not None:
            return own.row["iden"], own.row
    text = tostr(given)
    for iden, known in holder.by_iden.items():
        if iden.startswith(text):
            return iden, known.row
    # Nothing to be protected: the function says that there is no such thing.
    return "", {}


def _on_automation(capability: str, owner: str, *path: str) -> Check:
    def check(context: RunContext, given: Any, *arguments: Any) -> None:
        iden, row = _found(context.capability(capability), given)
        rights = rights_in(context)
        if iden and row.get(owner) not in (rights.user, rights.user_id):
            rights.confirm(path, iden)

    return check


def _automation_set(capability: str, owner: str, kind: str) -> Check:
    def check(context: RunContext, self: Any, name: Any, *arguments: Any) -> None:
        field = tostr(name)
        if field in ("user", "creator"):
            context.confirm((kind, "set", field))
            return
        _on_automation(capability, owner, kind, "set", field)(context, self)

    return check


def confirm_cron_jobs(context: RunContext) -> None:
    """Ask whether the user may see all cron jobs: who has made them all may."""
    check = _on_automation(*_CRON, "cron", "get")
    for iden in context.capability("cron").by_iden:
        check(context, iden)


def _adding(kind: str) -> Check:
    return lambda context, *arguments: context.confirm((kind, "add"), str(context.view.id))


# Macros.


def _macro(level: int, rule: str) -> Check:
    def check(context: RunContext, name: Any, *arguments: Any) -> None:
        text, rights = tostr(name), rights_in(context)
        known = context.capability("macros").get(context.session, text)
        if known is None:
            if level == EASY_EDIT:
                context.confirm(("storm", "macro", "add"), default=True)
            return
        if rights.level(known.get("permissions") or {}) < level and not rights.allowed(
            ("storm", "macro", rule)
        ):
            raise AuthDeny(
                f"user {rights.user} may not {rule} the macro {text}",
                perm=f"storm.macro.{rule}",
                user=rights.user_id,
                username=rights.user,
            )

    return check


def _projection(level: int) -> Check:
    """Ask for a level on the graph projection whose iden is the first argument."""

    def check(context: RunContext, iden: Any, *arguments: Any) -> None:
        known = (
            None
            if iden is None
            else context.capability("graph.projections").get(context.session, tostr(iden))
        )
        rights = rights_in(context)
        # The function says that there is no such thing; those of packages are for everybody, and not to be changed.
        if known is not None and rights.level(known.get("permissions") or {}) < level:
            raise AuthDeny(
                f"user {rights.user} may not do this with the graph projection {known['iden']}",
                iden=known["iden"],
                user=rights.user_id,
                username=rights.user,
            )

    return check


_TRIGGER: Final = ("triggers", "user")
_CRON: Final = ("cron", "creator")


def _on_package(context: RunContext, name: Any) -> None:
    context.confirm(("power-ups", tostr(name), "admin"))


def _project_del(context: RunContext, name: Any) -> None:
    context.confirm(("project", "del"), str(context.view.id))


def _vault_add(context: RunContext, name: Any, kind: Any, scope: Any, owner: Any, *others: Any) -> None:
    """Refuse vaults that others use: those for all, for a role, and for another user."""
    rights = rights_in(context)
    if scope in ("global", "role") or (
        scope == "user" and owner is not None and tostr(owner) != rights.user_id
    ):
        raise AuthDeny(
            "vaults for others are made by administrators", user=rights.user_id, username=rights.user
        )


def _telepath_open(context: RunContext, url: Any) -> None:
    scheme = tostr(url).partition("://")[0]
    context.confirm(("storm", "lib", "telepath", "open", scheme))


CHECKS: Final[Mapping[tuple[str, ...], Check]] = {
    # Views and layers.
    ("view", "add"): _view_add,
    ("view", "del"): on_iden("view", "del"),
    ("layer", "add"): asks("layer", "add"),
    ("layer", "del"): on_iden("layer", "del"),
    ("view", "fork"): _view_fork,
    ("view", "set"): _view_set,
    ("view", "merge"): lambda context, self, *arguments: confirm_merging(context, self.view),
    ("view", "getEdges"): _view_reading,
    ("view", "getFormCounts"): _view_reading,
    ("view", "getPropValues"): _view_reading,
    ("view", "getPropCount"): _view_reading,
    ("layer", "set"): _layer_set,
    ("view", "addNodeEdits"): _on_top_layer(("node",)),
    ("view", "wipeLayer"): _on_top_layer(
        ("node", "del"),
        ("node", "prop", "del"),
        ("node", "tag", "del"),
        ("node", "edge", "del"),
        ("node", "data", "pop"),
    ),
    ("view", "swapLayer"): on_view("view", "set", "layers"),
    ("view", "detach"): on_view("view", "set", "parent"),
    ("view", "insertParentFork"): _view_fork,
    ("view", "insertChildFork"): _view_fork,
    ("view", "getMerges"): _view_reading,
    ("view", "getMergeRequest"): _view_reading,
    ("view", "getMergeRequestSummary"): _view_reading,
    ("view", "getMergingViews"): _view_reading,
    ("view", "setMergeVote"): _view_reading,
    ("view", "setMergeVoteComment"): _view_reading,
    **{("view", name): _on_request for name in ("setMergeRequest", "setMergeComment", "delMergeRequest")},
    **{
        ("layer", name): _on_layer("layer", "read")
        for name in (
            "getEdgesByN1",
            "getEdgesByN2",
            "getNodeData",
            "getNodeDataValu",
            "getStorNode",
            "getStorNodes",
            "getStorNodesByForm",
            "getStorNodesByProp",
            "hasEdge",
            "liftByNodeData",
            "liftByProp",
            "liftByTag",
        )
    },
    ("layer", "edits"): _on_layer("layer", "edits", "read"),
    ("layer", "verify"): _on_layer("layer", "read"),
    **{
        ("layer", name): admins(f"$layer.{name}()")
        for name in (
            "addPull",
            "addPush",
            "delPull",
            "delPush",
            "delEdge",
            "delNodeData",
            "delStorNode",
            "delStorNodeProp",
            "setNodeDataValu",
            "setStorNodeProp",
        )
    },
    # Queues.
    ("queue", "add"): asks("queue", "add"),
    ("queue", "del"): _on_queue("queue", "del"),
    ("queue", "gen"): _queue_gen,
    ("queue", "get"): _on_queue("queue", "get"),
    ("queue", "put"): _on_queue("queue", "put"),
    ("queue", "puts"): _on_queue("queue", "put"),
    # Global variables.
    ("globals", "get"): asks_with("globals", "get"),
    ("globals", "set"): asks_with("globals", "set"),
    ("globals", "pop"): asks_with("globals", "pop"),
    # Macros.
    ("macro", "get"): _macro(EASY_READ, "read"),
    ("macro", "set"): _macro(EASY_EDIT, "edit"),
    ("macro", "mod"): _macro(EASY_EDIT, "edit"),
    ("macro", "del"): _macro(EASY_ADMIN, "admin"),
    ("macro", "grant"): _macro(EASY_ADMIN, "admin"),
    # The model.
    ("model", "ext", "addForm"): asks_with("model", "form", "add"),
    ("model", "ext", "delForm"): asks_with("model", "form", "del"),
    ("model", "ext", "addFormProp"): asks_with("model", "prop", "add"),
    ("model", "ext", "delFormProp"): asks_with("model", "prop", "del"),
    ("model", "ext", "addUnivProp"): asks("model", "univ", "add"),
    ("model", "ext", "delUnivProp"): asks("model", "univ", "del"),
    ("model", "ext", "addTagProp"): asks("model", "tagprop", "add"),
    ("model", "ext", "delTagProp"): asks("model", "tagprop", "del"),
    ("model", "ext", "addType"): asks_with("model", "type", "add"),
    ("model", "ext", "delType"): asks_with("model", "type", "del"),
    ("model", "ext", "addEdge"): asks("model", "edge", "add"),
    ("model", "ext", "delEdge"): asks("model", "edge", "del"),
    ("model", "ext", "addExtModel"): admins("$lib.model.ext.addExtModel()"),
    ("model", "tags", "set"): asks("model", "tag", "set"),
    ("model", "tags", "del"): asks("model", "tag", "set"),
    ("model", "tags", "pop"): asks("model", "tag", "set"),
    ("model", "deprecated", "lock"): asks("model", "deprecated", "lock"),
    # Automation.
    ("trigger", "add"): _adding("trigger"),
    ("trigger", "del"): _on_automation(*_TRIGGER, "trigger", "del"),
    ("trigger", "get"): _on_automation(*_TRIGGER, "trigger", "get"),
    ("trigger", "mod"): _on_automation(*_TRIGGER, "trigger", "set", "storm"),
    ("trigger", "enable"): _on_automation(*_TRIGGER, "trigger", "set", "enabled"),
    ("trigger", "disable"): _on_automation(*_TRIGGER, "trigger", "set", "enabled"),
    ("trigger", "set"): _automation_set(*_TRIGGER, "trigger"),
    ("trigger", "move"): _on_automation(*_TRIGGER, "trigger", "del"),
    ("cron", "add"): _adding("cron"),
    ("cron", "at"): _adding("cron"),
    ("cron", "del"): _on_automation(*_CRON, "cron", "del"),
    ("cron", "get"): _on_automation(*_CRON, "cron", "get"),
    ("cron", "list"): confirm_cron_jobs,
    ("cron", "mod"): _on_automation(*_CRON, "cron", "set"),
    ("cron", "move"): _on_automation(*_CRON, "cron", "set"),
    ("cron", "enable"): _on_automation(*_CRON, "cron", "set"),
    ("cron", "disable"): _on_automation(*_CRON, "cron", "set"),
    ("cronjob", "set"): _automation_set(*_CRON, "cron"),
    ("cronjob", "kill"): _on_automation(*_CRON, "cron", "kill"),
    ("dmon", "add"): _adding("dmon"),
    **{
        ("dmon", name): asks("dmon", permission)
        for name, permission in (
            ("bump", "add"),
            ("del", "del"),
            ("get", "get"),
            ("log", "log"),
            ("start", "add"),
            ("stop", "add"),
        )
    },
    # The cell.
    ("env", "get"): admins("$lib.env.get()"),
    **{("log", name): asks("storm", "lib", "log", name) for name in ("debug", "info", "warning", "error")},
    **{
        ("jsonstor", name): admins(f"$lib.jsonstor.{name}()")
        for name in ("get", "has", "set", "del", "iter", "cacheget", "cacheset", "cachedel")
    },
    **{
        ("cortex", "httpapi", name): asks("storm", "lib", "cortex", "httpapi", right)
        for name, right in (
            ("add", "add"),
            ("del", "del"),
            ("get", "get"),
            ("getByPath", "get"),
            ("index", "set"),
            ("list", "get"),
        )
    },
    ("service", "add"): asks("service", "add"),
    ("service", "del"): asks("service", "del"),
    ("service", "list"): asks("service", "list"),
    ("pkg", "add"): asks("pkg", "add"),
    ("pkg", "del"): asks("pkg", "del"),
    **{("pkg", name): _on_package for name in ("vars", "queues")},
    ("projects", "del"): _project_del,
    ("vault", "add"): _vault_add,
    **{("model", "migration", name): admins(f"$lib.model.migration.{name}()") for name in ("fuse", "loop")},
    **{
        ("cell", name): admins(f"$lib.cell.{name}()")
        for name in (
            "getBackupInfo",
            "getCellInfo",
            "getHealthCheck",
            "getMirrorUrls",
            "getSystemInfo",
            "hotFixesApply",
            "hotFixesCheck",
            "trimNexsLog",
        )
    },
    **{("backup", name): asks("backup", name) for name in ("del", "list", "run")},
    # The mesh.
    **{
        ("aha", name): admins(f"$lib.aha.{name}()")
        for name in ("callPeerApi", "callPeerGenr", "del", "get", "list")
    },
    **{("aha", "pool", name): admins(f"$lib.aha.pool.{name}()") for name in ("add", "del", "get", "list")},
    **{("aha:pool", name): admins(f"$pool.{name}()") for name in ("add", "del")},
    ("telepath", "open"): _telepath_open,
    **{
        ("inet", "http", "oauth", "v2", name): admins(f"$lib.inet.http.oauth.v2.{name}()")
        for name in ("addProvider", "delProvider", "getProvider", "listProviders")
    },
    **{("axon", name): asks("axon", "upload") for name in ("put", "upload")},
    **{("axon", name): asks("axon", "has") for name in ("has", "size", "hashset")},
    **{("axon", name): asks("storm", "lib", "axon", "has") for name in ("list", "metrics")},
    **{
        ("axon", name): asks("storm", "lib", "axon", "get")
        for name in ("read", "readlines", "jsonlines", "csvrows", "unpack")
    },
    **{("axon", name): asks("storm", "lib", "axon", "del") for name in ("del", "dels")},
    **{("axon", name): asks("storm", "lib", "axon", name) for name in ("wget", "wput")},
    ("axon", "urlfile"): asks("storm", "lib", "axon", "wget"),
    ("graph", "add"): asks("storm", "graph", "add", default=True),
    ("graph", "activate"): _projection(EASY_READ),
    ("graph", "get"): _projection(EASY_READ),
    ("graph", "mod"): _projection(EASY_EDIT),
    **{("graph", name): _projection(EASY_ADMIN) for name in ("del", "grant", "revoke")},
    # Users and roles.
    ("auth", "users", "add"): asks("storm", "lib", "auth", "users", "add"),
    ("auth", "users", "del"): asks("storm", "lib", "auth", "users", "del"),
    ("auth", "roles", "add"): asks("storm", "lib", "auth", "roles", "add"),
    ("auth", "roles", "del"): asks("storm", "lib", "auth", "roles", "del"),
}
"""By path in `$lib`, or by type and method. What is missing is for everybody, or asks by itself."""
