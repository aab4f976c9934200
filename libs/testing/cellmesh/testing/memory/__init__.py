"""The in-memory twin of the storage: sorted lists in place of LMDB, under the same sessions and transactions.

environment.py  what a slab asks of LMDB's environment, transactions and cursors
slab.py         a slab over it

What is stored and found must be the same over both. The twin holds LMDB to account in turn: what only works because LMDB
lays out pages as it does fails here.
"""

from __future__ import annotations

from cellmesh.testing.memory.slab import memory_slab

__all__ = ["memory_slab"]
