"""Edit blocks: `[ ... ]`."""

from __future__ import annotations

import re

from cellmesh.cortex.storm.parser import ast, lexer
from cellmesh.cortex.storm.parser.parser_expression import ExpressionParser

_ASSIGN = re.compile(r"(\?)?(\+\+|--|\+|-)?=(?!=)")
_NODE_ASSIGN = re.compile(r"(\?)?(\+|-)?=(?!=)")
_PLAIN_ASSIGN = re.compile(r"(\?)?()=(?!=)")
_SET_OPERATORS = {operator.value[:-1]: operator for operator in ast.SetOperator}
_CONDITION_NAME = re.compile(r"unset(?!\w)")
_OUT_EDGE_END = re.compile(r"\)>")


class EditParser(ExpressionParser):
    """Parses what stands between square brackets."""

    __slots__ = ()

    def edit_block(self) -> ast.EditBlock:
        """Parse `[ ... ]` at the cursor."""
        start = self.position
        self.take(1)
        self.open()
        edits: list[ast.Edit] = []
        while self.peek() != "]":
            edits.append(self._edit())
        self.take(1)
        self.close()
        return ast.EditBlock(self.span(start), tuple(edits))

    def _edit(self) -> ast.Edit:
        char = self.peek()
        if char == "+":
            return self._plus()
        if char == "-":
            return self._minus()
        if char == ":":
            return self._set_prop(self.relative_prop())
        if char == ".":
            return self._set_prop(self.universal_prop())
        if char == "(":
            return self._edit_group()
        if char == "<":
            return self._edge_in()
        return self._add_node()

    def _add_node(self) -> ast.AddNode:
        self.peek()
        start = self.position
        form: ast.NameRef
        if self.text.startswith("*$", start):
            self.take(1)
            form = self.variable_chain("a form")
        else:
            name = self.match(lexer.PROP_NAME)
            if name is None or self.text.startswith((":", "*:", "*="), self.position):
                self.fail("expected an edit or ']'", at=start)
            form = ast.Name(self.span(start), name)
        operator = self._operator(_NODE_ASSIGN, "expected '=' or '?=' and a value after the form")
        value = self.value("a value for the node")
        return ast.AddNode(self.span(start), form, value, operator[1])

    def _operator(self, pattern: re.Pattern[str], message: str) -> tuple[ast.SetOperator, bool]:
        self.peek()
        found = pattern.match(self.text, self.position)
        if found is None:
            self.fail(message)
        self.take(len(found.group()))
        return _SET_OPERATORS[found.group(2) or ""], found.group(1) is not None

    def _set_prop(self, prop: ast.RelativeProp) -> ast.SetProp:
        when: ast.NameRef | None = None
        if self.peek() == "*" and not prop.is_universal:
            self.take(1)
            when = self._condition_name()
            operator, is_try = self._operator(_PLAIN_ASSIGN, "expected '=' or '?=' after the condition")
        else:
            operator, is_try = self._operator(
                _ASSIGN, "expected '=', '?=', '+=', '-=', '++=' or '--=' after the property"
            )
        value = self.value("a value for the property")
        return ast.SetProp(self.span(prop.span.start), prop, operator, value, is_try, when)

    def _condition_name(self) -> ast.NameRef:
        char = self.peek()
        start = self.position
        if char == "$":
            return self.variable_chain("a condition")
        name = self.match(_CONDITION_NAME)
        if name is None:
            self.fail("expected 'unset' or a variable after '*'")
        return ast.Name(self.span(start), name)

    def _plus(self) -> ast.Edit:
        start = self.position
        if self.text.startswith("(", start + 1):
            return self._edge_out(start, is_add=True)
        self.take(1)
        is_try = self.text.startswith("?", self.position)
        if is_try:
            self.take(1)
        if not self.text.startswith("#", self.position):
            self.fail("expected a tag, '+#tag', or an edge, '+(verb)> { }'")
        self.take(1)
        tag = self.tag_name()
        if self.has_tag_prop():
            if is_try:
                self.fail("expected no tag property after '+?#tag'", at=self.last)
            prop = self.tag_prop_name()
            operator, is_try_value = self._operator(
                _NODE_ASSIGN, "expected '=' or '?=' and a value after the tag property"
            )
            value = self.value("a value for the tag property")
            return ast.SetTagProp(self.span(start), tag, prop, operator, value, is_try_value)
        self.peek()
        if not self.looking_at(_PLAIN_ASSIGN):
            return ast.AddTag(self.span(start), tag, None, is_try, False)
        _, is_try_value = self._operator(_PLAIN_ASSIGN, "")
        value = self.value("a time or interval for the tag")
        return ast.AddTag(self.span(start), tag, value, is_try, is_try_value)

    def _minus(self) -> ast.Edit:
        start = self.position
        if self.text.startswith("(", start + 1):
            return self._edge_out(start, is_add=False)
        self.take(1)
        char = self.peek()
        if char == ":":
            relative = self.relative_prop()
            return ast.DeleteProp(self.span(start), relative)
        if char == ".":
            universal = self.universal_prop()
            return ast.DeleteProp(self.span(start), universal)
        if char != "#":
            self.fail("expected what to delete: ':prop', '#tag' or '(verb)> { }'")
        self.take(1)
        tag = self.tag_name()
        if not self.has_tag_prop():
            return ast.DeleteTag(self.span(start), tag)
        prop = self.tag_prop_name()
        return ast.DeleteTagProp(self.span(start), tag, prop)

    # Light edges.

    def verb(self) -> ast.Expression:
        """Parse the verb or verbs after the opening parenthesis of an edge."""
        return self.value("a verb")

    def _edge_out(self, start: int, *, is_add: bool) -> ast.AddEdge | ast.DeleteEdge:
        self.take(2)
        verb = self.verb()
        self.peek()
        if not self.match(_OUT_EDGE_END):
            self.fail("expected ')>' after the verb")
        target = self._edge_target()
        node = ast.AddEdge if is_add else ast.DeleteEdge
        return node(self.span(start), verb, ast.Direction.OUT, target)

    def _edge_in(self) -> ast.AddEdge | ast.DeleteEdge:
        start = self.position
        if not self.text.startswith("<(", start):
            self.fail("expected an edit or ']'")
        self.take(2)
        verb = self.verb()
        self.peek()
        sign = self.text[self.position : self.position + 2]
        if sign not in (")+", ")-"):
            self.fail("expected ')+' or ')-' after the verb")
        self.take(2)
        target = self._edge_target()
        node = ast.AddEdge if sign == ")+" else ast.DeleteEdge
        return node(self.span(start), verb, ast.Direction.IN, target)

    def _edge_target(self) -> ast.Expression:
        char = self.peek()
        start = self.position
        if char == "{":
            query = self.braces_apart("the nodes at the other end")
            return ast.SubqueryValue(self.span(start), query)
        return self.variable_chain("a query in braces or a variable")

    def _edit_group(self) -> ast.EditGroup:
        start = self.position
        self.take(1)
        self.open()
        self.peek()
        if not self.looking_at(lexer.PROP_NAME) and not self.text.startswith("*$", self.position):
            self.fail("expected a new node first in the parentheses")
        node = self._add_node()
        edits: list[ast.Edit] = []
        while self.peek() != ")":
            edits.append(self._edit())
        self.take(1)
        self.close()
        return ast.EditGroup(self.span(start), node, tuple(edits))
