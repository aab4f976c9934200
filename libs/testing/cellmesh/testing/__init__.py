"""Parts for tests only; nothing that ships imports this package.

disk/          records what a program writes, cuts the power at any point of it, and makes disks fail
robustness/    stores and programs that the robustness suite breaks
mirrors/       several instances of a service as processes, and a network between them that can be cut
replicas.py    compares slabs item by item, and replays a log with interruptions
conformance/   runs the Storm cases of tests/conformance through gRPC and judges the answers
"""
