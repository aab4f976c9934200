"""`$lib.model.migration.s`: nodes of forms that are deprecated, made into nodes of those that replace them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.common import hashing
from cellmesh.cortex.storm.library.migration import (
    carry_over,
    copy_extended,
    require_node,
    set_if_unset,
)
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import tobool

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.views.node import Node

OWNER_DATA: Final = "migration:inet:service:instance:owner"
"""Name of the data that keeps an instance's owner, which platforms have no property for."""

VULNERABLE_KINDS: Final = ("hardware", "host", "item", "org", "person", "place", "software", "spec")
"""Properties of `risk:hasvuln` that say what is vulnerable."""

_INSTANCE_PROPS: Final = ("id", "url", "name", "desc", "period", "status", "creator", "tenant")


def _platform(context: RunContext, value: Any, no_data: Any) -> Node:
    instance = require_node(value, "n", "inet:service:instance")
    session = context.session
    platform = session.add_node(context.model.require_form("inet:service:platform"), instance.value)
    set_if_unset(context, platform, "parent", instance.get("platform"))
    for name in _INSTANCE_PROPS:
        set_if_unset(context, platform, name, instance.get(name))
    _carry(context, instance, platform, no_data)
    owner = instance.get("owner")
    if owner is not None and not tobool(no_data):
        session.set_data(platform, OWNER_DATA, owner)
    for use in context.model.uses_of_type("inet:service:instance"):
        prop = use.prop
        if prop.form is None or prop.name != "instance" or "platform" not in prop.form.props:
            continue
        for _, holder in list(session.nodes_with_value(prop, [instance.value])):
            context.tick()
            session.set_prop(holder, "platform", instance.value)
            session.pop_prop(holder, "instance")
    return platform


def _client(context: RunContext, value: Any) -> None:
    message = require_node(value, "n", "inet:service:message")
    address = message.get("client:address")
    if address is not None:
        set_if_unset(context, message, "client", address)
        context.session.pop_prop(message, "client:address")


def _tls_cert(context: RunContext, value: Any, no_data: Any) -> Node:
    old = require_node(value, "n", "inet:ssl:cert")
    session = context.session
    server, name = old.value
    file = session.node(context.model.require_form("file:bytes"), name)
    sha256 = None if file is None else file.get("sha256")
    certs = context.model.require_form("crypto:x509:cert")
    held = context.model.require_prop("crypto:x509:cert:file")
    found = next((node for _, node in session.nodes_with_value(held, [name])), None)
    if found is None:
        # Certificates are the same for all who know the content of the file.
        found = session.add_node(certs, hashing.guid(sha256) if sha256 is not None else hashing.guid((name,)))
    set_if_unset(context, found, "file", name)
    set_if_unset(context, found, "sha256", sha256)
    made = session.add_node(context.model.require_form("inet:tls:servercert"), (server, found.value))
    _carry(context, old, made, no_data)
    return made


def _vulnerable(context: RunContext, value: Any, no_data: Any) -> list[str]:
    old = require_node(value, "n", "risk:hasvuln")
    vulnerability = old.get("vuln")
    kinds = [name for name in VULNERABLE_KINDS if old.has(name)]
    if vulnerability is None:
        return []
    found = []
    for name in kinds:
        context.tick()
        form = old.form.props[name].type_name
        iden = old.value if len(kinds) == 1 else hashing.guid((old.value, name))
        made = context.session.add_node(context.model.require_form("risk:vulnerable"), iden)
        set_if_unset(context, made, "vuln", vulnerability)
        set_if_unset(context, made, "node", (form, old.get(name)))
        _carry(context, old, made, no_data)
        found.append(made.iden)
    return found


def _carry(context: RunContext, source: Node, target: Node, no_data: Any) -> None:
    copy_extended(context, source, target)
    carry_over(context, source, target, with_data=not tobool(no_data))


_NO_DATA: Final = ParameterSpec("nodata", False, "bool", "Leave the node's data behind.")


def _node(form: str) -> ParameterSpec:
    return ParameterSpec("n", type="node", doc=f"A node of {form}.")


LIBRARIES: Final = (
    LibrarySpec(
        ("model", "migration", "s"),
        "Nodes of deprecated forms made into nodes of those that replace them. The old nodes stay.",
        (
            FunctionSpec(
                "inetServiceInstanceToPlatform",
                "A platform of a service's instance; what refers to the instance refers to the platform then.",
                _platform,
                (_node("inet:service:instance"), _NO_DATA),
                "node",
                changes_state=True,
            ),
            FunctionSpec(
                "inetServiceMessageClientAddress",
                "Move :client:address of a message to :client, which keeps what it has.",
                _client,
                (_node("inet:service:message"),),
                changes_state=True,
            ),
            FunctionSpec(
                "inetSslCertToTlsServerCert",
                "A TLS certificate of a server, and the X.509 certificate that is in the file.",
                _tls_cert,
                (_node("inet:ssl:cert"), _NO_DATA),
                "node",
                changes_state=True,
            ),
            FunctionSpec(
                "riskHasVulnToVulnerable",
                "What is vulnerable, a node for each of what a risk:hasvuln names; gives their idens.",
                _vulnerable,
                (_node("risk:hasvuln"), _NO_DATA),
                "list",
                changes_state=True,
            ),
        ),
    ),
)
