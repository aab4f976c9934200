"""Layers stacked into graphs: what Storm, feeds and the API work with.

graph           Graph: the cell's layers and views over one slab; begins sessions; replays the change log
view            View: an ordered stack of layers, the top one written to
stacks          changes of views and layers themselves: making, names, removal
stack_changes   the change record of those
overlay         Stack: reads through the layers of a view, deletions above hiding what is below
restack         how views and layers stand to each other, and what is known of them
merge           a fork merged into what it was forked from
merge_moves     nodes that only the fork has, moved with their records
quorum          merge requests, and the votes on them
wipe            everything taken out of a layer
sharing         a layer's edits and content as they leave the Cortex
taking          edits from elsewhere into a layer
taking_checks   what such edits must be
activity        when each layer was edited last
layer_export    a layer as a file, of one state of the storage
layer_import    a new layer from a file, seen when it is whole
import_batch    the nodes of such a file, a batch a transaction
index_rows      the entries of one index of a layer; copies of layers
verify          records compared with indexes and counts, and put right
purge           all that layers say of a property or form, taken out of every layer
session         GraphSession: one unit of work, put together from the parts below; edits
session_base    what every part stands on: transactions, names, the end
session_lifts   nodes of a form, with a property, a tag, or a value that compares so
session_pivots  single nodes, and the way from nodes to others
session_counts  counts, from what is kept with the edits
session_data    node data
lifts           index scans, a chunk of keys at a time, into nodes
runtime         nodes that exist in no layer: those that describe the model
node            Node: a live node, decoded when looked at
plans           what adding a node or setting a property implies, worked out from the model alone
kept            plans and values kept between edits
constructors    nodes of guid forms by their properties
editor          one op's intended edits: what is there is read, rules are kept, NodeEdits come out
editor_base     what every part of an editor stands on
editor_tags     edits of tags and of their properties
editor_links    edits of light edges and node data, and the deletion of nodes
draft           a node being edited: what the layers hold, with the edits on top
rules           what a cell adds to edits: locked deprecated names, what tags may look like
hooks           rules of single forms, such as the zones of domain names
feed            many nodes at once
feed_values     what feeds take and give: records, results, rejects
feed_wire       records of a feed read from the bytes of their messages
feed_prepare    fresh nodes made ready outside of the write transaction
feed_batch      one batch inside its op: fresh nodes in bulk, all else through editors
"""
