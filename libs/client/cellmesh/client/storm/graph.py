"""Graph: the nodes of a query and what joins them, drawn as SVG in notebooks."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from cellmesh.api.cortex.v1 import export_pb2, model_pb2
from cellmesh.client.storm.html import shortened
from cellmesh.client.storm.node import StormNode, from_proto

DRAWN_NODES_MAX: Final = 150
"""A drawing of more is slow to make and says nothing."""

ROUNDS: Final = 120
WIDTH: Final = 900
MARGIN: Final = 60
LABEL_SIZE: Final = 28

COLOURS: Final = (
    "#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#edc948", "#b07aa1", "#9c755f", "#ff9da7", "#bab0ac",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GraphEdge:
    """What joins two nodes of a graph.

    Attributes:
        source: The iden of the node it leads from.
        target: The iden of the node it leads to.
        name: The verb of a light edge, or the property of the source that names the target, as ":fqdn".
    """

    source: str
    target: str
    name: str

    @property
    def is_property(self) -> bool:
        """Whether it is a property and no light edge."""
        return self.name[:1] in (":", ".")


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes by iden, and what joins them.

    Attributes:
        nodes: The nodes of the query.
        edges: Light edges between them, and properties of one that name another.
        is_cut: Whether the query had more nodes than were read.
    """

    nodes: dict[str, StormNode]
    edges: tuple[GraphEdge, ...]
    is_cut: bool = False

    def __repr__(self) -> str:
        more = ", cut" if self.is_cut else ""
        return f"<graph of {len(self.nodes)} nodes and {len(self.edges)} edges{more}>"

    def svg(self) -> str:
        """The graph as a drawing of its own; the same graph gives the same drawing."""
        idens = _to_draw(self)
        shown = frozenset(idens)
        edges = [edge for edge in self.edges if edge.source in shown and edge.target in shown]
        height = round(max(240, min(WIDTH * 0.8, 90 * math.sqrt(len(idens) + 1))))
        places = _places(idens, edges, height)
        forms = list(dict.fromkeys(self.nodes[iden].form for iden in idens))
        colours = {form: COLOURS[index % len(COLOURS)] for index, form in enumerate(forms)}
        lines = [_edge_svg(places, edge) for edge in edges]
        circles = [_node_svg(self.nodes[iden], places[iden], colours) for iden in idens]
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="100%" '
            f'style="max-width:{WIDTH}px;background:#fff;font-family:sans-serif;font-size:10px">'
            + "".join(lines)
            + "".join(circles)
            + _legend_svg(colours)
            + "</svg>"
        )

    def _repr_html_(self) -> str:
        note = f"{len(self.nodes)} nodes, {len(self.edges)} edges"
        if self.is_cut:
            note += "; the query had more"
        if len(self.nodes) > DRAWN_NODES_MAX:
            note += f"; the {DRAWN_NODES_MAX} with most edges are drawn"
        return f"{self.svg()}<div><small>{escape(note)}</small></div>"


class GraphBuilder:
    """Makes a graph of what the Cortex exports and what its model says of properties."""

    def __init__(self, nodes_max: int) -> None:
        self._nodes_max = nodes_max
        self._nodes: dict[str, StormNode] = {}
        self._edges: list[GraphEdge] = []
        self._types: dict[tuple[str, str], str] = {}
        self._is_cut = False

    def take(self, response: export_pb2.ExportNodesResponse) -> bool:
        """Take a part of an export; returns whether more is wanted."""
        if response.total_count > self._nodes_max:
            self._is_cut = True
        for exported in response.nodes:
            iden = exported.node.buid.hex()
            if not exported.continues:
                if len(self._nodes) >= self._nodes_max:
                    return False
                self._nodes[iden] = from_proto(exported.node)
            for edge in exported.edges:
                self._edges.append(GraphEdge(iden, edge.buid.hex(), edge.verb))
        return True

    def forms(self) -> list[str]:
        """The forms whose properties have to be known."""
        return sorted({node.form for node in self._nodes.values()})

    def take_form(self, form: model_pb2.FormInfo) -> None:
        """Take the types of a form's properties."""
        for prop in form.props:
            self._types[form.name, prop.name.removeprefix(":")] = prop.type

    def build(self) -> Graph:
        """The graph. A light edge to a node that was not read is left out."""
        edges = [edge for edge in self._edges if edge.target in self._nodes]
        by_ndef = {(node.form, _key(node.value)): iden for iden, node in self._nodes.items()}
        for iden, node in self._nodes.items():
            for name, value in node.props.items():
                edges.extend(self._named(iden, node.form, name, value, by_ndef))
        return Graph(self._nodes, tuple(dict.fromkeys(edges)), self._is_cut)

    def _named(
        self, iden: str, form: str, name: str, value: Any, by_ndef: dict[tuple[str, Any], str]
    ) -> Iterable[GraphEdge]:
        """The nodes that a property names: by its type being their form, or its value an ndef; also in arrays."""
        kind = self._types.get((form, name), "")
        shown = name if name.startswith(".") else f":{name}"
        values = value if isinstance(value, (list, tuple)) else (value,)
        for one in (value, *values):
            for ndef in ((kind, _key(one)), _key(one)):
                target = by_ndef.get(ndef) if isinstance(ndef, tuple) and len(ndef) == 2 else None
                if target is not None and target != iden:
                    yield GraphEdge(iden, target, shown)


def _key(value: Any) -> Any:
    return tuple(map(_key, value)) if isinstance(value, (list, tuple)) else value


def _to_draw(graph: Graph) -> list[str]:
    """The nodes with most edges, in their own order."""
    if len(graph.nodes) <= DRAWN_NODES_MAX:
        return list(graph.nodes)
    counts = dict.fromkeys(graph.nodes, 0)
    for edge in graph.edges:
        counts[edge.source] += 1
        counts[edge.target] += 1
    kept = frozenset(sorted(counts, key=lambda iden: -counts[iden])[:DRAWN_NODES_MAX])
    return [iden for iden in graph.nodes if iden in kept]


def _places(idens: Sequence[str], edges: Sequence[GraphEdge], height: int) -> dict[str, tuple[float, float]]:
    """Where each node is drawn: nodes push each other away, edges pull them together (Fruchterman and Reingold, 1991)."""
    count = len(idens)
    chance = random.Random(count)
    at = [(chance.random(), chance.random()) for _ in idens]
    index = {iden: number for number, iden in enumerate(idens)}
    pulls = [(index[edge.source], index[edge.target]) for edge in edges]
    wanted = 1 / math.sqrt(count or 1)
    for turn in range(ROUNDS if count > 1 else 0):
        heat = 0.1 * (1 - turn / ROUNDS)
        moves = [[0.5 - x, 0.5 - y] for x, y in at]
        for a in range(count):
            ax, ay = at[a]
            for b in range(a + 1, count):
                dx, dy = ax - at[b][0], ay - at[b][1]
                force = wanted * wanted / max(dx * dx + dy * dy, 1e-6)
                moves[a][0] += dx * force
                moves[a][1] += dy * force
                moves[b][0] -= dx * force
                moves[b][1] -= dy * force
        for a, b in pulls:
            dx, dy = at[a][0] - at[b][0], at[a][1] - at[b][1]
            force = math.hypot(dx, dy) / wanted
            moves[a][0] -= dx * force
            moves[a][1] -= dy * force
            moves[b][0] += dx * force
            moves[b][1] += dy * force
        for number, (x, y) in enumerate(moves):
            size = math.hypot(x, y) or 1.0
            step = min(size, heat) / size
            at[number] = at[number][0] + x * step, at[number][1] + y * step
    return _fitted(idens, at, height)


def _fitted(
    idens: Sequence[str], at: Sequence[tuple[float, float]], height: int
) -> dict[str, tuple[float, float]]:
    if not at:
        return {}
    left, right = min(x for x, _ in at), max(x for x, _ in at)
    top, bottom = min(y for _, y in at), max(y for _, y in at)

    def fit(value: float, low: float, high: float, size: int) -> float:
        share = (value - low) / (high - low) if high > low else 0.5
        return round(MARGIN + share * (size - 2 * MARGIN), 1)

    return {
        iden: (fit(x, left, right, WIDTH), fit(y, top, bottom, height)) for iden, (x, y) in zip(idens, at)
    }


def _edge_svg(places: dict[str, tuple[float, float]], edge: GraphEdge) -> str:
    (x1, y1), (x2, y2) = places[edge.source], places[edge.target]
    dashes = ' stroke-dasharray="4 3"' if edge.is_property else ""
    # The name stands nearer to the target, which tells the direction.
    x, y = round(x1 + (x2 - x1) * 0.6, 1), round(y1 + (y2 - y1) * 0.6, 1)
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#999"{dashes}/>'
        f'<text x="{x}" y="{y}" fill="#777" text-anchor="middle">{escape(edge.name)} ›</text>'
    )


def _node_svg(node: StormNode, place: tuple[float, float], colours: dict[str, str]) -> str:
    x, y = place
    text = node.text()
    label = text if len(text) <= LABEL_SIZE else text[: LABEL_SIZE - 1] + "…"
    return (
        f"<g><title>{escape(node.form)}={escape(shortened(text))}</title>"
        f'<circle cx="{x}" cy="{y}" r="7" fill="{colours[node.form]}"/>'
        f'<text x="{x}" y="{y + 18}" text-anchor="middle" fill="#222">{escape(label)}</text></g>'
    )


def _legend_svg(colours: dict[str, str]) -> str:
    return "".join(
        f'<circle cx="10" cy="{12 + 14 * row}" r="5" fill="{colour}"/>'
        f'<text x="20" y="{15 + 14 * row}" fill="#222">{escape(form)}</text>'
        for row, (form, colour) in enumerate(colours.items())
    )
