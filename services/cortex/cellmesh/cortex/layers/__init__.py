"""One durable set of edits and its indexes.

schema   every database of the graph: name, key, value
keys     the only place where key bytes are built and split
records  node records: read one property, take apart, put together
catalog  how each property is indexed: its name's number, and values to key bytes
names    names and their numbers: forms, properties, tags, verbs, data names
nids     buid -> nid, and fresh nids
layer    Layer: what a layer is, and which there are
offsets  up to where a layer has taken the edits of others
writer   applies node edits to a layer: records, indexes, counts
bulk     the same for many fresh nodes at once, index entries sorted
file_format  the blocks of a layer's file, every byte checked
reader   what is in one layer: records, index ranges, edges, data
stats    counts kept with the edits
sizes    about how much room each layer takes in the file
"""
