"""Parts for tests only; nothing that ships imports this package.

memory/        a slab kept in memory, in place of LMDB
disk/          records what a program writes, cuts the power at any point of it, and makes disks fail
oracle/        a second Storm, small and slow, and random queries to hold the first one against it
fuzzing/       queries and values that are nearly right
robustness/    stores and programs that the robustness suite breaks
mirrors/       several instances of a service as processes, and a network between them that can be cut
clocks.py      clocks that tests move
trial.py       services made without generated code, and served from a thread
namespaces.py  hosts in network namespaces, whose cables can be pulled
mesh_load.py   clients that call the cells of a mesh by name and write a ledger, as a process
mesh_faults.py a mesh with a host for each cell, under load and faults, measured and verified
replicas.py    compares slabs item by item, and replays a log with interruptions
conformance/   runs the Storm cases of tests/conformance through gRPC and judges the answers
"""
