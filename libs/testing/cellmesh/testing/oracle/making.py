"""Random queries from any source of choices: a seeded generator, or Hypothesis, which then finds the smallest."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

from cellmesh.testing.oracle import queries as q
from cellmesh.testing.oracle.world import PROPS

T = TypeVar("T")

FORMS: Final = ("inet:ipv4", "inet:asn", "ou:org", "ou:name")
TAGS: Final = ("a", "a.b", "a.c", "d")
VERBS: Final = ("refs", "uses")
NAMES: Final = ("ann", "bob", "Bo", "cy")
LOCS: Final = ("us", "us.ca", "us.ny", "usa", "de")
NUMBER_MAX: Final = 12
GUIDS: Final = tuple(f"{number:032x}" for number in range(1, 6))
DEPTH_MAX: Final = 2

X: Final = q.Variable("x")
I: Final = q.Variable("i")  # noqa: E741  as in the queries
ROW: Final = q.Variable("r")


class Choices(Protocol):
    """Where choices come from."""

    def below(self, count: int) -> int:
        """A number from 0, less than `count`; 0 is the simplest."""


class RandomChoices:
    """Choices of a generator with a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def below(self, count: int) -> int:
        """A number less than `count`."""
        return self._random.randrange(count)


class Maker:
    """Makes queries."""

    def __init__(self, choices: Choices) -> None:
        self._below = choices.below
        self._known: list[q.Variable] = []

    def _pick(self, items: Sequence[T]) -> T:
        return items[self._below(len(items))]

    def _chance(self, of: int) -> bool:
        """True once in so many times."""
        return self._below(of) == of - 1

    def _some(self, most: int) -> range:
        return range(self._below(most + 1))

    # Values ----------------------------------------------------------------------------------------------------

    def _plain(self, kind: str) -> Any:
        kind = kind.removesuffix("[]")
        if kind in ("inet:asn", "inet:ipv4"):
            return self._below(NUMBER_MAX)
        if kind == "ou:org":
            return self._pick(GUIDS)
        return self._pick(LOCS if kind == "loc" else NAMES)

    def _value(self, kind: str) -> Any:
        """A value, or a variable with a number, or one that has some node's value."""
        if kind in ("inet:asn", "inet:ipv4") and self._known and self._chance(4):
            return self._pick(self._known)
        return self._plain(kind)

    def _compared(self, kind: str, *, in_lift: bool) -> tuple[str, Any]:
        if kind in ("inet:asn", "inet:ipv4"):
            operator = self._pick(("=", ">", "<", ">=", "<=", "*range=", "*in="))
        elif kind == "ou:org":
            operator = "="
        else:
            operator = self._pick(("=", "^=", "~=") if kind != "loc" else ("=", "^="))
        if not in_lift and self._chance(6):
            operator = "!="
        if operator == "*in=":
            return operator, tuple(dict.fromkeys(self._plain(kind) for _ in range(1 + self._below(3))))
        if operator == "*range=":
            return operator, tuple(sorted((self._plain(kind), self._plain(kind))))
        if operator in ("^=", "~="):
            text = str(self._plain(kind)).lower()
            return operator, text if kind == "loc" else text[: 1 + self._below(2)]
        return operator, self._value(kind)

    def _prop(self, form: str | None) -> tuple[str, str, str] | None:
        """A form, one of its properties and the property's type."""
        if form is not None and not PROPS[form]:
            return None
        form = form or self._pick(FORMS[:3])
        prop = self._pick(tuple(PROPS[form]))
        return form, prop, PROPS[form][prop]

    # Parts -----------------------------------------------------------------------------------------------------

    def lift(self) -> q.Lift:
        """One lift."""
        kind, is_reverse = self._below(6), self._chance(8)
        form = self._pick(FORMS)
        if kind == 0:
            return q.Lift(form, is_reverse=is_reverse)
        if kind == 1:
            return q.Lift(form, "", *self._compared(form, in_lift=True), is_reverse=is_reverse)
        if kind == 2:
            return q.Lift(tag=self._pick(TAGS), form=self._pick((*FORMS, "")), is_reverse=is_reverse)
        found = self._prop(None)
        assert found is not None
        form, prop, of = found
        if of.endswith("[]"):
            return q.Lift(form, prop, "[]", self._plain(of))
        if kind == 3:
            return q.Lift(form, prop, is_reverse=is_reverse)
        return q.Lift(form, prop, *self._compared(of, in_lift=True), is_reverse=is_reverse)

    def condition(self, depth: int) -> q.Condition:
        """One condition."""
        kind = self._below(8 if depth < DEPTH_MAX else 4)
        if kind == 0:
            return q.HasTag(self._pick(TAGS))
        if kind in (1, 2, 3):
            form, prop, of = self._prop(None) or ("", "", "")
            if of.endswith("[]") or (kind == 3 and self._chance(2)):
                form = self._pick(FORMS)
                return q.IsForm(
                    form, "", *(self._compared(form, in_lift=False) if self._chance(2) else ("",))
                )
            compared = self._compared(of, in_lift=False) if self._chance(2) else ("", None)
            # A relative property is compared by the type it has on the node at hand: `name` has two.
            if kind == 1 or (prop == "name" and compared[0]):
                return q.IsForm(form, prop, *compared)
            return q.HasProp(prop, *compared)
        if kind == 4:
            return q.Not(self.condition(depth + 1))
        if kind in (5, 6):
            return q.Both(self.condition(depth + 1), self.condition(depth + 1), is_or=kind == 5)
        counted = (self._pick(("=", ">", "<", ">=", "<=", "!=")), self._below(4)) if self._chance(2) else ()
        return q.Leads(self._reading(depth + 1, 1 + self._below(2)), *counted)

    def _pivot(self) -> q.Operation:
        kind, is_join = self._below(8), self._chance(4)
        if kind in (0, 1):
            return q.Pivot("*", is_inward=kind == 1, is_join=is_join)
        if kind == 2:
            return q.Pivot(self._pick(FORMS), is_join=is_join)
        if kind == 3:
            form, prop = self._pick((("inet:ipv4", "asn"), ("ou:org", "names"), ("inet:asn", "owner")))
            return q.Pivot(form, prop, is_join=is_join)
        if kind == 4:
            source, form = self._pick(
                (("asn", "inet:asn"), ("asn", "*"), ("owner", "ou:org"), ("name", "*"), ("names", "ou:name"))
            )
            return q.Pivot(form, source=source)
        if kind == 5:
            return q.Walk("*", "*", is_inward=self._chance(2), with_props=True)
        return q.Walk(self._pick((*VERBS, "*")), self._pick(("*", "*", *FORMS)), is_inward=self._chance(2))

    def _reading(self, depth: int, count: int) -> q.Query:
        made: list[q.Operation] = []
        for _ in range(count):
            if self._chance(2):
                made.append(q.Filter(self.condition(depth), is_keep=not self._chance(3)))
            else:
                made.append(self._pivot())
        return tuple(made)

    def edit(self, form: str | None, depth: int) -> q.Add | q.Set | q.Unset | q.Tag | q.Edge:
        """One edit, for nodes of a form if that is known."""
        kind = self._below(8)
        found = self._prop(form)
        if kind in (0, 1) or found is None or (form is None and kind < 5):
            return q.Tag(self._pick(TAGS), is_added=not self._chance(4))
        _, prop, of = found
        if kind == 7 and depth < DEPTH_MAX:
            body = (self.lift(), q.Command("limit", 1 + self._below(3)))
            return q.Edge(self._pick(VERBS), body, is_added=not self._chance(4), is_inward=self._chance(2))
        if kind == 6:
            return q.Unset(prop)
        if of.endswith("[]"):
            if self._chance(2):
                return q.Set(prop, self._plain(of), self._pick(("+=", "-=")))
            return q.Set(prop, tuple(self._plain(of) for _ in range(1 + self._below(3))))
        if of == "inet:asn" and self._chance(8):
            return q.Set(prop, "nonsense", self._pick(("?=", "=")))
        return q.Set(prop, self._value(of), "*unset=" if self._chance(6) else "=")

    def edits(self, depth: int, *, adds: bool) -> q.Edits:
        """One block of edits; the first adds a node if it is to."""
        form = self._pick(FORMS) if adds else None
        made: list[Any] = []
        if form is not None:
            made.append(q.Add(form, self._value(form)))
        made.extend(self.edit(form, depth) for _ in range(self._below(4) + (not adds)))
        return q.Edits(tuple(made))

    # Queries ---------------------------------------------------------------------------------------------------

    def query(self) -> q.Query:
        """One query: what begins a row, and steps behind it."""
        while q.edits_what_it_lifts(made := self._any_query()):
            pass
        return made

    def _any_query(self) -> q.Query:
        self._known = []
        made: list[q.Operation] = []
        if self._chance(3):
            made.append(q.Assign(X, self._below(NUMBER_MAX)))
            self._known.append(X)
        made.extend(self._beginning())
        for _ in self._some(4):
            made.extend(self._more(0))
        return tuple(made)

    def writing(self) -> q.Query:
        """One query that adds nodes."""
        while q.edits_what_it_lifts(made := self._any_writing()):
            pass
        return made

    def _any_writing(self) -> q.Query:
        self._known = []
        made: list[q.Operation] = [self.edits(0, adds=True)]
        for _ in self._some(2):
            made.append(self.edits(0, adds=True))
        return tuple(made)

    def _beginning(self) -> list[q.Operation]:
        kind = self._below(8)
        if kind == 6:
            return [self.edits(0, adds=True)]
        if kind == 7:
            return [self._loop(0, begins=True)]
        return [self.lift()]

    def _loop(self, depth: int, *, begins: bool) -> q.For:
        items = tuple(self._below(NUMBER_MAX) for _ in range(1 + self._below(3)))
        known = self._known
        self._known = [*known, I]
        body: list[q.Operation] = []
        if begins:
            body.append(self.lift() if self._chance(2) else self.edits(depth + 1, adds=True))
        for _ in self._some(2):
            body.extend(self._more(depth + 1))
        self._known = known
        return q.For(I, items, tuple(body))

    def _more(self, depth: int) -> list[q.Operation]:
        kind = self._below(16 if depth < DEPTH_MAX else 9)
        if kind < 4:
            return [q.Filter(self.condition(depth), is_keep=not self._chance(3))]
        if kind < 7:
            return [self._pivot()]
        if kind == 7:
            return [self.lift()]
        if kind == 8:
            return [self.edits(depth, adds=self._chance(4))]
        if kind == 9:
            return [q.Command("limit", self._below(6))]
        if kind == 10:
            return [q.Command(self._pick(("uniq", "uniq", "uniq", "spin", "delnode")))]
        if kind == 11:
            return self._row_variable(depth)
        if kind == 12:
            return [q.Sub(self._body(depth), is_yielded=self._chance(2))]
        if kind == 13:
            return [self._loop(depth, begins=False)]
        if kind == 14:
            variable = self._pick(self._known) if self._known and self._chance(2) else None
            prop = self._pick(("asn", "name", "owner"))
            return [q.If(variable, self._below(8), prop, self._body(depth), self._body(depth, 1))]
        return [q.Pivot("#"), q.Command("uniq")] if depth == 0 and self._chance(2) else [self._pivot()]

    def _body(self, depth: int, most: int = 2) -> q.Query:
        made: list[q.Operation] = []
        for _ in range(1 + self._below(most)):
            made.extend(self._more(depth + 1))
        return tuple(made)

    def _row_variable(self, depth: int) -> list[q.Operation]:
        """A number of the node at hand, used by what stands right behind."""
        is_keep: list[q.Operation] = [q.Filter(q.HasProp("asn"), is_keep=True), q.Assign(ROW, prop="asn")]
        uses: list[Callable[[], q.Operation]] = [
            lambda: q.Lift("inet:asn", "", "=", ROW),
            lambda: q.Lift("inet:ipv4", "asn", "<", ROW),
            lambda: q.Filter(q.HasProp("asn", ">", ROW), is_keep=not self._chance(3)),
            lambda: q.Edits((q.Add("inet:ipv4", ROW),)),
        ]
        return [*is_keep, self._pick(uses)()]


__all__ = ["Choices", "Maker", "RandomChoices"]
