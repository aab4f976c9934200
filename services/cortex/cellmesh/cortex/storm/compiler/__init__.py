"""Syntax tree to closures over generators.

names         which variables a scope has, and which need no node; unknown ones are reported here
core          kinds of closures, the compiler's state, bodies
expressions   values: `(context, row) -> value`
arithmetic    operators
filters       conditions: `(context, row) -> bool`
filter_checks what is wrong with a condition whatever rows come
interfaces    names of interfaces, which stand for several forms
lifts         from names and comparisons to index scans
hinted        lifts that look where the filters behind them point
counted       lifts that are only counted
pivots        from rows to where they lead
edits         edit blocks
variables     assignments, calls, return, emit, functions
control       loops, branches, try, subqueries, init, empty, fini
yields        yield
commands      commands
emitting      values that pass the steps behind an `emit`
explain       what the steps are and how each is done, for people
dispatch      the tables that tie them together; `compile_scope`

Each operation compiles to a step `(context, rows) -> rows`; those that can do without rows also to a statement
`(context) -> code`, which loops and functions without nodes run without making a generator.
"""
