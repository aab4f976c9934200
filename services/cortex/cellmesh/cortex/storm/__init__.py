"""Storm, the query language: text to tokens, tokens to AST, AST to plan and closures, closures to rows.

source.py            query text, spans, line and column, excerpts with a caret
parser/              text to AST, and AST back to text
planner/             read-only stretches of an AST made cheaper before they are compiled
compiler/            AST to closures over generators
runtime/             what a running query is: contexts, paths, values, functions, bounds, messages
engine.py            what queries need to run on a graph: commands, libraries, a cache of compiled texts
execution.py         one query that runs: for its messages, its value, its count
text_tools.py        texts put together and taken apart, for methods and functions
container_tools.py   the same for lists and dictionaries
packed_nodes.py      nodes as plain values, for feeds and exports
running.py           the queries that run
waiting.py           sleeping that ends when the query does
rights/              what a user may do inside of a query
formats/             STIX, scores, tokens, what is found in text: notations without a graph
outside/             the web, mail and other cells, as queries reach them
objects/             values with a life of their own: node properties and data, views, layers, model parts
primitives/          methods of texts, numbers, containers, nodes, paths and queries
library/             `$lib`, a module a namespace
commands/            commands, a module a family
packages.py          modules and commands of Storm packages
inside.py            Python that runs as a query
http_answers.py      requests to the extended HTTP API, answered by queries
"""
