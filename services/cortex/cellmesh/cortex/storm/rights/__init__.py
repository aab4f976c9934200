"""Who may do what in queries: what is asked before library functions, methods and commands run.

What a user may do is in `runtime.rights`; edits of nodes are asked about where a session makes them
(`views.session`). Here is the rest.

paths.py     the permissions there are, for `$lib.auth.getPermDefs()`
checks.py    what is asked before functions of `$lib` and methods of values
commands.py  what is asked before commands that do not go through `$lib`
gates.py     objects that have rules of their own, and who made them
"""
