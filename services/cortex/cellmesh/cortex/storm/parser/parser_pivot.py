"""Lifts, filters and pivots: how nodes come in, stay and lead to others."""

from __future__ import annotations

import re

from cellmesh.cortex.storm.parser import ast, lexer
from cellmesh.cortex.storm.parser.parser_command import CommandParser
from cellmesh.cortex.storm.source import Span

_NOT = re.compile(r"not(?![\w:.])")
_AND_OR = re.compile(r"(?:and|or)(?![\w:.])")
_ELEMENT_START = "*["
_WALK_OUT_END = re.compile(r"\)(\+?)>")
_OUT = re.compile(r"-(\+?)>")
_ALL_OUT = re.compile(r"--(\+?)>")
_IN = re.compile(r"<(\+?)-(?=[\s(*a-z])")
_ALL_IN = re.compile(r"<(\+?)--")
_WALK_IN = re.compile(r"<(\+?)\(")
_COMPARED = re.compile(r"\s|$|[)}\]|]")
_DEPTH_STEPS = {"(": 1, ")": -1}
_WORD_WALK_END = re.compile(r"\s*\)\+?>")
_WALK_OUT_AHEAD = re.compile(r"\)\+?>")


class PivotParser(CommandParser):
    """Parses lifts, filters and pivots."""

    __slots__ = ()

    # Comparisons.

    def comparison(self) -> ast.Comparison | None:
        """Parse an operator and a value if an operator is next; `*[ ]` too."""
        if self.peek() == "*" and self.text.startswith(_ELEMENT_START, self.position):
            return self._element_comparison()
        return self.plain_comparison()

    def plain_comparison(self) -> ast.Comparison | None:
        """Parse an operator and a value if an operator is next, but not `*[ ]`."""
        self.peek()
        start = self.position
        if self._is_pivot_in():
            return None
        found = lexer.COMPARATOR.match(self.text, start)
        if found is None:
            return None
        operator = _without_value(found.group())
        self.take(len(operator))
        value = self.value("a value to compare with")
        return ast.Comparison(self.span(start), found.group(1) or operator, value)

    def _element_comparison(self) -> ast.Comparison:
        start = self.position
        self.take(2)
        self.open()
        self.peek()
        found = lexer.ELEMENT_COMPARATOR.match(self.text, self.position)
        if found is None:
            self.fail("expected an operator in '*[ ]'")
        operator = _without_value(found.group())
        self.take(len(operator))
        value = self.value("a value to compare elements with")
        self.expect("]", "after the value to compare elements with")
        self.close()
        return ast.Comparison(self.span(start), operator, value, True)

    def _is_pivot_in(self) -> bool:
        return self.text.startswith("<", self.position) and (
            self.looking_at(_IN) or self.looking_at(_ALL_IN) or self._is_walk_in()
        )

    def _is_walk_in(self) -> bool:
        """Whether `<(` starts a walk, which ends with `)-`, and not a comparison with an expression."""
        found = _WALK_IN.match(self.text, self.position)
        if found is None:
            return False
        depth = 1
        for at in range(found.end(), len(self.text)):
            depth += _DEPTH_STEPS.get(self.text[at], 0)
            if depth == 0:
                # A word alone is a verb even so, and is told of as one.
                is_verb = self.text[found.end() : at].strip().isidentifier()
                return is_verb or not _COMPARED.match(self.text, at + 1)
        return True

    # Lifts.

    def lift(self) -> ast.Lift:
        """Parse a lift at the cursor."""
        char = self.peek()
        start = self.position
        if char == "#":
            return self._tag_lift(start, None)
        if char == "*" and self.text.startswith("*$", start):
            self.take(1)
            chain = self.variable_chain("a form or property")
            return self._named_lift(start, chain, ())
        if char == ".":
            prop = self.universal_prop()
            if not isinstance(prop.steps[0], ast.Name):
                self.fail("expected the name of a universal property", at=start)
            return self._named_lift(start, prop.steps[0], ())
        glob = self.match(lexer.FORM_GLOB)
        if glob is not None:
            return self._glob_lift(start, ast.Name(self.span(start), glob))
        text = self.match(lexer.PROP_NAME)
        if text is None:
            self.fail("expected a form, a property or a tag to lift by")
        if self.text.startswith(("-", ":"), self.position):
            self.fail("expected a form, a property or a tag to lift by, and then a blank", at=start)
        names = self.steps(text, start)
        return self._named_lift(start, names[0], names[1:])

    def _named_lift(self, start: int, name: ast.NameRef, path: tuple[ast.Name, ...]) -> ast.Lift:
        if self.text.startswith("#", self.position) and not path:
            return self._tag_lift(start, name)
        comparison = self.comparison()
        if path and comparison is None:
            self.fail("a lift through '::' needs an operator and a value", at=start)
        return ast.Lift(
            self.span(start), ast.PropTarget(self._target_span(start, comparison), name, path), comparison
        )

    def _glob_lift(self, start: int, name: ast.Name) -> ast.Lift:
        if self.text.startswith("#", self.position):
            return self._tag_lift(start, name)
        return ast.Lift(self.span(start), ast.PropTarget(name.span, name), None)

    def _target_span(self, start: int, comparison: ast.Comparison | None) -> Span:
        if comparison is None:
            return self.span(start)
        return Span(start, start + len(self.text[start : comparison.span.start].rstrip()))

    def _tag_lift(self, start: int, form: ast.NameRef | None) -> ast.Lift:
        self.take(1)
        target: ast.LiftTarget
        is_meta = form is None and self.text.startswith("#", self.position)
        if is_meta:
            self.take(1)
        tag = self.tag_name()
        if is_meta:
            target = ast.MetaTagTarget(self.span(start), tag)
        elif self.has_tag_prop():
            prop = self.tag_prop_name()
            target = ast.TagPropTarget(self.span(start), form, tag, prop)
        else:
            target = ast.TagTarget(self.span(start), form, tag)
        comparison = self.plain_comparison()
        return ast.Lift(self.span(start), target, comparison)

    # Filters.

    def filter(self) -> ast.Filter:
        """Parse `+condition` or `-condition` at the cursor."""
        start = self.position
        is_keep = self.text[start] == "+"
        self.take(1)
        condition = self._condition()
        return ast.Filter(self.span(start), is_keep, condition)

    def _condition_list(self) -> ast.Condition:
        """Parse conditions joined by `and` and `or`, which bind alike and group from the left."""
        self.peek()
        start = self.position
        left = self._condition()
        length = 0
        while True:
            self.peek()
            word = self.match(_AND_OR)
            if word is None:
                return left
            right = self._condition()
            node = ast.AndCondition if word == "and" else ast.OrCondition
            left = node(self.span(start), left, right)
            length += 1
            if length > lexer.CHAIN_CHECK_LENGTH:
                self.chain_is_long = True

    def _condition(self) -> ast.Condition:
        char = self.peek()
        start = self.position
        if char == "(":
            self.take(1)
            self.open()
            inner = self._condition_list()
            self.expect(")", "after the condition")
            self.close()
            return inner
        if char == ":":
            relative = self.relative_prop()
            compared = self.comparison()
            return ast.RelativePropCondition(self.span(start), relative, compared)
        if char == "#":
            return self._tag_condition()
        if char == "{":
            query = self.braces_apart("a condition")
            compared = self.plain_comparison()
            return ast.SubqueryCondition(self.span(start), query, compared)
        if char == "$" and not self.text.startswith("${", start):
            expression = self.dollar()
            return ast.ExpressionCondition(self.span(start), expression)
        if char == ".":
            universal = self.universal_prop()
            compared = self.plain_comparison()
            return ast.RelativePropCondition(self.span(start), universal, compared)
        if char == "n" and self.match(_NOT):
            self.open()
            negated = self._condition()
            self.close()
            return ast.NotCondition(self.span(start), negated)
        return self._name_condition()

    def _name_condition(self) -> ast.PropCondition:
        start = self.position
        glob = self.match(lexer.FORM_GLOB)
        if glob is not None:
            span = self.span(start)
            return ast.PropCondition(span, ast.Name(span, glob), None)
        name = self.match(lexer.PROP_NAME)
        if name is None:
            self.fail("expected a condition: a form, ':prop', '#tag', '{ query }' or '$(expression)'")
        span = self.span(start)
        comparison = self.plain_comparison()
        return ast.PropCondition(self.span(start), ast.Name(span, name), comparison)

    def _tag_condition(self) -> ast.TagCondition | ast.TagPropCondition:
        start = self.position
        self.take(1)
        tag = self.tag_name(is_glob_allowed=True)
        prop = self.tag_prop_name() if self.has_tag_prop() else None
        before = self.position
        comparison = self.plain_comparison()
        if comparison is not None and tag.is_glob:
            self._refuse_glob(tag)
        if comparison is None:
            self.position = before
        if prop is None:
            return ast.TagCondition(self.span(start), tag, comparison)
        return ast.TagPropCondition(self.span(start), tag, prop, comparison)

    def _refuse_glob(self, tag: ast.TagName) -> None:
        for segment in tag.segments:
            if isinstance(segment, ast.Name) and "*" in segment.text:
                at = segment.span.start + segment.text.index("*")
                self.fail("a tag with '*' cannot be compared", at=at)

    # Pivots.

    def pivot(self) -> ast.Pivot | None:
        """Parse a pivot that starts with `-` or `<` at the cursor; None if it is none."""
        start = self.position
        if self.text.startswith("-", start):
            return self._pivot_out(start)
        found = _ALL_IN.match(self.text, start)
        if found is not None:
            self.take(len(found.group()))
            return self._all_pivot(start, ast.Direction.IN, bool(found.group(1)))
        found = _WALK_IN.match(self.text, start)
        if found is not None:
            self.take(len(found.group()))
            return self._walk_in(start, bool(found.group(1)))
        found = _IN.match(self.text, start)
        if found is not None:
            self.take(len(found.group()))
            return self._pivot_in(start, bool(found.group(1)))
        return None

    def _pivot_out(self, start: int) -> ast.Pivot | None:
        found = _OUT.match(self.text, start)
        if found is not None:
            self.take(len(found.group()))
            return self._prop_pivot(start, None, bool(found.group(1)))
        found = _ALL_OUT.match(self.text, start)
        if found is not None:
            self.take(len(found.group()))
            return self._all_pivot(start, ast.Direction.OUT, bool(found.group(1)))
        if self._is_walk_out():
            return self._walk_out(start)
        return None

    def _is_walk_out(self) -> bool:
        """Whether `-(` at the cursor starts an edge, not a filter: what closes it tells."""
        if not self.text.startswith("-(", self.position):
            return False
        inside = self.position + 2
        word = lexer.VALUE_WORD.match(self.text, inside)
        if word is not None and _WORD_WALK_END.match(self.text, word.end()):
            return True
        closing, _ = self.closing_bracket(inside - 1)
        if closing >= 0:
            if _WALK_OUT_AHEAD.match(self.text, closing):
                return True
            # An edge whose end is missing or misspelt: what runs on past the parenthesis is a word, no condition.
            return word is not None and word.end() > closing
        return word is not None and ">" in word.group()

    def relative_pivot(self) -> ast.Pivot:
        """Parse `:prop -> target` at the cursor."""
        start = self.position
        prop = self.relative_prop()
        self.peek()
        found = _OUT.match(self.text, self.position)
        if found is None:
            self.fail("expected '->' or '-+>' after the property")
        self.take(len(found.group()))
        return self._prop_pivot(start, prop, bool(found.group(1)))

    def _prop_pivot(self, start: int, source: ast.RelativeProp | None, is_join: bool) -> ast.Pivot:
        route = ast.ViaProps(source.span if source else self.span(start), source)
        char = self.peek()
        at = self.position
        target: ast.PivotTarget
        if char == "#" and source is None:
            target = self._node_tags()
        elif char == "{" and source is None and not is_join:
            query = self.braces("what to pivot to")
            target = ast.RawQuery(self.span(at), query)
        else:
            target = self._target(is_glob_allowed=source is None)
        return ast.Pivot(self.span(start), route, ast.Direction.OUT, is_join, target)

    def _pivot_in(self, start: int, is_join: bool) -> ast.Pivot:
        route = ast.ViaProps(self.span(start), None)
        char = self.peek()
        at = self.position
        target: ast.PivotTarget
        if char == "*":
            self.take(1)
            target = ast.AnyNode(self.span(at))
        else:
            name = self.match(lexer.PROP_NAME)
            if name is None:
                self.fail("expected '*' or a form after '<-'")
            target = ast.NamedTargets(self.span(at), (ast.Name(self.span(at), name),))
        return ast.Pivot(self.span(start), route, ast.Direction.IN, is_join, target)

    def _all_pivot(self, start: int, direction: ast.Direction, is_join: bool) -> ast.Pivot:
        route = ast.ViaAll(self.span(start))
        if self.peek() != "*":
            self.fail("expected '*' after the pivot along all properties and edges")
        at = self.position
        self.take(1)
        return ast.Pivot(self.span(start), route, direction, is_join, ast.AnyNode(self.span(at)))

    def _walk_out(self, start: int) -> ast.Pivot:
        self.take(2)
        verbs = self.verb()
        self.peek()
        found = _WALK_OUT_END.match(self.text, self.position)
        if found is None:
            self.fail("expected ')>' or ')+>' after the verb")
        self.take(len(found.group()))
        return self._walk(start, verbs, ast.Direction.OUT, bool(found.group(1)))

    def _walk_in(self, start: int, is_join: bool) -> ast.Pivot:
        verbs = self.verb()
        self.expect(")-", "after the verb")
        return self._walk(start, verbs, ast.Direction.IN, is_join)

    def _walk(self, start: int, verbs: ast.Expression, direction: ast.Direction, is_join: bool) -> ast.Pivot:
        route = ast.ViaEdges(self.span(start), verbs)
        target = self._target(is_glob_allowed=True)
        comparison = self.plain_comparison()
        return ast.Pivot(self.span(start), route, direction, is_join, target, comparison)

    def _target(self, *, is_glob_allowed: bool) -> ast.PivotTarget:
        """Parse `*`, a form or property, a variable, or a list of them."""
        char = self.peek()
        start = self.position
        if char == "*":
            self.take(1)
            return ast.AnyNode(self.span(start))
        if char == "$":
            chain = self.variable_chain("a form")
            return ast.NamedTargets(self.span(start), (chain,))
        if char == "(":
            return self._target_list()
        name = self.match(lexer.FORM_GLOB) if is_glob_allowed else None
        if name is None:
            name = self.match(lexer.PROP_NAME) or self.match(lexer.UNIVERSAL_NAME)
        if name is None:
            self.fail("expected '*', a form, a property or a variable to pivot to")
        span = self.span(start)
        return ast.NamedTargets(span, (ast.Name(span, name),))

    def _target_list(self) -> ast.NamedTargets:
        start = self.position
        found = self.parentheses()
        if not isinstance(found, ast.TupleLiteral):
            self.fail("expected a list of forms or properties", at=start)
        names: list[ast.NameRef] = []
        for item in found.items:
            if isinstance(item, ast.Literal):
                names.append(ast.Name(item.span, item.value))
            elif isinstance(item, ast.Variable | ast.Attribute | ast.Call):
                names.append(item)
            else:
                self.fail("expected the name of a form or property, or a variable", at=item.span.start)
        return ast.NamedTargets(self.span(start), tuple(names), True)

    def _node_tags(self) -> ast.NodeTags:
        start = self.position
        self.take(1)
        # After a blank it is another operation: `-> # uniq`.
        if self.text.startswith("$", self.position) or self.looking_at(lexer.TAG_GLOB_SEGMENT):
            tag = self.tag_name(is_glob_allowed=True)
            return ast.NodeTags(self.span(start), tag)
        return ast.NodeTags(self.span(start), None)


def _without_value(operator: str) -> str:
    """Return an operator without a question mark at its end, which is the value: the time that has not come."""
    return operator.rstrip("?") or operator
