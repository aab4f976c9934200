"""What holds values in turn: parentheses, operators, lists, dictionaries and format strings."""

from __future__ import annotations

import re
from decimal import Decimal

from cellmesh.cortex.storm.parser import ast, lexer
from cellmesh.cortex.storm.parser.parser_value import ValueParser
from cellmesh.cortex.storm.parser.strength import NEGATE, NOT, binary_strength
from cellmesh.cortex.storm.source import Span

_OPERATORS = {operator.value: operator for operator in ast.BinaryOperator}
_OPERATOR = re.compile(r"\*\*|<=|>=|!=|\^=|~=|[=<>+\-*/%]|(?:and|or)(?![a-zA-Z_])")
_NOT_WORD = re.compile(r"not(?=[\s($])")
_NEGATIVE = re.compile(r"-(?=[$(:#\-.])")
_COMMA_NEXT = re.compile(r"\s*,")
_LAST_ITEM = re.compile(r"\s+\]|\s*\}")
_WORD_BEFORE_OPERATOR = re.compile(r"([^\s+*/%<>=!]+)\s*[+\-*/%<>=!]")
_WORD_AHEAD = re.compile(r"[\w.:\-]+")
_CONSTANTS = {"true": True, "false": False, "null": None}


class ExpressionParser(ValueParser):
    """Parses expressions and the values made of others."""

    __slots__ = ()

    # Parentheses: a list of values, or an expression.

    def parentheses(self) -> ast.Expression:
        """Parse `( )` where a value stands: `(a, b)` is a list of values, `(1 + 2)` an expression."""
        opening = self.position
        self.take(1)
        self.open()
        char = self.peek()
        if char == ")":
            found: ast.Expression = ast.TupleLiteral(Span(opening, self.position + 1), ())
            self._close_parenthesis()
            return found
        first = self._first_item(char, opening)
        if isinstance(first, list):
            items = self._further_items(first)
            self._close_parenthesis()
            return ast.TupleLiteral(self.span(opening), items)
        self._close_parenthesis()
        return self.members(first, opening)

    def _first_item(self, char: str, opening: int) -> ast.Expression | list[ast.Expression]:
        """Parse the whole expression, or the first value of a list, returned in a Python list."""
        start = self.position
        if char in ("'", '"', "$", ":", "#", ".", "`", "("):
            item = self.marked_value(char)
            assert item is not None  # each of these characters starts a value
            if self.peek() == ",":
                return [item]
            # Of the values only a list cannot be an operand.
            if isinstance(item, ast.TupleLiteral):
                self.fail(
                    "expected ',' after the first value of a list", hint="a list of one is written (value,)"
                )
            return self._operators(item, start, 0)
        if char == "{":
            closing, _ = self.closing_bracket(start)
            if closing > 0 and _COMMA_NEXT.match(self.text, closing + 1) and not self._starts_dict(start):
                query = self.braces_apart("a value")
                return [ast.SubqueryValue(self.span(start), query)]
            return self._operators(self._dict(), start, 0)
        is_expression = (
            char == "["
            or self.looking_at(lexer.CONSTANT_NAME)
            or self.looking_at(_NOT_WORD)
            or (self._starts_number() and self.closing_bracket(opening)[1] < 0)
        )
        if is_expression:
            return self.expression()
        return [self._item_word("a value")]

    def _starts_dict(self, start: int) -> bool:
        """Whether a brace that a comma follows is still no query, for a fault at the comma."""
        following = self.text[start + 1 : start + 2]
        return following in ("'", '"') and following != ""

    def _starts_number(self) -> bool:
        return self.looking_at(lexer.NUMBER) or self.looking_at(_NEGATIVE)

    def _further_items(self, items: list[ast.Expression]) -> tuple[ast.Expression, ...]:
        if self.peek() != ",":
            only = items[0]
            hint = ""
            if isinstance(only, ast.Literal) and only.is_bare and self.peek() == ")":
                hint = self._single_word_hint(only.value)
            self.fail("expected ',' after the first value of a list", hint=hint)
        while self.peek() == ",":
            self.take(1)
            char = self.peek()
            if char == ")":
                break
            item = self.marked_value(char)
            items.append(item if item is not None else self._item_word("a value of the list"))
        return tuple(items)

    def _single_word_hint(self, word: str) -> str:
        operand = _WORD_BEFORE_OPERATOR.match(word)
        if operand is None:
            return f'write ("{word}") for a text or ({word},) for a list of one'
        return f'text in an expression needs quotes: "{operand.group(1)}"'

    def _item_word(self, what: str) -> ast.Literal:
        start = self.position
        text = self.match(lexer.ITEM_WORD)
        if text is None:
            self.fail(f"expected {what}")
        return ast.Literal(Span(start, self.end), text, True)

    def _close_parenthesis(self) -> None:
        if self.peek() != ")":
            self.fail("expected ')'", hint=self._bare_hint())
        self.take(1)
        self.close()

    def group(self) -> ast.Expression:
        """Parse `( )` that can only hold an expression, without members after it."""
        self.take(1)
        self.open()
        inner = self.expression()
        self._close_parenthesis()
        return inner

    # Expressions.

    def expression(self, strength: int = 0) -> ast.Expression:
        """Parse operands and operators that bind more strongly than `strength`."""
        char = self.peek()
        start = self.position
        if char == "n" and strength < NOT and self.match(_NOT_WORD):
            operand = self.expression(NOT)
            left: ast.Expression = ast.UnaryOperation(self.span(start), ast.UnaryOperator.NOT, operand)
        else:
            left = self._operand(char)
        return self._operators(left, start, strength)

    def _operators(self, left: ast.Expression, start: int, strength: int) -> ast.Expression:
        length = 0
        while True:
            self.peek()
            found = _OPERATOR.match(self.text, self.position)
            if found is None:
                return left
            operator = _OPERATORS[found.group()]
            binding = binary_strength(operator)
            if binding <= strength:
                return left
            self.take(len(found.group()))
            right = self.expression(binding)
            left = ast.BinaryOperation(self.span(start), operator, left, right)
            length += 1
            if length > lexer.CHAIN_CHECK_LENGTH:
                self.chain_is_long = True

    def _operand(self, char: str) -> ast.Expression:
        start = self.position
        if char == "(":
            return self.members(self.group(), start)
        if char == "[":
            return self._list()
        if char == "{":
            return self._dict()
        if char in ("$", "'", '"', ":", "#", ".", "`"):
            found = self.marked_value(char)
            assert found is not None  # each of these characters starts a value
            return found
        number = self._number()
        if number is not None:
            return number
        name = self.match(lexer.CONSTANT_NAME)
        if name is not None:
            return ast.Constant(Span(start, self.end), _CONSTANTS[name])
        if not self.match(_NEGATIVE):
            self.fail("expected an expression", hint=self._bare_hint())
        self.open()
        operand = self.expression(NEGATE)
        self.close()
        return ast.UnaryOperation(self.span(start), ast.UnaryOperator.NEGATE, operand)

    def _number(self) -> ast.Constant | None:
        start = self.position
        found = lexer.NUMBER.match(self.text, start)
        if found is None:
            return None
        value = self._number_value(found.group())
        if value is None or _COMMA_NEXT.match(self.text, found.end()):
            return None
        self.take(found.end() - start)
        return ast.Constant(Span(start, self.end), value)

    def _number_value(self, text: str) -> int | Decimal | None:
        if "." in text:
            return Decimal(text)
        try:
            return int(text, 0)
        except ValueError:
            return None

    def _list(self) -> ast.ListLiteral:
        start = self.position
        self.take(1)
        self.open()
        items: list[ast.Expression] = []
        while self.peek() != "]":
            items.append(self._element("an item of the list"))
            if self.peek() == ",":
                self.take(1)
            elif self.peek() != "]":
                self.fail("expected ',' or ']' in the list", hint=self.operator_hint())
        self.take(1)
        self.close()
        return ast.ListLiteral(self.span(start), tuple(items))

    def _dict(self) -> ast.DictLiteral:
        start = self.position
        self.take(1)
        self.open()
        items: list[tuple[ast.Expression, ast.Expression]] = []
        while self.peek() != "}":
            if self.looking_at(lexer.CONSTANT_NAME):
                self.fail("expected a key of the dictionary")
            key = self._element("a key of the dictionary")
            self.expect(":", "after a key of the dictionary")
            items.append((key, self._element("a value of the dictionary")))
            if self.peek() == ",":
                self.take(1)
            elif self.peek() != "}":
                self.fail("expected ',' or '}' in the dictionary", hint=self.operator_hint())
        self.take(1)
        self.close()
        return ast.DictLiteral(self.span(start), tuple(items))

    def _element(self, what: str) -> ast.Expression:
        """Parse an item of a list or dictionary: a single operand; operators need parentheses."""
        char = self.peek()
        start = self.position
        found = lexer.NUMBER.match(self.text, start)
        if found is not None and _LAST_ITEM.match(self.text, found.end()):
            number = self._number()
            if number is not None:
                return number
        digits = self.match(lexer.UNSIGNED_INTEGER)
        if digits is not None:
            value = self._number_value(digits)
            if value is None:
                self.fail(f"expected {what}", at=start)
            if self.text.startswith(".", self.position):
                self.fail(f"expected ',' after {what}", hint=f"write ({found.group() if found else '1.5'})")
            return ast.Constant(Span(start, self.end), value)
        if char == "-" or self.looking_at(_NOT_WORD):
            self.fail(f"expected {what}", hint="put an operator in parentheses of its own: (-1)")
        if not char:
            self.fail(f"expected {what}")
        return self._operand(char)

    # Format strings.

    def format_string(self) -> ast.FormatString:
        """Parse a string in backticks."""
        start = self.position
        self.take(1)
        self.open()
        parts: list[ast.Expression] = []
        while True:
            at = self.position
            text = self.match(lexer.FORMAT_TEXT)
            if text is not None:
                plain = self.unescape(text, at, also="`{") if "\\" in text else text
                parts.append(ast.Literal(Span(at, self.end), plain))
            following = self.text[self.position : self.position + 1]
            if following == "`":
                self.take(1)
                self.close()
                return ast.FormatString(self.span(start), tuple(parts))
            if following != "{":
                self.fail("the format string has no closing backtick", at=len(self.text))
            self.take(1)
            parts.append(self.expression())
            if self.peek() != "}":
                self.fail("expected '}' after an expression in a format string")
            self.take(1)

    # Hints.

    def _bare_hint(self) -> str:
        found = _WORD_AHEAD.match(self.text, self.position)
        if found is None or found.group()[0].isdigit():
            return ""
        return f'text in an expression needs quotes: "{found.group()}"'
