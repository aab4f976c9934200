"""Statements: loops, branches, functions and the rest of what starts with a keyword."""

from __future__ import annotations

import re

from cellmesh.cortex.storm.parser import ast, lexer
from cellmesh.cortex.storm.parser.parser_pivot import PivotParser
from cellmesh.cortex.storm.source import Source

_BLANK_OR_END = re.compile(r"[\s}]")
_BLANK = re.compile(r"\s")
_BLANK_OR_PARENTHESIS = re.compile(r"[\s(]")
_BLANK_OR_BRACE = re.compile(r"[\s{]")
_IN_WORD = re.compile(r"in(?!\w)")
_AS_WORD = re.compile(r"as(?!\w)")
_CATCH_WORD = re.compile(r"catch(?![\w.:])")
_ELIF_OR_ELSE = re.compile(r"(?:elif|else)(?![\w.:])")
_COLONS_CASE = re.compile(r"([\w.:\-]+)\s*:\s*\{")

_COMPLEMENTS = {
    "emit": "a value",
    "empty": "a query in braces",
    "fini": "a query in braces",
    "init": "a query in braces",
    "return": "a value in parentheses",
    "reverse": "a lift in parentheses",
    "yield": "a value",
}
_MISUSES = {
    word: f"'{word}' stands in the body of a loop, before a blank or '}}'" for word in ("break", "continue")
}


class StatementParser(PivotParser):
    """Parses statements, each with its keyword at the cursor."""

    __slots__ = ("has_emit", "has_return")

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.has_return = False
        self.has_emit = False

    def variable_list(self) -> tuple[str, ...]:
        """Parse variables in parentheses and return their names."""
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

    def _statement(self, word: str, following: re.Pattern[str] | None = None) -> int:
        start = self.position
        if following is not None and not following.match(self.text, start + len(word)):
            self.fail(
                _MISUSES.get(word, f"'{word}' needs {_COMPLEMENTS.get(word, 'a blank')} after it"), at=start
            )
        self.take(len(word))
        return start

    def parse_for(self) -> ast.For:
        """Parse `for $x in $items { }`."""
        start = self._statement("for")
        char = self.peek()
        if char == "(":
            names = self.variable_list()
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

    def parse_while(self) -> ast.While:
        """Parse `while (condition) { }`."""
        start = self._statement("while")
        condition = self.value("a condition")
        body = self.braces("the body of the loop")
        return ast.While(self.span(start), condition, body)

    def parse_if(self) -> ast.If:
        """Parse `if (condition) { } elif (condition) { } else { }`."""
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

    def parse_switch(self) -> ast.Switch:
        """Parse `switch $x { value: { } *: { } }`."""
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

    def parse_try(self) -> ast.Try:
        """Parse `try { } catch Name as error { }`."""
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

    def parse_init(self) -> ast.Init:
        """Parse `init { }`."""
        start = self._statement("init", _BLANK_OR_BRACE)
        body = self.braces("'init'")
        return ast.Init(self.span(start), body)

    def parse_empty(self) -> ast.Empty:
        """Parse `empty { }`."""
        start = self._statement("empty", _BLANK_OR_BRACE)
        body = self.braces("'empty'")
        return ast.Empty(self.span(start), body)

    def parse_fini(self) -> ast.Fini:
        """Parse `fini { }`."""
        start = self._statement("fini", _BLANK_OR_BRACE)
        body = self.braces("'fini'")
        return ast.Fini(self.span(start), body)

    def parse_break(self) -> ast.Break:
        """Parse `break`."""
        start = self._statement("break", _BLANK_OR_END)
        return ast.Break(self.span(start))

    def parse_continue(self) -> ast.Continue:
        """Parse `continue`."""
        start = self._statement("continue", _BLANK_OR_END)
        return ast.Continue(self.span(start))

    def parse_stop(self) -> ast.Stop:
        """Parse `stop`."""
        start = self._statement("stop")
        return ast.Stop(self.span(start))

    def parse_emit(self) -> ast.Emit:
        """Parse `emit value`."""
        start = self._statement("emit", _BLANK)
        value = self.value("a value to emit")
        self.has_emit = True
        return ast.Emit(self.span(start), value)

    def parse_return(self) -> ast.Return:
        """Parse `return(value)`."""
        start = self._statement("return", _BLANK_OR_PARENTHESIS)
        self.expect("(", "after 'return'")
        value = None if self.peek() == ")" else self.value("a value to return or ')'")
        self.expect(")", "after the value to return")
        self.has_return = True
        return ast.Return(self.span(start), value)

    def parse_yield(self) -> ast.Yield:
        """Parse `yield value`."""
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

    def parse_reverse(self) -> ast.Lift:
        """Parse `reverse(lift)`."""
        start = self._statement("reverse", _BLANK_OR_PARENTHESIS)
        self.expect("(", "after 'reverse'")
        self.open()
        lift = self.lift()
        self.expect(")", "after the lift to reverse")
        self.close()
        return ast.Lift(self.span(start), lift.target, lift.comparison, True)

    def parse_function(self) -> ast.Function:
        """Parse `function name(parameters) { }`."""
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
