"""Queries: what each operation is, the order they come in, and the words at the head of a lookup."""

from __future__ import annotations

import re
from collections.abc import Callable

from cellmesh.cortex.storm.parser import ast, lexer
from cellmesh.cortex.storm.parser.hints import near_keyword
from cellmesh.cortex.storm.parser.parser_statement import StatementParser
from cellmesh.cortex.storm.source import Span

_LETTERS = re.compile(r"[a-zA-Z]+")
_BLANK = re.compile(r"\s")
_EMBEDDED_START = "${"


class QueryParser(StatementParser):
    """Parses whole queries."""

    __slots__ = ()

    # Queries.

    def whole_text(self, mode: ast.ParseMode) -> ast.Query:
        """Parse the text from start to end."""
        operations: list[ast.Operation] = []
        if mode is not ast.ParseMode.STORM:
            operations.append(self._lookup(mode))
        self._operations(operations)
        if self.peek():
            self.fail("expected a lift, filter, pivot, edit, command or '|'", hint=self._statement_hint())
        return ast.Query(Span(0, len(self.text)), tuple(operations))

    def whole_value(self) -> ast.Expression:
        """Parse the text as one value, as it could stand after `$x=`."""
        value = self.value()
        if self.peek():
            self.fail("expected the end of the value")
        return value

    def whole_expression(self) -> ast.Expression:
        """Parse the text as one expression, as it could stand in `$( )`."""
        expression = self.expression()
        if self.peek():
            self.fail("expected an operator or the end of the expression")
        return expression

    def braces(self, what: str) -> ast.Query:
        """Parse a query in braces at the cursor; its span leaves the braces out."""
        if self.peek() != "{":
            self.fail(f"expected a query in braces for {what}")
        self.take(1)
        self.open()
        start = self.position
        operations: list[ast.Operation] = []
        self._operations(operations)
        if self.peek() != "}":
            self.fail("expected a lift, filter, pivot, edit, command or '}'", hint=self._statement_hint())
        end = self.end if operations else start
        self.take(1)
        self.close()
        first = operations[0].span.start if operations else start
        return ast.Query(Span(first, end), tuple(operations))

    def braces_apart(self, what: str) -> ast.Query:
        """Parse a query in braces at the cursor, whose `return` and `emit` are not those of the query around."""
        outside = self.has_return, self.has_emit
        query = self.braces(what)
        self.has_return, self.has_emit = outside
        return query

    def embedded_query(self) -> ast.EmbeddedQuery:
        """Parse `${ }` at the cursor."""
        start = self.position
        self.take(1)
        query = self.braces_apart("the embedded query")
        text = self.text[start + len(_EMBEDDED_START) : self.end - 1].strip()
        return ast.EmbeddedQuery(self.span(start), query, text)

    def _operations(self, operations: list[ast.Operation]) -> None:
        """Parse operations up to the end of the text or a closing brace; `|` may stand between any two."""
        before = len(operations)
        is_bar_allowed, is_bar_open = True, False
        while True:
            char = self.peek()
            if char == "|":
                if not is_bar_allowed:
                    self.fail("expected a lift, filter, pivot, edit or command after '|'")
                self.take(1)
                is_bar_allowed, is_bar_open = False, len(operations) > before
                continue
            if char in ("", "}"):
                if is_bar_open or (char and not is_bar_allowed):
                    self.fail("expected a lift, filter, pivot, edit or command after '|'")
                return
            operation = self._operation(char)
            if operation is None:
                return
            operations.append(operation)
            is_bar_allowed, is_bar_open = True, False

    def _operation(self, char: str) -> ast.Operation | None:
        if "a" <= char <= "z" or char == "_":
            return self._worded()
        parse = _BY_CHARACTER.get(char)
        return parse(self) if parse is not None else None

    def _worded(self) -> ast.Operation | None:
        """Parse what starts with a letter: a statement, a lift by name, or a command."""
        word = lexer.KEYWORD.match(self.text, self.position)
        if word is not None:
            parse = _STATEMENTS.get(word.group())
            if parse is not None:
                return parse(self)
            if word.group() in _RESERVED:
                return None
        if self.looking_at(lexer.PROP_NAME) or self.looking_at(lexer.FORM_GLOB):
            return self.lift()
        if self.looking_at(lexer.COMMAND_NAME):
            return self.command()
        return None

    def _statement_hint(self) -> str:
        word = _LETTERS.match(self.text, self.position)
        return near_keyword(word.group()) if word is not None else ""

    # Operations told by their first character.

    def _plus_operation(self) -> ast.Operation:
        return self.filter()

    def _minus_operation(self) -> ast.Operation:
        return self.pivot() or self.filter()

    def _subquery(self) -> ast.Subquery:
        start = self.position
        query = self.braces("a subquery")
        return ast.Subquery(self.span(start), query)

    def _star(self) -> ast.Operation | None:
        return self.lift() if self.text.startswith("*$", self.position) else None

    def _variable_operation(self) -> ast.Operation:
        """Parse `$x=…`, `$x.y=…` or an expression for its effect."""
        start = self.position
        target = self.members(self.variable(), start)
        if self.peek() != "=" or isinstance(target, ast.Call):
            return ast.Evaluate(target.span, target)
        self.take(1)
        value = self.value("a value to assign")
        if isinstance(target, ast.Variable):
            return ast.SetVariable(self.span(start), target.name, value)
        assert isinstance(target, ast.Attribute)  # members gives a variable, attribute or call for a variable
        return ast.SetItem(self.span(start), target.base, target.key, value)

    def _unpack(self) -> ast.UnpackVariables:
        start = self.position
        names = self.variable_list()
        self.expect("=", "after the variables to set")
        value = self.value("a value to unpack")
        return ast.UnpackVariables(self.span(start), names, value)

    # Lookup.

    def _lookup(self, mode: ast.ParseMode) -> ast.Lookup:
        words: list[ast.Literal] = []
        while True:
            char = self.peek()
            start = self.position
            if char in ("", "|"):
                return ast.Lookup(self.span(0), mode, tuple(words))
            # A quote without its partner is part of a word: people paste all kinds of text here.
            if self.looking_at(lexer.QUOTED):
                text = self.string()
                words.append(ast.Literal(self.span(start), text))
                continue
            word = self.match(lexer.LOOKUP_WORD)
            assert word is not None  # every character but a blank and '|' starts a word
            words.append(ast.Literal(self.span(start), word, True))


_RESERVED = frozenset(("and", "as", "catch", "elif", "else", "not", "or"))

_STATEMENTS: dict[str, Callable[[QueryParser], ast.Operation]] = {
    "break": QueryParser.parse_break,
    "continue": QueryParser.parse_continue,
    "emit": QueryParser.parse_emit,
    "empty": QueryParser.parse_empty,
    "fini": QueryParser.parse_fini,
    "for": QueryParser.parse_for,
    "function": QueryParser.parse_function,
    "if": QueryParser.parse_if,
    "init": QueryParser.parse_init,
    "return": QueryParser.parse_return,
    "reverse": QueryParser.parse_reverse,
    "stop": QueryParser.parse_stop,
    "switch": QueryParser.parse_switch,
    "try": QueryParser.parse_try,
    "while": QueryParser.parse_while,
    "yield": QueryParser.parse_yield,
}

_BY_CHARACTER: dict[str, Callable[[QueryParser], ast.Operation | None]] = {
    "[": QueryParser.edit_block,
    "{": QueryParser._subquery,
    "+": QueryParser._plus_operation,
    "-": QueryParser._minus_operation,
    "<": QueryParser.pivot,
    "$": QueryParser._variable_operation,
    "(": QueryParser._unpack,
    ":": QueryParser.relative_pivot,
    ".": QueryParser.lift,
    "#": QueryParser.lift,
    "*": QueryParser._star,
}
