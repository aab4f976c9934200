"""What a Cortex keeps beside the graph.

schema.py      the databases
changes.py     how a change is written together with its change record, and applied again from it
named.py       values by name: the base of the small stores
macros.py      macros: queries by name
globals.py     global variables
json_store.py  values by path
packages.py    Storm packages
services.py    Storm services
http_apis.py   endpoints of the extended HTTP API
oauth.py       OAuth 2 providers and the tokens of users
user_values.py what users keep by name
vaults.py      secrets and settings by name
queues.py      queues: items with offsets
graphs.py      graph projections
tag_model.py   rules for tags: patterns of their parts, and pruning
model_facts.py locks of deprecated names, what is said of edge verbs, extensions of the model
former_names.py extensions of the model that name what is called otherwise now
stores.py      all of them together

Every change is one transaction with its change record. Stores are used through a session, so that what a query
changes is part of its own transaction, and seen by it at once.
"""
