"""Cortex: the cell that holds the typed hypergraph and answers Storm queries about it.

main      process entry
config    settings
cell      builds every part and wires them together
api/      the Cortex on the wire; proto messages stop here
identities  users and roles as the model and Storm see them
cell_facts  what the cell tells queries of itself
mesh_link  the way to AHA and other cells, for queries
axon_link, axon_client  the way to the Axon that keeps contents
syncing/  layers that send their edits to other Cortexes, and take theirs
replay/   change records of one Cortex applied to another: its mirrors, a log replayed
storm_services/  programs beside the Cortex that give queries methods and commands
automation/  queries that run by themselves: triggers, cron jobs, daemons
migration/  data brought in line with another version's model
stores/   small durable collections: macros, queues, globals and their like
storm/    the query language, from text to rows
views/    layers stacked into one graph, and the sessions that work on it
layers/   one durable set of edits and its indexes
model/    forms, properties, types: what a graph may say
values/   the vocabulary everyone shares: ids, edits, change records

Imports go from the top down; the exact order is a contract in pyproject.toml.
"""
