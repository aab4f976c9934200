"""Queries: the statements, their order, and the words at the head of a lookup."""

from __future__ import annotations

import re
from collections.abc import Callable

from cellmesh.cortex.storm.parser import ast, lexer
from cellmesh.cortex.storm.parser.parser_pivot import PivotParser
from cellmesh.cortex.storm.source import Source, Span

_BLANK_OR_END = re.compile(r"[\s}]")
_BLANK = re.compile(r"\s")
_BLANK_OR_BRACE = re.compile(r"[\s{]")
_EMBEDDED_START = "${"
_QUOTED_WORD = re.compile(r'"[^"]*"(?=[\s|]|$)|\'[^\']*\'(?=[\s|]|$)')
_WORD_BEFORE_COMMENT = re.compile(r"//|/\*")


class QueryParser(PivotParser):
    """Parses whole queries."""

    __slots__ = ("has_emit", "has_return")

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.has_return = False
        self.has_emit = False

    # Queries.

    def whole_text(self, mode: ast.ParseMode) -> ast.Query:
        """Parse the text from start to end."""
        operations: list[ast.Operation] = []
        if mode is not ast.ParseMode.STORM:
            operations.append(self._lookup(mode))
        self._operations(operations, is_bar_allowed=True)
        if self.peek():
            self.fail("expected a lift, filter, pivot, edit, command or '|'")
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
        self._operations(operations, is_bar_allowed=True)
        if self.peek() != "}":
            self.fail("expected a lift, filter, pivot, edit, command or '}'")
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

    def _operations(self, operations: list[ast.Operation], *, is_bar_allowed: bool) -> None:
        """Parse operations up to the end of the text or a closing brace; `|` may stand between any two."""
        is_bar_open = False
        while True:
            char = self.peek()
            if char == "|":
                if not is_bar_allowed:
                    self.fail("expected a lift, filter, pivot, edit or command after '|'")
                self.take(1)
                is_bar_allowed, is_bar_open = False, bool(operations)
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
        names = self._variable_list()
        self.expect("=", "after the variables to set")
        value = self.value("a value to unpack")
        return ast.UnpackVariables(self.span(start), names, value)

    def _variable_list(self) -> tuple[str, ...]:
        self.take(1)
        names: list[str] = []
        while self.peek() != ")":
            if self.peek() != "$":
                self.fail("expected a variable or ')'")
            names.append(self.variable().name)
            if self.peek() == ",":
                self.take(1)
            elif self.peek() != ")":
                self.fail("expected ',' or ')' after a variable")
        self.take(1)
        return tuple(names)

    # Statements. Each is called with its keyword at the cursor.

    def _statement(self, word: str, following: re.Pattern[str] | None = None) -> int:
        start = self.position
        if following is not None and not following.match(self.text, start + len(word)):
            self.last, self.end = start, start + len(word)
            self.fail(f"'{word}' must be followed by a blank", at=start)
        self.take(len(word))
        return start

    def _for(self) -> ast.For:
        start = self._statement("for")
        char = self.peek()
        if char == "(":
            names = self._variable_list()
        elif char == "$":
            names = (self.variable().name,)
        else:
            self.fail("expected a variable, or variables in parentheses, after 'for'")
        self.peek()
        if not self.match(_IN_WORD):
            self.fail("expected 'in' after the variable of the loop")
        items = self.value("what to go through")
        body = self.braces("the body of the loop")
        return ast.For(self.span(start), names, char == "(", items, body)

    def _while(self) -> ast.While:
        start = self._statement("while")
        condition = self.value("a condition")
        body = self.braces("the body of the loop")
        return ast.While(self.span(start), condition, body)

    def _if(self) -> ast.If:
        start = self._statement("if")
        branches = [self._branch(start)]
        while self.peek() == "e":
            at = self.position
            word = self.match(_ELIF_OR_ELSE)
            if word == "elif":
                branches.append(self._branch(at))
                continue
            if word == "else":
                otherwise = self.braces("the 'else' branch")
                return ast.If(self.span(start), tuple(branches), otherwise)
            break
        return ast.If(self.span(start), tuple(branches), None)

    def _branch(self, start: int) -> ast.Branch:
        condition = self.value("a condition")
        body = self.braces("the branch")
        return ast.Branch(self.span(start), condition, body)

    def _switch(self) -> ast.Switch:
        start = self._statement("switch")
        subject = self.variable_chain("a variable to switch on")
        self.expect("{", "before the cases")
        self.open()
        cases: list[ast.Case] = []
        while self.peek() != "}":
            cases.append(self._case())
        self.take(1)
        self.close()
        if sum(not case.values for case in cases) > 1:
            self.fail("a switch has one default case '*' only", at=start)
        return ast.Switch(self.span(start), subject, tuple(cases))

    def _case(self) -> ast.Case:
        char = self.peek()
        start = self.position
        values: tuple[ast.Literal, ...]
        if char == "*":
            self.take(1)
            values = ()
        elif char == "(":
            values = self._case_list()
        else:
            values = (self._case_value(lexer.CASE_WORD),)
        self.expect(":", "after the value of the case")
        body = self.braces("the case")
        return ast.Case(self.span(start), values, body)

    def _case_list(self) -> tuple[ast.Literal, ...]:
        self.take(1)
        values = [self._case_value(lexer.CASE_ITEM)]
        while True:
            char = self.peek()
            if char == ")" and len(values) > 1:
                self.take(1)
                return tuple(values)
            if char != ",":
                self.fail("expected ',' and a further value of the case")
            self.take(1)
            values.append(self._case_value(lexer.CASE_ITEM))

    def _case_value(self, pattern: re.Pattern[str]) -> ast.Literal:
        char = self.peek()
        start = self.position
        if char in ("'", '"'):
            text = self.string()
            return ast.Literal(self.span(start), text)
        word = self.match(pattern)
        if word is None:
            self.fail("expected a case 'value: { }', '*: { }' or '}'", hint=self._case_hint())
        return ast.Literal(self.span(start), word, True)

    def _case_hint(self) -> str:
        found = _COLONS_CASE.match(self.text, self.position)
        return f"a case with ':' in it needs quotes: \"{found.group(1)}\"" if found else ""

    def _try(self) -> ast.Try:
        start = self._statement("try")
        body = self.braces("'try'")
        catches: list[ast.Catch] = []
        while self.peek() == "c":
            at = self.position
            if not self.match(_CATCH_WORD):
                break
            catches.append(self._catch(at))
        return ast.Try(self.span(start), body, tuple(catches))

    def _catch(self, start: int) -> ast.Catch:
        value = self.value("the names of errors to catch, or '*'")
        is_any = isinstance(value, ast.Literal) and value.is_bare and value.value == "*"
        self.peek()
        if not self.match(_AS_WORD):
            self.fail("expected 'as' and a variable name after the errors to catch")
        variable = self.variable_name("the name of the variable for the error")
        body = self.braces("'catch'")
        return ast.Catch(self.span(start), None if is_any else value, variable, body)

    def _init(self) -> ast.Init:
        start = self._statement("init")
        body = self.braces("'init'")
        return ast.Init(self.span(start), body)

    def _empty(self) -> ast.Empty:
        start = self._statement("empty")
        body = self.braces("'empty'")
        return ast.Empty(self.span(start), body)

    def _fini(self) -> ast.Fini:
        start = self._statement("fini")
        body = self.braces("'fini'")
        return ast.Fini(self.span(start), body)

    def _break(self) -> ast.Break:
        start = self._statement("break", _BLANK_OR_END)
        return ast.Break(self.span(start))

    def _continue(self) -> ast.Continue:
        start = self._statement("continue", _BLANK_OR_END)
        return ast.Continue(self.span(start))

    def _stop(self) -> ast.Stop:
        start = self._statement("stop")
        return ast.Stop(self.span(start))

    def _emit(self) -> ast.Emit:
        start = self._statement("emit", _BLANK)
        value = self.value("a value to emit")
        self.has_emit = True
        return ast.Emit(self.span(start), value)

    def _return(self) -> ast.Return:
        start = self._statement("return")
        self.expect("(", "after 'return'")
        value = None if self.peek() == ")" else self.value("a value to return or ')'")
        self.expect(")", "after the value to return")
        self.has_return = True
        return ast.Return(self.span(start), value)

    def _yield(self) -> ast.Yield:
        start = self._statement("yield", _BLANK_OR_BRACE)
        char = self.peek()
        if char == "{":
            at = self.position
            query = self.braces("'yield'")
            return ast.Yield(self.span(start), ast.SubqueryValue(self.span(at), query))
        value = self.marked_value(char)
        if value is None:
            self.fail("expected a variable, a query or quoted text to yield")
        return ast.Yield(self.span(start), value)

    def _reverse(self) -> ast.Lift:
        start = self._statement("reverse")
        self.expect("(", "after 'reverse'")
        self.open()
        lift = self.lift()
        self.expect(")", "after the lift to reverse")
        self.close()
        return ast.Lift(self.span(start), lift.target, lift.comparison, True)

    def _function(self) -> ast.Function:
        start = self._statement("function")
        name = self.variable_name("a function name")
        parameters = self._parameters(name)
        outside = self.has_return, self.has_emit
        self.has_return = self.has_emit = False
        body = self.braces("the body of the function")
        effects = ast.BodyEffects(self.has_return, self.has_emit)
        self.has_return, self.has_emit = outside
        return ast.Function(self.span(start), name, parameters, body, effects)

    def _parameters(self, function: str) -> tuple[ast.Parameter, ...]:
        self.expect("(", f"after the function name '{function}'")
        opening = self.last
        parameters: list[ast.Parameter] = []
        while self.peek() != ")" or parameters:
            self.peek()
            at = self.position
            name = self.variable_name("a parameter name")
            if any(parameter.name == name for parameter in parameters):
                self.fail(f"the parameter '{name}' is given twice", at=at)
            default = None
            if self.text.startswith("=", self.position):
                self.take(1)
                default = self.value(f"a default for the parameter '{name}'")
            elif parameters and parameters[-1].default is not None:
                self.fail(f"the parameter '{name}' without a default follows one with a default", at=opening)
            parameters.append(ast.Parameter(self.span(at), name, default))
            if self.peek() == ",":
                self.take(1)
            elif self.peek() == ")":
                break
            else:
                self.fail("expected ',' or ')' after a parameter")
        self.take(1)
        return tuple(parameters)

    # Lookup.

    def _lookup(self, mode: ast.ParseMode) -> ast.Lookup:
        words: list[ast.Literal] = []
        while True:
            char = self.peek()
            start = self.position
            if char in ("", "|"):
                return ast.Lookup(self.span(0), mode, tuple(words))
            quoted = self.match(_QUOTED_WORD)
            if quoted is not None:
                words.append(ast.Literal(self.span(start), quoted[1:-1]))
                continue
            word = self.match(lexer.LOOKUP_WORD)
            assert word is not None  # every character but a blank and '|' starts a word
            words.append(ast.Literal(self.span(start), word, True))


_IN_WORD = re.compile(r"in(?!\w)")
_AS_WORD = re.compile(r"as(?!\w)")
_CATCH_WORD = re.compile(r"catch(?![\w.:])")
_ELIF_OR_ELSE = re.compile(r"(?:elif|else)(?![\w.:])")
_COLONS_CASE = re.compile(r"([\w.:\-]+)\s*:\s*\{")

_RESERVED = frozenset(("and", "as", "catch", "elif", "else", "not", "or"))

_STATEMENTS: dict[str, Callable[[QueryParser], ast.Operation]] = {
    "break": QueryParser._break,
    "continue": QueryParser._continue,
    "emit": QueryParser._emit,
    "empty": QueryParser._empty,
    "fini": QueryParser._fini,
    "for": QueryParser._for,
    "function": QueryParser._function,
    "if": QueryParser._if,
    "init": QueryParser._init,
    "return": QueryParser._return,
    "reverse": QueryParser._reverse,
    "stop": QueryParser._stop,
    "switch": QueryParser._switch,
    "try": QueryParser._try,
    "while": QueryParser._while,
    "yield": QueryParser._yield,
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
