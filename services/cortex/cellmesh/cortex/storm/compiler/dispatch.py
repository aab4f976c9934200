"""Which function compiles which kind of syntax node, and the compiler's front door."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

from cellmesh.cortex.storm.compiler import control, expressions, variables
from cellmesh.cortex.storm.compiler.commands import compile_command
from cellmesh.cortex.storm.compiler.core import Body, Compiler, Op, Tables
from cellmesh.cortex.storm.compiler.counted import fold_counted
from cellmesh.cortex.storm.compiler.edits import compile_edit_block
from cellmesh.cortex.storm.compiler.filters import compile_filter
from cellmesh.cortex.storm.compiler.hinted import can_hint, compile_hinted
from cellmesh.cortex.storm.compiler.lifts import compile_lift, compile_lookup
from cellmesh.cortex.storm.compiler.names import Scope
from cellmesh.cortex.storm.compiler.pivots import compile_pivot
from cellmesh.cortex.storm.compiler.yields import compile_yield
from cellmesh.cortex.storm.parser import ast
from cellmesh.cortex.storm.planner.hints import hint_of
from cellmesh.cortex.storm.runtime.plan import Profile
from cellmesh.cortex.storm.source import Source

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.libraries import Library


def _hinted(compiler: Compiler, operations: Sequence[ast.Operation], at: int) -> Op | None:
    node = operations[at]
    if not can_hint(node):
        return None
    hint = hint_of(operations[at + 1 :])
    return compile_hinted(compiler, cast(ast.Lift, node), hint) if hint is not None else None


TABLES = Tables(
    hinted=_hinted,
    folded=fold_counted,
    expressions={
        ast.Literal: expressions.compile_literal,
        ast.Constant: expressions.compile_literal,
        ast.TupleLiteral: expressions.compile_tuple,
        ast.ListLiteral: expressions.compile_list,
        ast.DictLiteral: expressions.compile_dict,
        ast.FormatString: expressions.compile_format,
        ast.Variable: expressions.compile_variable,
        ast.Attribute: expressions.compile_attribute,
        ast.Call: expressions.compile_call,
        ast.UnaryOperation: expressions.compile_unary,
        ast.BinaryOperation: expressions.compile_binary,
        ast.PropValue: expressions.compile_prop_value,
        ast.TagValue: expressions.compile_tag_value,
        ast.TagPropValue: expressions.compile_tag_prop_value,
        ast.SubqueryValue: expressions.compile_subquery_value,
        ast.EmbeddedQuery: expressions.compile_embedded_query,
    },
    operations={
        ast.Lift: compile_lift,
        ast.Lookup: compile_lookup,
        ast.Filter: compile_filter,
        ast.Pivot: compile_pivot,
        ast.EditBlock: compile_edit_block,
        ast.SetVariable: variables.compile_effect,
        ast.SetItem: variables.compile_effect,
        ast.UnpackVariables: variables.compile_effect,
        ast.Evaluate: variables.compile_effect,
        ast.Subquery: control.compile_subquery,
        ast.Yield: compile_yield,
        ast.For: control.compile_for,
        ast.While: control.compile_while,
        ast.If: control.compile_branching,
        ast.Switch: control.compile_branching,
        ast.Try: control.compile_try,
        ast.Init: control.compile_init,
        ast.Empty: control.compile_empty,
        ast.Fini: control.compile_fini,
        ast.Break: variables.compile_leave,
        ast.Continue: variables.compile_leave,
        ast.Stop: variables.compile_stop,
        ast.Return: variables.compile_return,
        ast.Emit: variables.compile_emit,
        ast.Function: variables.compile_function,
        ast.Command: compile_command,
    },
    statements={
        ast.SetVariable: variables.execute_effect,
        ast.SetItem: variables.execute_effect,
        ast.UnpackVariables: variables.execute_effect,
        ast.Evaluate: variables.execute_effect,
        ast.Subquery: control.execute_subquery,
        ast.For: control.execute_for,
        ast.While: control.execute_while,
        ast.If: control.execute_branching,
        ast.Switch: control.execute_branching,
        ast.Try: control.execute_try,
        ast.Init: control.execute_once,
        ast.Empty: control.execute_once,
        ast.Fini: control.execute_once,
        ast.Break: variables.execute_leave,
        ast.Continue: variables.execute_leave,
        ast.Stop: variables.execute_stop,
        ast.Return: variables.execute_return,
        ast.Function: variables.execute_function,
    },
)


def compile_scope(
    query: ast.Query,
    source: Source,
    names: Iterable[str],
    library: Library,
    *,
    is_batched: bool = False,
    profile: Profile | None = None,
) -> Body:
    """Compile a query as a scope of its own.

    Args:
        query: The query.
        source: The text it was parsed from.
        names: Variables that have values before it runs.
        library: `$lib`.
        is_batched: Whether steps may take several rows at once.
        profile: Where each step is measured; None for a run that is not profiled.

    Raises:
        NoSuchVar: it uses a variable that is set nowhere.
    """
    scope = Scope(query, names)
    scope.check(source)
    return Compiler(TABLES, source, scope, library, is_batched=is_batched, profile=profile).body(query)
