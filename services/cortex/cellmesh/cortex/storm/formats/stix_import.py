"""Bundles of STIX 2.1 made into nodes, by the queries of a configuration (`stix_mapping.import_config`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import AuthDeny, BadArg, BadConfValu, CellError, IsReadOnly, SchemaViolation
from cellmesh.cortex.views.node import Node

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

OBJECT_COUNT_MAX: Final = 1_000_000

_RELATION_SIZE: Final = 3


class StixIngest:
    """One bundle on its way into the graph.

    Args:
        context: Where its queries run.
        bundle: The bundle, as plain data.
        config: How its objects become nodes.

    Raises:
        BadArg, SchemaViolation: it is no bundle.
        BadConfValu: the configuration cannot be so.
    """

    def __init__(self, context: RunContext, bundle: Any, config: Any) -> None:
        self._context = context
        if not isinstance(bundle, dict) or not isinstance(bundle.get("id"), str):
            raise BadArg("a bundle is a dictionary with an id", name="bundle")
        objects = bundle.get("objects") or []
        if not isinstance(objects, (list, tuple)) or len(objects) > OBJECT_COUNT_MAX:
            raise SchemaViolation(f"objects are a list of at most {OBJECT_COUNT_MAX}", name="data.objects")
        for index, one in enumerate(objects):
            if not (
                isinstance(one, dict) and isinstance(one.get("id"), str) and isinstance(one.get("type"), str)
            ):
                raise SchemaViolation("an object has an id and a type", name=f"data.objects[{index}]")
        self._bundle, self._objects = bundle, objects
        self._rules = _rules(config)
        self._config = config
        self._nodes: dict[str, Node] = {}

    def run(self) -> Iterator[Node]:
        """Yield the bundle's node, if one is wanted, and those of its objects."""
        own = self._bundle_node()
        if own is not None:
            yield own
        yield from self._objects_nodes(own)
        for one in self._objects:
            if one["type"] == "relationship":
                self._relate(one)
            self._refer(one)

    def _bundle_node(self) -> Node | None:
        rules = self._config.get("bundle")
        if not self._config.get("addbundle", True) or not rules:
            return None
        return self._run("bundle", rules, {})

    def _objects_nodes(self, own: Node | None) -> Iterator[Node]:
        seen: set[bytes] = set()
        for one in self._objects:
            self._context.tick()
            kind = one["type"]
            if kind == "relationship":
                continue
            rules = self._rules.get(kind)
            if rules is None:
                if kind != "extension-definition":
                    self._context.warn(f"STIX bundle ingest has no object definition for: {kind}.", type=kind)
                continue
            node = self._run(kind, rules, {"object": one})
            if node is None:
                continue
            self._nodes[one["id"]] = node
            if own is not None:
                self._context.session.add_edge(own, "refs", node)
            if node.buid not in seen:
                seen.add(node.buid)
                yield node

    def _refer(self, one: dict[str, Any]) -> None:
        """Make the edges of a report or note to what it is about."""
        node = self._nodes.get(one["id"])
        if node is None:
            return
        for iden in one.get("object_refs") or ():
            other = self._nodes.get(iden) if isinstance(iden, str) else None
            if other is not None:
                self._context.session.add_edge(node, "refs", other)

    def _relate(self, one: dict[str, Any]) -> None:
        source, target = (
            self._nodes.get(one.get("source_ref", "")),
            self._nodes.get(one.get("target_ref", "")),
        )
        if source is None or target is None:
            return
        kinds = (one["source_ref"].partition("--")[0], one["target_ref"].partition("--")[0])
        wanted = (kinds[0], one.get("relationship_type"), kinds[1])
        for rules in self._config.get("relationships") or ():
            known = rules.get("type") or ()
            if len(known) == _RELATION_SIZE and all(
                part is None or part == item for part, item in zip(known, wanted, strict=True)
            ):
                self._run(str(wanted[1]), rules, {"n1node": source, "n2node": target})
                return

    def _run(self, what: str, rules: Any, variables: dict[str, Any]) -> Node | None:
        try:
            found = self._context.value_of(str(rules["storm"]), {"bundle": self._bundle, **variables})
        except (AuthDeny, IsReadOnly):
            raise
        except CellError as error:
            self._context.warn(
                f"Error during STIX import callback for {what}: {error.name}: {error}", type=what
            )
            return None
        return found if isinstance(found, Node) else None


def _rules(config: Any) -> dict[str, Any]:
    """Check a configuration and return its objects."""
    if not isinstance(config, dict):
        raise BadConfValu("the configuration is a dictionary", name="config")
    objects = config.get("objects") or {}
    if not isinstance(objects, dict):
        raise BadConfValu("objects are a dictionary", name="objects")
    for rules in (
        *objects.values(),
        *(config.get("relationships") or ()),
        config.get("bundle") or {"storm": ""},
    ):
        if not isinstance(rules, dict) or not isinstance(rules.get("storm"), str):
            raise BadConfValu("each rule has a query as storm", name="storm")
    return objects
