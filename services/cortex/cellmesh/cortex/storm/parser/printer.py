"""Syntax tree back to text.

`print_query` gives one line that parses to an equal tree. It is not the text the tree came from: blanks, comments,
needless parentheses and the choice of quotes are gone.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import assert_never

from cellmesh.cortex.storm.parser import ast, lexer
from cellmesh.cortex.storm.parser.hints import KEYWORDS
from cellmesh.cortex.storm.parser.strength import NEGATE, NOT, binary_strength, strength_of

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_ESCAPED = re.compile(r'[\\"\n\t\r]')
_FORMAT_ESCAPED = re.compile(r"[\\`{]")
_OPTION = re.compile(r"-[\w\-]+")
_ENDS_ARGUMENTS = re.compile(rf"(?:{'|'.join(KEYWORDS)})(?!\w)|[<\-]")
_NEGATABLE = ("$", "(", ":", "#", ".")
_JOINS_OPERATOR = tuple("!<>=@^~?*-+")
_BARE_PLACES = {"value": lexer.VALUE_WORD, "item": lexer.ITEM_WORD, "argument": lexer.ARGUMENT_WORD}


_SimpleStatement = (
    ast.SetVariable
    | ast.SetItem
    | ast.UnpackVariables
    | ast.Evaluate
    | ast.Emit
    | ast.Yield
    | ast.Return
    | ast.Break
    | ast.Continue
    | ast.Stop
)

_BlockStatement = (
    ast.For | ast.While | ast.If | ast.Switch | ast.Try | ast.Init | ast.Empty | ast.Fini | ast.Function
)


def print_query(query: ast.Query) -> str:
    """Return text that parses, in the same mode, to a tree equal to this one."""
    return Printer().query(query)


def print_expression(node: ast.Expression) -> str:
    """Return text that stands for a node inside `$( )`."""
    return Printer().expression(node)


class Printer:
    """Prints nodes. A subclass may print some of them in a way of its own: all go through the methods."""

    __slots__ = ()

    def query(self, query: ast.Query) -> str:
        """Return text that parses, in the same mode, to a tree equal to this one."""
        parts: list[str] = []
        for index, operation in enumerate(query.operations):
            is_last = index == len(query.operations) - 1
            parts.append(self.operation(operation))
            if isinstance(operation, ast.Command | ast.Lookup) and not is_last:
                parts.append("|")
        return " ".join(part for part in parts if part)

    def braces(self, query: ast.Query) -> str:
        """Print a query in braces."""
        inner = self.query(query)
        return f"{{ {inner} }}" if inner else "{ }"

    # Names -----------------------------------------------------------------------------------------------

    def name(self, name: ast.NameRef) -> str:
        return name.text if isinstance(name, ast.Name) else self.expression(name)

    def form(self, name: ast.NameRef) -> str:
        return name.text if isinstance(name, ast.Name) else "*" + self.expression(name)

    def relative(self, prop: ast.RelativeProp) -> str:
        text = "::".join(self.name(step) for step in prop.steps)
        if prop.is_universal:
            return text if isinstance(prop.steps[0], ast.Name) else "." + text
        return ":" + text

    def tag(self, tag: ast.TagName) -> str:
        return ".".join(self.name(segment) for segment in tag.segments)

    # Values and expressions ------------------------------------------------------------------------------

    def value(self, node: ast.Expression, place: str = "value") -> str:
        """Print where a value stands, so that what is no plain value gets parentheses."""
        match node:
            case ast.Literal(value=text, is_bare=is_bare):
                return self.literal(node, _word(text, _BARE_PLACES[place]) if is_bare else _quoted(text))
            case ast.TupleLiteral(items=items):
                return _tuple([self.value(item, "item") for item in items])
            case ast.SubqueryValue(query=query):
                return self.braces(query)
            case (
                ast.Constant()
                | ast.ListLiteral()
                | ast.DictLiteral()
                | ast.UnaryOperation()
                | ast.BinaryOperation()
            ):
                return f"({self.expression(node)})"
            case _:
                return self.expression(node)

    def expression(self, node: ast.Expression) -> str:
        """Return text that stands for a node inside `$( )`."""
        match node:
            case ast.Literal(value=text):
                return self.literal(node, _quoted(text))
            case ast.Constant(value=value):
                return self.literal(node, _constant(value))
            case ast.Variable(name=name):
                return _variable(name)
            case ast.Attribute() | ast.Call():
                return self.members(node)
            case ast.BinaryOperation():
                return self.binary(node)
            case ast.UnaryOperation(operator=operator, operand=operand):
                return self.unary(operator, operand)
            case ast.ListLiteral(items=items):
                return f"[{', '.join(self.element(item) for item in items)}]"
            case ast.DictLiteral(items=pairs):
                return (
                    "{" + ", ".join(f"{self.key(key)}: {self.element(value)}" for key, value in pairs) + "}"
                )
            case ast.FormatString(parts=parts):
                return self.literal(node, self.format(parts))
            case ast.PropValue(prop=prop):
                return self.relative(prop)
            case ast.TagValue(tag=tag):
                return "#" + self.tag(tag)
            case ast.TagPropValue(tag=tag, prop=prop_name):
                return f"#{self.tag(tag)}:{self.name(prop_name)}"
            case ast.EmbeddedQuery(query=query):
                return "$" + self.braces(query)
            case ast.TupleLiteral() | ast.SubqueryValue():
                return self.value(node)
            case _:
                assert_never(node)

    def literal(self, node: ast.Literal | ast.Constant | ast.FormatString, text: str) -> str:
        """Print text or a constant, for which `text` stands."""
        return text

    def members(self, node: ast.Attribute | ast.Call) -> str:
        parts: list[str] = []
        current: ast.Expression = node
        while True:
            match current:
                case ast.Attribute(base=base, key=key):
                    parts.append("." + self.member_key(key))
                    current = base
                case ast.Call(function=function, arguments=arguments, keywords=keywords):
                    inner = [self.value(argument) for argument in arguments]
                    inner += [
                        f"{_word(word.name, lexer.VALUE_WORD)}={self.value(word.value)}" for word in keywords
                    ]
                    parts.append(f"({', '.join(inner)})")
                    current = function
                case ast.Variable(name=name):
                    parts.append(_variable(name))
                    break
                case _:
                    parts.append(f"({self.expression(current)})")
                    break
        return "".join(reversed(parts))

    def member_key(self, key: ast.Expression) -> str:
        match key:
            case ast.Literal(value=text, is_bare=True):
                return _name_or_quoted(text)
            case ast.Literal() | ast.Variable() | ast.FormatString():
                return self.expression(key)
            case _:
                return f"({self.expression(key)})"

    def binary(self, node: ast.BinaryOperation) -> str:
        parts: list[str] = []
        current = node
        while True:
            strength = binary_strength(current.operator)
            parts.append(self.operand(current.right, strength + 1))
            parts.append(current.operator.value)
            left = current.left
            if isinstance(left, ast.BinaryOperation) and binary_strength(left.operator) >= strength:
                current = left
                continue
            parts.append(self.operand(left, strength))
            return " ".join(reversed(parts))

    def operand(self, node: ast.Expression, strength: int) -> str:
        text = self.expression(node)
        return text if strength_of(node) >= strength else f"({text})"

    def unary(self, operator: ast.UnaryOperator, operand: ast.Expression) -> str:
        if operator is ast.UnaryOperator.NOT:
            return "not " + self.operand(operand, NOT + 1)
        text = self.operand(operand, NEGATE + 1)
        is_plain = text.startswith(_NEGATABLE) and not isinstance(operand, ast.Constant)
        return "-" + (text if is_plain else f"({text})")

    def element(self, node: ast.Expression) -> str:
        match node:
            case ast.Constant(value=value) if isinstance(value, Decimal) or (
                isinstance(value, int) and not isinstance(value, bool) and value < 0
            ):
                return f"({self.literal(node, _constant(value))})"
            case ast.UnaryOperation() | ast.BinaryOperation():
                return f"({self.expression(node)})"
            case _:
                return self.expression(node)

    def key(self, node: ast.Expression) -> str:
        if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool)):
            return f"({self.literal(node, _constant(node.value))})"
        return self.element(node)

    def format(self, parts: tuple[ast.Expression, ...]) -> str:
        printed: list[str] = []
        is_after_text = False
        for part in parts:
            if isinstance(part, ast.Literal) and part.value and not is_after_text:
                printed.append(_FORMAT_ESCAPED.sub(lambda found: "\\" + found.group(), part.value))
                is_after_text = True
            else:
                printed.append("{" + self.expression(part) + "}")
                is_after_text = False
        return f"`{''.join(printed)}`"

    # Comparisons and conditions --------------------------------------------------------------------------

    def assigned(self, operator: str, node: ast.Expression) -> str:
        value = self.value(node)
        # A blank keeps the first character of a word from joining the operator.
        return f"{operator} {value}" if value.startswith(_JOINS_OPERATOR) else operator + value

    def comparison(self, node: ast.Comparison | None) -> str:
        if node is None:
            return ""
        operator = node.operator
        if node.is_any_element:
            return f"*[{self.assigned(operator, node.value)}]"
        if operator[0].isalnum() or operator[0] == "_":
            operator = "*" + operator
        return self.assigned(operator, node.value)

    def condition(self, node: ast.Condition) -> str:
        match node:
            case ast.PropCondition(name=name, comparison=comparison):
                return self.name(name) + self.comparison(comparison)
            case ast.RelativePropCondition(prop=prop, comparison=comparison):
                return self.relative(prop) + self.comparison(comparison)
            case ast.TagCondition(tag=tag, comparison=comparison):
                return "#" + self.tag(tag) + self.comparison(comparison)
            case ast.TagPropCondition(tag=tag, prop=tag_prop, comparison=comparison):
                return f"#{self.tag(tag)}:{self.name(tag_prop)}{self.comparison(comparison)}"
            case ast.SubqueryCondition(query=query, comparison=comparison):
                return self.braces(query) + self.comparison(comparison)
            case ast.ExpressionCondition(expression=expression):
                text = self.expression(expression)
                return text if text[0] == "$" and strength_of(expression) > NEGATE + 1 else f"$({text})"
            case ast.NotCondition(condition=condition):
                return "not " + self.condition(condition)
            case ast.AndCondition() | ast.OrCondition():
                return f"({self.joined(node)})"
            case _:
                assert_never(node)

    def joined(self, node: ast.AndCondition | ast.OrCondition) -> str:
        parts: list[str] = []
        current: ast.Condition = node
        while isinstance(current, ast.AndCondition | ast.OrCondition):
            parts.append(self.condition(current.right))
            parts.append("and" if isinstance(current, ast.AndCondition) else "or")
            current = current.left
        parts.append(self.condition(current))
        return " ".join(reversed(parts))

    # Lifts and pivots ------------------------------------------------------------------------------------

    def lift(self, node: ast.Lift) -> str:
        text = self.lift_target(node.target) + self.comparison(node.comparison)
        return f"reverse({text})" if node.is_reverse else text

    def lift_target(self, target: ast.LiftTarget) -> str:
        match target:
            case ast.PropTarget(name=name, path=path):
                return "::".join([self.form(name), *(step.text for step in path)])
            case ast.TagTarget(form=form, tag=tag):
                return ("" if form is None else self.form(form)) + "#" + self.tag(tag)
            case ast.TagPropTarget(form=form, tag=tag, prop=prop):
                return ("" if form is None else self.form(form)) + f"#{self.tag(tag)}:{self.name(prop)}"
            case ast.MetaTagTarget(tag=tag):
                return "##" + self.tag(tag)
            case _:
                assert_never(target)

    def pivot(self, node: ast.Pivot) -> str:
        is_out = node.direction is ast.Direction.OUT
        plus = "+" if node.is_join else ""
        match node.route:
            case ast.ViaProps(source=source):
                prefix = "" if source is None else self.relative(source) + " "
                arrow = prefix + (f"-{plus}>" if is_out else f"<{plus}-")
            case ast.ViaAll():
                arrow = f"--{plus}>" if is_out else f"<{plus}--"
            case ast.ViaEdges(verbs=verbs):
                arrow = f"-({self.value(verbs)}){plus}>" if is_out else f"<{plus}({self.value(verbs)})-"
            case _:
                assert_never(node.route)
        return f"{arrow} {self.pivot_target(node.target)}{self.comparison(node.comparison)}"

    def pivot_target(self, target: ast.PivotTarget) -> str:
        match target:
            case ast.AnyNode():
                return "*"
            case ast.NamedTargets(names=names, is_list=is_list):
                if not is_list:
                    return self.name(names[0])
                return _tuple([self.listed_name(name) for name in names])
            case ast.NodeTags(tag=tag):
                return "#" if tag is None else "#" + self.tag(tag)
            case ast.RawQuery(query=query):
                return self.braces(query)
            case _:
                assert_never(target)

    def listed_name(self, name: ast.NameRef) -> str:
        return _word(name.text, lexer.ITEM_WORD) if isinstance(name, ast.Name) else self.expression(name)

    # Edits -----------------------------------------------------------------------------------------------

    def edit(self, node: ast.Edit) -> str:
        """Print an edit of an edit block."""
        match node:
            case ast.AddNode(form=form, value=value, is_try=is_try):
                return self.form(form) + self.assigned("?=" if is_try else "=", value)
            case ast.SetProp(prop=prop, operator=operator, value=value, is_try=is_try, when=when):
                condition = "" if when is None else "*" + self.name(when)
                return self.relative(prop) + condition + self.assigned(_set(operator, is_try=is_try), value)
            case ast.DeleteProp(prop=prop):
                return "-" + self.relative(prop)
            case ast.AddTag(tag=tag, value=interval, is_try_tag=is_try_tag, is_try_value=is_try_value):
                text = ("+?#" if is_try_tag else "+#") + self.tag(tag)
                return (
                    text
                    if interval is None
                    else text + self.assigned("?=" if is_try_value else "=", interval)
                )
            case ast.DeleteTag(tag=tag):
                return "-#" + self.tag(tag)
            case ast.SetTagProp(tag=tag, prop=tag_prop, operator=operator, value=value, is_try=is_try):
                return f"+#{self.tag(tag)}:{self.name(tag_prop)}" + self.assigned(
                    _set(operator, is_try=is_try), value
                )
            case ast.DeleteTagProp(tag=tag, prop=tag_prop):
                return f"-#{self.tag(tag)}:{self.name(tag_prop)}"
            case ast.AddEdge(verb=verb, direction=direction, target=target):
                return self.edge(verb, direction, target, "+")
            case ast.DeleteEdge(verb=verb, direction=direction, target=target):
                return self.edge(verb, direction, target, "-")
            case ast.EditGroup(node=first, edits=edits):
                return "( " + " ".join([self.edit(first), *map(self.edit, edits)]) + " )"
            case _:
                assert_never(node)

    def edge(self, verb: ast.Expression, direction: ast.Direction, target: ast.Expression, sign: str) -> str:
        arrow = (
            f"{sign}({self.value(verb)})>"
            if direction is ast.Direction.OUT
            else f"<({self.value(verb)}){sign}"
        )
        return f"{arrow} {self.value(target)}"

    # Operations ------------------------------------------------------------------------------------------

    def operation(self, node: ast.Operation) -> str:
        """Print an operation."""
        match node:
            case ast.Lift():
                return self.lift(node)
            case ast.Lookup(words=words):
                return " ".join(self.lookup_word(word) for word in words)
            case ast.Filter(is_keep=is_keep, condition=condition):
                return ("+" if is_keep else "-") + self.condition(condition)
            case ast.Pivot():
                return self.pivot(node)
            case ast.EditBlock(edits=edits):
                return " ".join(["[", *map(self.edit, edits), "]"])
            case ast.Subquery(query=query):
                return self.braces(query)
            case ast.Command(name=name, arguments=arguments):
                return name.text + self.arguments(arguments)
            case (
                ast.SetVariable() | ast.SetItem() | ast.UnpackVariables() | ast.Evaluate() | ast.Emit()
                | ast.Yield() | ast.Return() | ast.Break() | ast.Continue() | ast.Stop()
            ):  # fmt: skip
                return self.simple_statement(node)
            case _:
                return self.block_statement(node)

    def lookup_word(self, word: ast.Literal) -> str:
        return word.value if word.is_bare else _quoted(word.value)

    def arguments(self, nodes: tuple[ast.Expression, ...]) -> str:
        parts: list[str] = []
        is_after_option = False
        for node in nodes:
            text = self.argument(node)
            is_bare = isinstance(node, ast.Literal) and node.is_bare
            # Only as the value in `--name=value` can such a word be an argument.
            is_joined = is_after_option and is_bare and _ENDS_ARGUMENTS.match(text) is not None
            parts.append(("=" if is_joined else " ") + text)
            is_after_option = is_bare and not is_joined and _OPTION.fullmatch(text) is not None
        return "".join(parts)

    def argument(self, node: ast.Expression) -> str:
        if isinstance(node, ast.EmbeddedQuery):
            return self.braces(node.query)
        return self.value(node, "argument")

    def simple_statement(self, node: _SimpleStatement) -> str:
        match node:
            case ast.SetVariable(name=name, value=value):
                return _variable(name) + self.assigned("=", value)
            case ast.SetItem(base=base, key=key, value=value):
                return self.members(ast.Attribute(node.span, base, key)) + self.assigned("=", value)
            case ast.UnpackVariables(names=names, value=value):
                return _variables(names) + self.assigned("=", value)
            case ast.Evaluate(expression=expression):
                return self.expression(expression)
            case ast.Emit(value=value):
                return "emit " + self.value(value)
            case ast.Yield(value=value):
                return "yield " + self.value(value)
            case ast.Return(value=returned):
                return "return()" if returned is None else f"return({self.value(returned)})"
            case ast.Break():
                return "break"
            case ast.Continue():
                return "continue"
            case ast.Stop():
                return "stop"
            case _:
                assert_never(node)

    def block_statement(self, node: _BlockStatement) -> str:
        match node:
            case ast.For(names=names, is_unpacking=is_unpacking, items=items, body=body):
                variables = _variables(names) if is_unpacking else _variable(names[0])
                return f"for {variables} in {self.value(items)} {self.braces(body)}"
            case ast.While(condition=condition, body=body):
                return f"while {self.value(condition)} {self.braces(body)}"
            case ast.If(branches=branches, otherwise=otherwise):
                parts = [
                    f"if {self.value(branch.condition)} {self.braces(branch.body)}" for branch in branches
                ]
                text = " el".join(parts)
                return text if otherwise is None else f"{text} else {self.braces(otherwise)}"
            case ast.Switch(subject=subject, cases=cases):
                return " ".join([f"switch {self.expression(subject)} {{", *map(self.case, cases), "}"])
            case ast.Try(body=body, catches=catches):
                return " ".join([f"try {self.braces(body)}", *map(self.catch, catches)])
            case ast.Init(body=body):
                return "init " + self.braces(body)
            case ast.Empty(body=body):
                return "empty " + self.braces(body)
            case ast.Fini(body=body):
                return "fini " + self.braces(body)
            case ast.Function(name=name, parameters=parameters, body=body):
                inner = ", ".join(map(self.parameter, parameters))
                return f"function {_name_or_quoted(name)}({inner}) {self.braces(body)}"
            case _:
                assert_never(node)

    def case(self, node: ast.Case) -> str:
        values = [
            _word(value.value, lexer.CASE_ITEM) if value.is_bare else _quoted(value.value)
            for value in node.values
        ]
        if len(values) > 1:
            label = f"({', '.join(values)})"
        elif values:
            value = node.values[0]
            label = value.value if value.is_bare else _quoted(value.value)
        else:
            label = "*"
        return f"{label}: {self.braces(node.body)}"

    def catch(self, node: ast.Catch) -> str:
        names = "*" if node.names is None else self.value(node.names)
        return f"catch {names} as {_name_or_quoted(node.variable)} {self.braces(node.body)}"

    def parameter(self, node: ast.Parameter) -> str:
        name = _name_or_quoted(node.name)
        return name if node.default is None else f"{name}={self.value(node.default)}"


def _quoted(text: str) -> str:
    return '"' + _ESCAPED.sub(lambda found: _ESCAPES[found.group()], text) + '"'


def _word(text: str, pattern: re.Pattern[str]) -> str:
    return text if pattern.fullmatch(text) else _quoted(text)


def _name_or_quoted(name: str) -> str:
    return _word(name, lexer.VARIABLE_NAME)


def _variable(name: str) -> str:
    return "$" + _name_or_quoted(name)


def _tuple(items: list[str]) -> str:
    return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"


def _constant(value: int | Decimal | bool | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = format(value, "f")
    return text if "." in text else text + "."


def _set(operator: ast.SetOperator, *, is_try: bool) -> str:
    return ("?" if is_try else "") + operator.value


def _variables(names: tuple[str, ...]) -> str:
    return f"({', '.join(map(_variable, names))})"
