"""Storm, the query language: text to tokens, tokens to AST, AST to plan and closures, closures to rows.

source.py            query text, spans, line and column, excerpts with a caret
parser/              text to AST, and AST back to text
planner/             read-only stretches of an AST made cheaper before they are compiled
compiler/            AST to closures over generators
runtime/             what a running query is: contexts, paths, values, functions, bounds, messages
engine.py            runs queries on a graph: cache of compiled texts, messages, returned values, counts
text_tools.py        texts put together and taken apart, for methods and functions
text_scrape.py       indicators found in text, for the library, the scrape command and look-ups
coin_addresses.py    addresses of crypto-currencies in text, with their checksums
top_levels.py        top-level domains that names found in text may end in
container_tools.py   the same for lists and dictionaries
cvss.py              scores of vulnerabilities, from vectors
http_calls.py        HTTP requests of queries
mail_calls.py        mail servers asked by queries
oauth_calls.py       tokens asked of OAuth providers, signatures of OAuth 1
oauth_refresh.py     tokens fetched anew before they end, where the cell leads
json_tokens.py       JSON Web Tokens, signed and checked
packed_nodes.py      nodes as plain values, for feeds and exports
stix_mapping.py      how nodes are told in STIX, and back
stix_import.py       bundles of STIX made into nodes
axon_files.py        nodes that tell what the Axon keeps
keccak.py            the hash of Ethereum
remote_calls.py      RPCs of other cells, called by name
registry_calls.py    what AHA knows of services
running.py           the queries that run
attack_flow.py       drawings of attacks, checked and brought into order
service_calls.py     what queries need of the links to Storm services
waiting.py           sleeping that ends when the query does
rights/              what a user may do inside of a query
objects/             values with a life of their own: node properties and data, views, layers, model parts
primitives/          methods of texts, numbers, containers, nodes, paths and queries
library/             `$lib`, a module a namespace
commands/            commands, a module a family
packages.py          modules and commands of Storm packages
inside.py            Python that runs as a query
http_answers.py      requests to the extended HTTP API, answered by queries
"""
