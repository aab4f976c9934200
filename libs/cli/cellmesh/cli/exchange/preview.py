"""What a dry run shows: how many nodes of which form with which properties, and samples of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from cellmesh.api.cortex.v1 import feed_pb2
from cellmesh.cli.exchange.records import Record
from cellmesh.cli.output import table, value_text
from cellmesh.common.values import from_value

SAMPLE_COUNT = 3
SAMPLE_SIZE = 48
PROPS_SHOWN = 8


class Preview:
    """Counts records instead of importing them."""

    def __init__(self) -> None:
        self.records = 0
        self.forms: Counter[str] = Counter()
        self.props: dict[str, Counter[str]] = {}
        self.samples: dict[str, list[str]] = {}
        self.verbs: Counter[str] = Counter()
        self.tags: Counter[str] = Counter()

    def add(self, record: Record) -> None:
        """Count a record."""
        if record.is_edge:
            # Its node has been counted.
            self.verbs.update(edge.verb for node in record.nodes for edge in node.edges)
            return
        self.records += 1
        for node in record.nodes:
            self._node(node)

    def _node(self, node: feed_pb2.FeedNode) -> None:
        self.forms[node.form] += 1
        props = self.props.setdefault(node.form, Counter())
        props.update(node.props.keys())
        samples = self.samples.setdefault(node.form, [])
        if len(samples) < SAMPLE_COUNT:
            text = value_text(from_value(node.value))
            text = text if len(text) <= SAMPLE_SIZE else text[: SAMPLE_SIZE - 1] + "…"
            if text not in samples:
                samples.append(text)
        self.verbs.update(edge.verb for edge in node.edges)
        self.tags.update(node.tags.keys())

    def fields(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "records": self.records,
            "forms": dict(self.forms.most_common()),
            "props": {form: dict(found.most_common()) for form, found in self.props.items()},
            "edges": dict(self.verbs.most_common()),
            "tags": dict(self.tags.most_common(100)),
            "samples": self.samples,
        }

    def text(self) -> str:
        """For people."""
        rows = []
        for form, count in self.forms.most_common():
            shown = [name for name, _ in self.props[form].most_common(PROPS_SHOWN)]
            more = len(self.props[form]) - len(shown)
            props = " ".join(name if name.startswith(".") else f":{name}" for name in shown)
            props += f" and {more} more" if more > 0 else ""
            rows.append((form, f"{count:,}", props, "  ".join(self.samples[form])))
        parts = [table(("FORM", "COUNT", "PROPERTIES", "SUCH AS"), rows)] if rows else ["no nodes"]
        if self.verbs:
            parts.append("edges: " + ", ".join(f"{verb} {n:,}" for verb, n in self.verbs.most_common(20)))
        if self.tags:
            parts.append("tags: " + ", ".join(f"#{tag} {n:,}" for tag, n in self.tags.most_common(20)))
        return "\n".join(parts)
