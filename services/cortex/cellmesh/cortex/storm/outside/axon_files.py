"""What queries keep in the Axon, with the nodes that tell of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.views.node import Node


def axon_of(context: RunContext) -> Any:
    """Return the client of the Axon that the Cortex is connected to; raises FeatureNotSupported without one."""
    # What was edited before must not hold up others while the Axon is asked.
    context.session.pause()
    return context.capability("axon").client()


def put_file(context: RunContext, data: bytes, *, mime: str | None = None) -> Node:
    """Have the Axon keep a content, and return the file:bytes that tells of it."""
    axon = axon_of(context)
    _, sha256 = axon.put(data)
    hashes = axon.hashes(sha256)
    form = context.model.require_form("file:bytes")
    file = context.session.add_node(form, form.type.norm(hashes["sha256"]))
    context.session.set_prop(file, "size", len(data))
    for name in ("md5", "sha1", "sha256", "sha512"):
        context.session.set_prop(file, name, hashes[name])
    if mime is not None:
        context.session.set_prop(file, "mime", mime)
    return file
