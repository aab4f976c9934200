"""Layers stacked into graphs: what Storm, feeds and the API work with.

graph    Graph: the cell's layers and views over one slab; begins sessions; replays the change log
view     View: an ordered stack of layers, the top one written to
overlay  Stack: reads through the layers of a view, deletions above hiding what is below
session  GraphSession: one unit of work; lifts, pivots, counts, edits
lifts    index scans, a chunk of keys at a time, into nodes
node     Node: a live node, decoded when looked at
plans    what adding a node or setting a property implies, worked out from the model alone
editor   one op's intended edits: what is there is read, rules are kept, NodeEdits come out
hooks    rules of single forms, such as the zones of domain names
feed     many nodes at once
"""
