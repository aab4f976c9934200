"""What runs a compiled query, and the seam to commands, libraries and primitives.

interface    specs of commands, libraries, types; the kinds of values
plan         the steps of a query for people, and what is counted of each in a profiled run
path         a row: a node and its variables
options      options and bounds of a query
counted      rows of which only the number is known
memory       what the values of a query take
budget       counting rows, time, depth; cancellation
turns        long queries run one at a time
context      a scope: variables, messages, nested queries
messages     what a query sends
values       coercions: text, numbers, truth, plain data
members      items and attributes, iteration
valuing      values as the graph takes them
functions    callable values and generators
queries      queries as values
libraries    `$lib` and the table of types
arguments    arguments of commands
rights       what the user of a query may do: the seam
signals      break, continue, return, stop, exit
thrown       errors as `catch` sees them
faults       errors of Python as errors of Storm
places       where in the text an error arose
legs         where pivots lead
lookups      words in lookup and autoadd mode
tags         tag globs
"""
