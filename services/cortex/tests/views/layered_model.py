"""What views of several layers should show: each layer a plain dictionary of what it says."""

from __future__ import annotations

from typing import Any

Ndef = tuple[str, Any]
Fact = tuple[Any, ...]
"""("prop", ndef, name), ("tag", ndef, tag), ("tagprop", ndef, tag, name), ("edge", ndef, verb, ndef), ("data", ndef, name)."""


class Gone:
    """What a layer says of a fact below that it hides."""

    def __repr__(self) -> str:
        return "GONE"


GONE = Gone()


class LayerModel:
    """One layer: the nodes it makes, those it hides with all that is below, and facts."""

    def __init__(self) -> None:
        self.made: set[Ndef] = set()
        self.masked: set[Ndef] = set()
        self.facts: dict[Fact, Any] = {}


class ViewModel:
    """A view: its own layer, on those of the view it was forked from."""

    def __init__(self, parent: ViewModel | None = None) -> None:
        self.parent = parent
        self.layer = LayerModel()

    @property
    def layers(self) -> list[LayerModel]:
        below = [] if self.parent is None else self.parent.layers
        return [self.layer, *below]

    # What is shown.

    def fact(self, fact: Fact, layers: list[LayerModel] | None = None) -> Any:
        """Return what is so, or GONE; also of nodes that are not shown."""
        for layer in self.layers if layers is None else layers:
            if fact in layer.facts:
                return layer.facts[fact]
            if fact[1] in layer.masked:
                break
        return GONE

    def has(self, ndef: Ndef) -> bool:
        for layer in self.layers:
            if ndef in layer.made:
                return True
            if ndef in layer.masked:
                return False
        return False

    def nodes(self) -> set[Ndef]:
        return {ndef for layer in self.layers for ndef in layer.made if self.has(ndef)}

    def facts(self) -> dict[Fact, Any]:
        """Return all facts of nodes that are shown."""
        seen = {fact for layer in self.layers for fact in layer.facts}
        return {fact: value for fact in seen if self.has(fact[1]) and (value := self.fact(fact)) is not GONE}

    def shown(self) -> dict[Ndef, dict[str, Any]]:
        """Return what is shown, as `graph_kit.content` does."""
        shown: dict[Ndef, dict[str, Any]] = {
            ndef: {"props": {}, "tags": {}, "tag_props": {}, "edges": set(), "data": {}}
            for ndef in self.nodes()
        }
        for (kind, ndef, *names), value in self.facts().items():
            node = shown[ndef]
            match kind:
                case "prop":
                    node["props"][names[0]] = value
                case "tag":
                    node["tags"][names[0]] = value
                case "tagprop":
                    node["tag_props"].setdefault(names[0], {})[names[1]] = value
                case "data":
                    node["data"][names[0]] = value
                case "edge" if self.has(names[1]):
                    # An edge to a node that is gone is not shown; it is there again when the node is.
                    node["edges"].add((names[0], names[1]))
        return shown

    # Edits.

    def put(self, fact: Fact, value: Any) -> bool:
        """Say that something is so; returns whether it was not."""
        old = self.fact(fact)
        if old is not GONE and old == value:
            return False
        self.layer.facts[fact] = value
        return True

    def drop(self, fact: Fact) -> Any:
        """Say that something is not so; returns what was so, or GONE."""
        old = self.fact(fact)
        if old is not GONE:
            self.layer.facts.pop(fact, None)
            if self.fact(fact) is not GONE:
                self.layer.facts[fact] = GONE
        return old

    def add(self, form: str, value: Any) -> None:
        ndef = (form, value)
        if self.has(ndef):
            return
        self.layer.made.add(ndef)
        if form == "inet:ipv4":
            self.put(("prop", ndef, "type"), "private")
        if form == "syn:tag":
            words = value.split(".")
            self.put(("prop", ndef, "base"), words[-1])
            self.put(("prop", ndef, "depth"), len(words) - 1)
            if len(words) > 1:
                self.put(("prop", ndef, "up"), ".".join(words[:-1]))
                self.add("syn:tag", ".".join(words[:-1]))

    def set(self, ndef: Ndef, name: str, value: Any) -> None:
        if not self.put(("prop", ndef, name), value):
            return
        if name == "asn":
            self.add("inet:asn", value)
        if name == "name":
            self.add("ou:name", value)
        if name == "names":
            for item in value:
                self.add("ou:name", item)

    def tag(self, ndef: Ndef, tag: str, interval: Any) -> None:
        words = tag.split(".")
        for depth in range(1, len(words)):
            up = ("tag", ndef, ".".join(words[:depth]))
            if self.fact(up) is GONE:
                self.put(up, None)
        fact = ("tag", ndef, tag)
        old = self.fact(fact)
        if old is GONE:
            self.add("syn:tag", tag)
            self.put(fact, interval)
        elif interval is not None:
            merged = interval if old is None else (min(old[0], interval[0]), max(old[1], interval[1]))
            self.put(fact, merged)

    def untag(self, ndef: Ndef, tag: str) -> None:
        for fact in [fact for fact in self.facts() if fact[0] in ("tag", "tagprop") and fact[1] == ndef]:
            if fact[2] == tag or fact[2].startswith(tag + "."):
                self.drop(fact)

    def delete(self, ndef: Ndef) -> None:
        layer = self.layer
        for fact in [fact for fact, value in layer.facts.items() if fact[1] == ndef and value is not GONE]:
            del layer.facts[fact]
        layer.made.discard(ndef)
        if self.has(ndef):
            layer.masked.add(ndef)

    def merge(self) -> None:
        """Carry what the layer says into the one below."""
        below, layer = self.parent, self.layer
        assert below is not None
        self.layer = kept = LayerModel()
        for ndef in layer.masked:
            if below.has(ndef):
                below.delete(ndef)
        for ndef in layer.made:
            if not below.has(ndef):
                below.layer.made.add(ndef)
        for fact, value in layer.facts.items():
            if not below.has(fact[1]):
                # Nothing to merge it with.
                kept.facts[fact] = value
            elif value is GONE:
                below.drop(fact)
            elif fact[0] == "tag":
                below.tag(fact[1], fact[2], value)
            else:
                below.put(fact, value)
