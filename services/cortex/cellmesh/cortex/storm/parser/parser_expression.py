"""Values and expressions: literals, variables and calls, lists and dictionaries, operators."""

from __future__ import annotations

import re
from abc import abstractmethod
from decimal import Decimal

from cellmesh.cortex.storm.parser import ast, lexer
from cellmesh.cortex.storm.parser.lexer import Scanner
from cellmesh.cortex.storm.parser.strength import NEGATE, NOT, binary_strength
from cellmesh.cortex.storm.source import Span

_OPERATORS = {operator.value: operator for operator in ast.BinaryOperator}
_OPERATOR = re.compile(r"\*\*|<=|>=|!=|\^=|~=|[=<>+\-*/%]|(?:and|or)(?![a-zA-Z_])")
_NOT_WORD = re.compile(r"not(?=[\s($])")
_NEGATIVE = re.compile(r"-(?=[$(:#\-.])")
_COMMA_NEXT = re.compile(r"\s*,")
_LAST_ITEM = re.compile(r"\s+\]|\s*\}")
_TAG_PROP_AHEAD = re.compile(r":[a-z_$]")
_WORD_AHEAD = re.compile(r"[\w.:\-]+")
_CONSTANTS = {"true": True, "false": False, "null": None}


class ExpressionParser(Scanner):
    """Parses what has a value. Queries in braces are left to the subclass that knows them."""

    __slots__ = ()

    @abstractmethod
    def braces(self, what: str) -> ast.Query:
        """Parse a query in braces at the cursor."""

    @abstractmethod
    def braces_apart(self, what: str) -> ast.Query:
        """Parse a query in braces at the cursor, whose `return` and `emit` are not those of the query around."""

    @abstractmethod
    def embedded_query(self) -> ast.EmbeddedQuery:
        """Parse `${ }` at the cursor."""

    # Values: what may stand after `=`, as an argument, in `return( )`.

    def value(self, what: str = "a value", word: re.Pattern[str] = lexer.VALUE_WORD) -> ast.Expression:
        """Parse a value; `word` says what a bare word may be made of here."""
        char = self.peek()
        start = self.position
        text = self.match(word)
        if text is not None:
            return ast.Literal(Span(start, self.end), text, True)
        found = self.marked_value(char)
        if found is None:
            self.fail(f"expected {what}")
        if self.text.startswith(".", self.position):
            self._refuse_members(found)
        return found

    def _refuse_members(self, value: ast.Expression) -> None:
        if isinstance(value, ast.Literal | ast.FormatString):
            self.fail("text has members only in parentheses of its own", hint='write ("text").name')
        self.fail("a list or query has no members where it is written", hint="set a variable to it first")

    def marked_value(self, char: str) -> ast.Expression | None:
        """Parse a value told by its first character, which is `char`; None for anything else."""
        start = self.position
        if char == "$":
            return self.dollar()
        if char in ("'", '"'):
            text = self.string()
            return ast.Literal(Span(start, self.end), text)
        if char == ":":
            prop = self.relative_prop()
            return ast.PropValue(prop.span, prop)
        if char == "#":
            return self.tag_value()
        if char == "(":
            return self.parentheses()
        if char == "{":
            query = self.braces_apart("a value")
            return ast.SubqueryValue(self.span(start), query)
        if char == "`":
            return self.format_string()
        if char == ".":
            universal = self.universal_prop()
            return ast.PropValue(universal.span, universal)
        return None

    def dollar(self) -> ast.Expression:
        """Parse what starts with `$`: a variable with members and calls, `$( )` or `${ }`."""
        start = self.position
        following = self.text[start + 1 : start + 2]
        if following == "{":
            return self.embedded_query()
        if following == "(":
            self.take(1)
            return self.members(self._group(), start)
        return self.members(self.variable(), start)

    def variable(self) -> ast.Variable:
        """Parse `$name` or `$"any text"`."""
        start = self.position
        self.take(1)
        name = self.variable_name("a variable name after '$'")
        return ast.Variable(Span(start, self.end), name)

    def variable_name(self, what: str) -> str:
        """Parse a name as variables, functions and parameters have it, quoted or not."""
        char = self.peek()
        if char in ("'", '"'):
            return self.string("name")
        name = self.match(lexer.VARIABLE_NAME)
        if name is None:
            self.fail(f"expected {what}")
        return name

    def variable_chain(self, what: str) -> ast.Variable | ast.Attribute | ast.Call:
        """Parse a variable with its members and calls."""
        if self.peek() != "$":
            self.fail(f"expected {what}")
        start = self.position
        chain = self.members(self.variable(), start)
        assert isinstance(chain, ast.Variable | ast.Attribute | ast.Call)
        return chain

    def members(self, base: ast.Expression, start: int) -> ast.Expression:
        """Parse the members and calls that follow a value without a blank: `.name`, `(…)`."""
        length = 0
        while True:
            following = self.text[self.position : self.position + 1]
            if following == ".":
                self.take(1)
                key = self._member_key()
                base = ast.Attribute(self.span(start), base, key)
            elif following == "(":
                base = self._call(base, start)
            else:
                return base
            length += 1
            if length > lexer.CHAIN_CHECK_LENGTH:
                self.chain_is_long = True

    def _member_key(self) -> ast.Expression:
        char = self.peek()
        start = self.position
        name = self.match(lexer.VARIABLE_NAME)
        if name is not None:
            return ast.Literal(self.span(start), name, True)
        if char == "$":
            if self.text.startswith("$(", start):
                self.take(1)
                return self._group()
            return self.variable()
        if char == "(":
            return self._group()
        if char in ("'", '"'):
            return ast.Literal(self.span(start), self.string("name"))
        if char != "`":
            self.fail("expected a member name after '.'")
        return self.format_string()

    def _call(self, function: ast.Expression, start: int) -> ast.Call:
        self.take(1)
        self.open()
        arguments: list[ast.Expression] = []
        keywords: list[ast.Keyword] = []
        while self.peek() != ")":
            at = self.position
            value = self.value("an argument or ')'")
            if isinstance(value, ast.Literal) and self.peek() == "=":
                keywords.append(self._keyword(value, at, keywords))
            elif keywords:
                self.fail("a positional argument cannot follow a named one", at=at)
            else:
                arguments.append(value)
            if self.peek() == ",":
                self.take(1)
            elif self.peek() != ")":
                self.fail("expected ',' or ')' after an argument", hint=self._operator_hint())
        self.take(1)
        self.close()
        return ast.Call(self.span(start), function, tuple(arguments), tuple(keywords))

    def _keyword(self, name: ast.Literal, at: int, earlier: list[ast.Keyword]) -> ast.Keyword:
        if any(keyword.name == name.value for keyword in earlier):
            self.fail(f"the argument '{name.value}' is given twice", at=at)
        self.take(1)
        value = self.value(f"a value for the argument '{name.value}'")
        return ast.Keyword(self.span(at), name.value, value)

    # Properties and tags of the current node.

    def relative_prop(self) -> ast.RelativeProp:
        """Parse `:name`, `:a::b`, `:$name`."""
        start = self.position
        if self.text.startswith(":$", start):
            self.take(1)
            return self._prop_by_variable(start, is_universal=False)
        name = self.match(lexer.RELATIVE_NAME)
        if name is None:
            self.fail("expected a property name after ':'", at=start)
        return ast.RelativeProp(Span(start, self.end), self.steps(name[1:], start + 1))

    def universal_prop(self) -> ast.RelativeProp:
        """Parse `.seen` or `.$name`."""
        start = self.position
        if self.text.startswith(".$", start):
            self.take(1)
            return self._prop_by_variable(start, is_universal=True)
        name = self.match(lexer.UNIVERSAL_NAME)
        if name is None:
            self.fail("expected the name of a universal property after '.'", at=start)
        span = Span(start, self.end)
        return ast.RelativeProp(span, (ast.Name(span, name),), True)

    def _prop_by_variable(self, start: int, *, is_universal: bool) -> ast.RelativeProp:
        chain = self.variable_chain("a variable")
        return ast.RelativeProp(self.span(start), (chain,), is_universal)

    def steps(self, text: str, start: int) -> tuple[ast.Name, ...]:
        """Split a name at `::`."""
        names = []
        for part in text.split("::"):
            names.append(ast.Name(Span(start, start + len(part)), part))
            start += len(part) + 2
        return tuple(names)

    def tag_name(self, *, is_glob_allowed: bool = False) -> ast.TagName:
        """Parse a tag after its `#`."""
        char = self.peek()
        start = self.position
        if char == "$":
            chain = self.variable_chain("a tag")
            return ast.TagName(self.span(start), (chain,))
        pattern = lexer.TAG_GLOB_SEGMENT if is_glob_allowed else lexer.TAG_SEGMENT
        segments: list[ast.NameRef] = []
        while True:
            at = self.position
            name = self.match(pattern)
            if name is not None:
                segments.append(ast.Name(Span(at, self.end), name))
            elif segments and self.text.startswith("$", at):
                segments.append(self.variable())
            elif self.peek() == "*":
                self.fail("'*' is allowed in the tag of a filter or pivot only")
            else:
                self.fail("expected a tag" if not segments else "expected the next part of the tag after '.'")
            if len(segments) > lexer.TREE_DEPTH_MAX:
                self.fail("the tag has too many parts", at=start)
            if not self.text.startswith(".", self.position):
                return ast.TagName(self.span(start), tuple(segments))
            self.take(1)
            self.peek()

    def tag_prop_name(self) -> ast.NameRef:
        """Parse the name of a tag property after its `:`."""
        start = self.position
        if self.text.startswith("$", start):
            return self.variable_chain("a tag property")
        name = self.match(lexer.TAG_PROP_NAME)
        if name is None:
            self.fail("expected the name of a tag property after ':'")
        return ast.Name(Span(start, self.end), name)

    def has_tag_prop(self) -> bool:
        """Take the `:` in front of a tag property if it is next."""
        if not self.looking_at(_TAG_PROP_AHEAD):
            return False
        self.take(1)
        return True

    def tag_value(self) -> ast.TagValue | ast.TagPropValue:
        """Parse `#tag` or `#tag:prop`."""
        start = self.position
        self.take(1)
        tag = self.tag_name()
        if not self.has_tag_prop():
            return ast.TagValue(self.span(start), tag)
        prop = self.tag_prop_name()
        return ast.TagPropValue(self.span(start), tag, prop)

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
                hint = f'write ("{only.value}") for a text or ({only.value},) for a list of one'
            self.fail("expected ',' after the first value of a list", hint=hint)
        while self.peek() == ",":
            self.take(1)
            char = self.peek()
            if char == ")":
                break
            item = self.marked_value(char)
            items.append(item if item is not None else self._item_word("a value of the list"))
        return tuple(items)

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

    def _group(self) -> ast.Expression:
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
            return self.members(self._group(), start)
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
                self.fail("expected ',' or ']' in the list", hint=self._operator_hint())
        self.take(1)
        self.close()
        return ast.ListLiteral(self.span(start), tuple(items))

    def _dict(self) -> ast.DictLiteral:
        start = self.position
        self.take(1)
        self.open()
        items: list[tuple[ast.Expression, ast.Expression]] = []
        while self.peek() != "}":
            key = self._element("a key of the dictionary")
            if isinstance(key, ast.Constant) and not isinstance(key.value, int):
                self.fail("expected a key of the dictionary", at=key.span.start)
            self.expect(":", "after a key of the dictionary")
            items.append((key, self._element("a value of the dictionary")))
            if self.peek() == ",":
                self.take(1)
            elif self.peek() != "}":
                self.fail("expected ',' or '}' in the dictionary", hint=self._operator_hint())
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

    def _operator_hint(self) -> str:
        self.peek()
        if _OPERATOR.match(self.text, self.position):
            return "put an expression with operators in parentheses of its own"
        return ""
