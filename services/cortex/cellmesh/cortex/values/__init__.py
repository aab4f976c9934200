"""The words all parts of the Cortex share; pure, no I/O.

ids      Nid, Buid, LayerId, ViewId and how each is derived
ndef     (form, value) pairs and their canonical bytes
wire     protobuf by hand: Value and Interval to and from bytes
edits    NodeEdit, the smallest steps of change, and their inverses
shared   edits as they leave a Cortex, without its nids
changes  LayerEdits to and from the payload of a change record
"""
