"""`graph`: grows a picture of the graph from the nodes, by rules that say where to go on from each node."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.legs import is_ndef, out_of_prop
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.queries import StormQuery
from cellmesh.cortex.storm.runtime.values import tobool, toint, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.views.node import Node

EDGE_COUNT_MAX: Final = 3_000
"""Light edges of one node that are shown; of a node with more none are."""

ANY_FORM: Final = "*"

Query = StormQuery | str


@dataclass(frozen=True, slots=True)
class FormRules:
    """Where to go on from a node, and whether to show it.

    Attributes:
        pivots: Queries that lead to the next nodes.
        filters: Queries that a node must pass.
    """

    pivots: Sequence[Query] = ()
    filters: Sequence[Query] = ()


@dataclass(frozen=True, slots=True)
class GraphRules:
    """How a picture grows.

    Attributes:
        every: What holds for every node.
        forms: What holds for nodes of a form; `*` is for forms that have no rules of their own.
        degree_count: How many steps to go; None for as many as there are.
        has_refs: Whether to go along properties that refer to nodes.
        has_edges: Whether to tell of light edges between nodes of the picture.
        edge_count_max: Light edges of one node that are told of; of a node with more none are.
        filters_input: Whether the nodes it begins with must pass the filters.
        yields_filtered: Whether nodes that do not pass are shown all the same, without going on from them.
    """

    every: FormRules = FormRules()
    forms: Mapping[str, FormRules] = field(default_factory=dict)
    degree_count: int | None = 1
    has_refs: bool = False
    has_edges: bool = True
    edge_count_max: int = EDGE_COUNT_MAX
    filters_input: bool = True
    yields_filtered: bool = False


def rules_of(given: Mapping[str, Any]) -> GraphRules:
    """Return rules from a definition: pivots, filters, forms, degrees, refs, edges, edgelimit, filterinput, yieldfiltered."""
    degrees = given.get("degrees", 1)
    return GraphRules(
        every=_form_rules(given),
        forms={tostr(name): _form_rules(rules) for name, rules in (given.get("forms") or {}).items()},
        degree_count=None if degrees is None else toint(degrees),
        has_refs=tobool(given.get("refs", False)),
        has_edges=tobool(given.get("edges", True)),
        edge_count_max=toint(given.get("edgelimit", EDGE_COUNT_MAX)),
        filters_input=tobool(given.get("filterinput", True)),
        yields_filtered=tobool(given.get("yieldfiltered", False)),
    )


def _form_rules(given: Mapping[str, Any]) -> FormRules:
    return FormRules(tuple(given.get("pivots") or ()), tuple(given.get("filters") or ()))


Step = tuple[dict[str, Any], "Node"]
"""A way to another node: what is told of it, and the node."""


class Picture:
    """The picture while it grows. It holds the idens of the nodes that were shown or are to be, not the nodes.

    Args:
        context: The scope that the rules run in.
        rules: The rules.
    """

    def __init__(self, context: RunContext, rules: GraphRules) -> None:
        self._context = context
        self._rules = rules
        self._shown: set[str] = set()
        self._waiting: deque[tuple[Node, int]] = deque()
        self._queued: set[str] = set()
        # Node that may be shown later -> what is to be told of it then.
        self._later: dict[str, list[tuple[str, dict[str, Any]]]] = {}

    def grow(self, rows: Iterator[Path]) -> Iterator[Path]:
        """Yield each node of the picture once: those it begins with first, then step by step what they lead to."""
        seen: set[str] = set()
        for path in rows:
            if path.node.iden not in seen:
                seen.add(path.node.iden)
                yield from self._show(path, 0)
        while self._waiting:
            self._context.tick()
            node, degree = self._waiting.popleft()
            if node.iden not in self._shown:
                yield from self._show(Path(node, self._context.snapshot()), degree)

    def _show(self, path: Path, degree: int) -> Iterator[Path]:
        node, rules = path.node, self._rules
        is_left_out = (degree > 0 or rules.filters_input) and not self._passes(node)
        if is_left_out and not rules.yields_filtered:
            return
        is_last = rules.degree_count is not None and degree >= rules.degree_count
        self._shown.add(node.iden)
        told = self._later.pop(node.iden, [])
        for fact, other in self._steps(node):
            self._context.tick()
            self._tell(node, other.iden, fact, told)
            if not is_last and not is_left_out and other.iden not in self._queued:
                self._queued.add(other.iden)
                self._waiting.append((other, degree + 1))
        if rules.has_edges:
            for fact, other in self._light_edges(node):
                self._tell(node, other.iden, fact, told)
        path.meta = {**(path.meta or {}), "edges": told}
        if degree == 0:
            path.meta["graph:seed"] = True
        yield path

    def _tell(
        self, node: Node, other: str, fact: dict[str, Any], told: list[tuple[str, dict[str, Any]]]
    ) -> None:
        """Note a way between two nodes at the one of them that is shown last."""
        if other == node.iden:
            return
        if other in self._shown:
            told.append((other, fact))
        else:
            self._later.setdefault(other, []).append((node.iden, {**fact, "reverse": True}))

    def _passes(self, node: Node) -> bool:
        own = self._own(node)[1]
        return all(
            next(self._run(query, node), None) is not None
            for query in (*own.filters, *self._rules.every.filters)
        )

    def _own(self, node: Node) -> tuple[str, FormRules]:
        forms, name = self._rules.forms, node.form.name
        return (name, forms[name]) if name in forms else (ANY_FORM, forms.get(ANY_FORM, FormRules()))

    def _steps(self, node: Node) -> Iterator[Step]:
        if self._rules.has_refs:
            yield from self._refs(node)
        scope, own = self._own(node)
        for name, queries in (("global", self._rules.every.pivots), (scope, own.pivots)):
            for query in queries:
                for index, found in enumerate(self._run(query, node)):
                    yield {"type": "rules", "scope": name, "index": index}, found.node

    def _refs(self, node: Node) -> Iterator[Step]:
        context = self._context
        for prop in list(node.form.props.values()):
            if not node.has(prop.name):
                continue
            element = prop.type.element
            inner = element if element is not None else prop.type
            form = context.model.form(inner.name)
            if not is_ndef(inner) and (form is None or form.is_runtime):
                continue
            for leg in out_of_prop(context, prop):
                for _, other in leg(context, (node,)):
                    yield {"type": "prop", "prop": prop.name}, other

    def _light_edges(self, node: Node) -> list[Step]:
        found: list[Step] = []
        for _, verb, other in self._context.session.edges_out((node,)):
            self._context.tick()
            found.append(({"type": "edge", "verb": verb}, other))
            if len(found) > self._rules.edge_count_max:
                self._context.warn(
                    f"{node.form.name} {node.iden} has more than {self._rules.edge_count_max} light edges:"
                    " none is shown"
                )
                return []
        return found

    def _run(self, query: Query, node: Node) -> Iterator[Path]:
        return self._context.rows_of(query, (Path(node, self._context.snapshot()),))


def _graph(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    forms: dict[str, dict[str, list[Query]]] = {}
    for kind, given in (("pivots", arguments.form_pivot), ("filters", arguments.form_filter)):
        for name, query in given or ():
            forms.setdefault(tostr(name), {}).setdefault(kind, []).append(_query(query))
    rules = GraphRules(
        every=FormRules(
            [_query(query) for query in arguments.pivot or ()],
            [_query(query) for query in arguments.filter or ()],
        ),
        forms={name: _form_rules(found) for name, found in forms.items()},
        degree_count=_degrees(arguments.degrees),
        has_refs=arguments.refs,
        has_edges=arguments.has_edges,
        filters_input=arguments.filters_input,
        yields_filtered=arguments.yield_filtered,
    )
    yield from Picture(context, rules).grow(rows)


def _degrees(given: Any) -> int:
    count = toint(given)
    if count < 0:
        raise BadArg("--degrees of graph is not below 0", name="--degrees", valu=count)
    return count


def _query(given: Any) -> Query:
    return given if isinstance(given, StormQuery) else tostr(given)


def _option(flag: str, doc: str, *, with_form: bool = False) -> ArgumentSpec:
    return ArgumentSpec(
        (flag,), doc, type="any", action="append", count=2 if with_form else None, runs_query=True
    )


COMMANDS: Final = (
    CommandSpec(
        "graph",
        """Grow a picture from the nodes: where rules lead from each of them, and how the nodes hang together.

        Each node is passed on once. $path.meta.edges has the ways to nodes that were passed on before it.

            inet:fqdn=vertex.link | graph --degrees 2 --refs --filter { -#internal }
            ou:org#of.interest | graph --pivot { -(refs)> * } --form-pivot inet:fqdn { <- * | limit 20 }
        """,
        _graph,
        (
            ArgumentSpec(("--degrees",), "How many steps to go.", type="any", default=1),
            _option("--pivot", "A query that leads on from any node; may be given several times."),
            _option("--filter", "A query that every node must pass; may be given several times."),
            ArgumentSpec(
                ("--no-edges",),
                "Do not tell of light edges between the nodes.",
                action="store_false",
                name="has_edges",
            ),
            _option(
                "--form-pivot", "A form, or *, and a query that leads on from its nodes.", with_form=True
            ),
            _option("--form-filter", "A form, or *, and a query that its nodes must pass.", with_form=True),
            ArgumentSpec(("--refs",), "Go along properties that refer to nodes.", action="store_true"),
            ArgumentSpec(
                ("--yield-filtered",),
                "Pass on what the filters drop as well, but do not go on from there.",
                action="store_true",
            ),
            ArgumentSpec(
                ("--no-filter-input",),
                "Keep the nodes it begins with, whatever the filters say.",
                action="store_false",
                name="filters_input",
            ),
        ),
        needs_constant=True,
    ),
)
