"""Storm text to syntax tree and back.

ast/                    the tree: frozen dataclasses with spans
hints.py                what people may have meant where a text is wrong
lexer.py                token patterns, the cursor over a text, bounds, BadSyntax with place, excerpt and hint
parser_value.py         values by their first character: variables and calls, text, properties, tags
parser_expression.py    parentheses, operators, lists, dictionaries, format strings
parser_edit.py          edit blocks
parser_command.py       commands and their arguments
parser_pivot.py         lifts, filters, pivots and walks along edges
parser_statement.py     what starts with a keyword: loops, branches, functions and so on
parser_query.py         whole queries, what each operation is, the words of a lookup
strength.py             how strongly operators bind
depth.py                measures a tree, for the bound on its depth
printer.py              tree back to text
formatter.py            text laid out anew, comments and all

The parser classes build on each other in that order, and `parse_query` drives the last. `parse_query` accepts exactly
what is a query; names of forms, commands and operators are checked later, against the model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from cellmesh.cortex.storm.parser import ast
from cellmesh.cortex.storm.parser.depth import tree_depth
from cellmesh.cortex.storm.parser.lexer import NESTING_MAX, TEXT_LENGTH_MAX, TREE_DEPTH_MAX
from cellmesh.cortex.storm.parser.parser_query import QueryParser
from cellmesh.cortex.storm.source import Source

__all__ = [
    "NESTING_MAX",
    "TEXT_LENGTH_MAX",
    "TREE_DEPTH_MAX",
    "parse_expression",
    "parse_query",
    "parse_source",
    "parse_value",
    "run_parser",
]


_NodeType = TypeVar("_NodeType", bound=ast.Node)


def parse_query(text: str, mode: ast.ParseMode = ast.ParseMode.STORM) -> ast.Query:
    """Parse a query.

    Args:
        text: The query, at most TEXT_LENGTH_MAX characters.
        mode: How its head is read; in a mode other than STORM the first operation is a Lookup.

    Raises:
        BadSyntax: the text is no query. Fields `at` (offset of the fault), `line` and `column` (from 1) and
            `token`; the message says what was expected and shows the line with a caret.
    """
    return parse_source(Source(text), mode)


def parse_source(source: Source, mode: ast.ParseMode = ast.ParseMode.STORM) -> ast.Query:
    """Parse a query whose text has a name for messages; else like parse_query."""
    parser = QueryParser(source)
    return run_parser(parser, lambda: parser.whole_text(mode))


def parse_value(text: str) -> ast.Expression:
    """Parse a value as it could stand after `$x=`. Raises BadSyntax like parse_query."""
    parser = QueryParser(Source(text))
    return run_parser(parser, parser.whole_value)


def parse_expression(text: str) -> ast.Expression:
    """Parse an expression as it could stand in `$( )`. Raises BadSyntax like parse_query."""
    parser = QueryParser(Source(text))
    return run_parser(parser, parser.whole_expression)


def run_parser(parser: QueryParser, parse: Callable[[], _NodeType]) -> _NodeType:
    """Run a parser over its whole text, within the bounds; `parse` is a method of it."""
    if len(parser.text) > TEXT_LENGTH_MAX:
        parser.fail(f"the text is longer than {TEXT_LENGTH_MAX} characters", at=0)
    try:
        tree = parse()
    except RecursionError:
        # The bound on nesting keeps the parser within the interpreter's stack, unless the caller used it up.
        parser.fail("the query is nested too deeply", at=parser.last)
    if parser.chain_is_long and tree_depth(tree) > TREE_DEPTH_MAX:
        parser.fail(f"a chain of operators or members is longer than {TREE_DEPTH_MAX}", at=parser.last)
    return tree
