"""What library functions give: values with methods of their own, shared by `library` and `primitives`.

builder.py   text that grows
caching.py   caches, pipes and spooled sets
chance.py    sources of random numbers
keys.py      keys that sign
kept.py      users' variables and settings, vaults
mail.py      messages and mailboxes
markup.py    elements of XML, schemas of JSON
models.py    forms, properties and types of the data model
http_apis.py endpoints of the extended HTTP API
http_requests.py requests to them
oauth.py     what signs requests by OAuth 1
packages.py  modules, variables and queues of packages
principals.py  users, roles and gates, and their rules
projects.py  projects, epics, sprints, tickets, comments
queues.py    durable queues
remote.py    other cells and their RPCs, pools of AHA
services.py  Storm services and their methods
stacks.py    views and layers, and how a query reads and runs in them
stack_contents.py  how many nodes they have, which values and light edges
stack_facts.py     the facts about them, told and set
view_methods.py    how views stand to each other, what is put into them
merge_requests.py  merge requests and votes on them
layer_contents.py  what one layer holds
layer_changes.py   changes of it in detail
layer_edits.py     its edits, from the change log
layer_syncs.py     its pushes and pulls
stack_types.py    the types of both
storage_form.py   nodes and edits as plain lists
sockets.py   web sockets
stix.py      bundles of STIX
tables.py    lines of tables of text
tally.py     counts by name
tokens.py    JSON Web Tokens
user_values.py  what users keep and are told
users.py     what users are and may be made
web.py       answers to HTTP requests
"""

from __future__ import annotations

from typing import Final

from cellmesh.cortex.storm.objects import (
    builder,
    caching,
    chance,
    http_apis,
    http_requests,
    kept,
    keys,
    mail,
    markup,
    models,
    oauth,
    packages,
    principals,
    projects,
    queues,
    remote,
    services,
    sockets,
    stack_types,
    stix,
    tables,
    tally,
    tokens,
    user_values,
    users,
    web,
)
from cellmesh.cortex.storm.runtime.interface import TypeSpec

TYPES: Final[tuple[TypeSpec, ...]] = (
    *builder.TYPES,
    *caching.TYPES,
    *chance.TYPES,
    *keys.TYPES,
    *kept.TYPES,
    *mail.TYPES,
    *markup.TYPES,
    *models.TYPES,
    *oauth.TYPES,
    *packages.TYPES,
    *http_apis.TYPES,
    *http_requests.TYPES,
    *services.TYPES,
    *principals.TYPES,
    *projects.TYPES,
    *queues.TYPES,
    *remote.TYPES,
    *stack_types.TYPES,
    *sockets.TYPES,
    *stix.TYPES,
    *tables.TYPES,
    *tally.TYPES,
    *tokens.TYPES,
    *user_values.TYPES,
    *users.TYPES,
    *web.TYPES,
)
