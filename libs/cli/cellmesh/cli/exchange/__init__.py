"""`cellmesh import` and `cellmesh export`: files of other tools into the graph, and nodes of the graph into files.

In:

sources.py      files, gzip and standard input as bytes that can be read more than once, within bounds
json_stream.py  JSON of any size, one item after the other
recognise.py    what a file is, by what is in it
records.py      the vocabulary: records, and the nodes they make
links.py        edges between what is known by a name in the file only, kept on disk until the end
mapping.py      columns and fields -> forms and properties, as `--map` says
rows.py         CSV and JSON Lines
packed.py       `.nodes`: packed nodes in msgpack
stix.py         STIX 2.1 bundles
attack.py       what objects of MITRE ATT&CK say in them
misp.py         MISP events and warning lists
misp_values.py  what the attributes of MISP are in the data model
galaxies.py     MISP galaxy clusters, by the mapping of the demo
readers.py      a recognised file -> its records
state.py        how far an import is, for `--resume`
feeding.py      batches to the Cortex, two in flight
parts.py        the parts of a node, of which bad ones are left out
preview.py      what a dry run shows
showing.py      progress on standard error
reports.py      what became of each file, and of all
running.py      an import of several files, from recognition to its report

Out:

writers.py      exported nodes -> nodes, jsonl, csv, stix
graphs.py       exported nodes -> graphml, dot
"""
