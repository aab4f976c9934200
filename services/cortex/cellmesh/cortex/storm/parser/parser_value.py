"""Values by their first character: variables with members and calls, quoted text, properties, tags."""

from __future__ import annotations

import re
from abc import abstractmethod

from cellmesh.cortex.storm.parser import ast, lexer
from cellmesh.cortex.storm.parser.lexer import Scanner
from cellmesh.cortex.storm.source import Span

_OPERATOR_AHEAD = re.compile(r"[=<>+\-*/%^~!]|(?:and|or)(?!\w)")
_TAG_PROP_AHEAD = re.compile(r":[a-z_$]")


class ValueParser(Scanner):
    """Parses values by their first character. What nests further values is left to the subclasses."""

    __slots__ = ()

    @abstractmethod
    def braces(self, what: str) -> ast.Query:
        """Parse a query in braces at the cursor."""

    @abstractmethod
    def braces_apart(self, what: str) -> ast.Query:
        """Parse a query in braces at the cursor, whose `return` and `emit` are not those of the query around."""

    @abstractmethod
    def parentheses(self) -> ast.Expression:
        """Parse `( )` where a value stands: a list of values or an expression."""

    @abstractmethod
    def group(self) -> ast.Expression:
        """Parse `( )` that can only hold an expression, without members after it."""

    @abstractmethod
    def format_string(self) -> ast.FormatString:
        """Parse a string in backticks."""

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
            return self.members(self.group(), start)
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
                return self.group()
            return self.variable()
        if char == "(":
            return self.group()
        if char in ("'", '"'):
            text = self.string("name")
            return ast.Literal(self.span(start), text)
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
                self.fail("expected ',' or ')' after an argument", hint=self.operator_hint())
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
            self.fail("expected the name of a universal property after '.'", at=start + 1)
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

    # Hints.

    def operator_hint(self) -> str:
        """Return a hint for an operator where a single value is expected, or ""."""
        self.peek()
        if _OPERATOR_AHEAD.match(self.text, self.position):
            return "put an expression with operators in parentheses of its own"
        return ""
