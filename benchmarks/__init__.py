"""Benchmarks on real server processes, ours and the peer's (Vertex Synapse 2.256.0) in turn.

__main__.py     `python -m benchmarks`: picks workloads, drives both sides in turn, prints figures and ratios
workloads.py    the workloads, written once against `Target`; standard library only, both sides import it
automation.py   more of them: triggers, queues, text, merges
storm_work.py   W9 and W10: queries that compute, queries to be parsed
growth.py       W15: what a node costs up to a million of them
data.py         deterministic data (seed 1)
processes.py    CPU, memory and disk of server processes
driver.py       one side as a process of its own: starts its server, runs workloads on command
ours.py         Target over gRPC
peer.py         Target over the peer's own RPC; runs with the interpreter of the peer's environment
peer_env.py     makes that environment
report.py       tables and ratios
sides.py        servers of any kind of cell, ours and the peer's; rate scripts that run on both in turns

Rate scripts of single parts, run by hand: storage_rates.py, graph_rates.py, backup_pause.py, pipeline_rates.py,
graph_limits.py (the graph beside LMDB itself and bare streams),
lane_rates.py (Storm queries on one stream, and by themselves),
cell_rates.py, aha_rates.py, blob_rates.py, tank_rates.py, xds_rates.py,
frames.py (nodes as tables), layer_files.py (layers as files), fairness.py (point queries beside heavy ones), planner_gains.py (Storm with and without each rule of its planner).
"""
