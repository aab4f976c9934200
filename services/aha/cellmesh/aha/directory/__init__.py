"""Who is in the mesh and where.

instances  Instance: one running cell as the registry knows it; names and their checks
leases     Directory: live instances in memory, look-ups, leases
leadership Leaders: who leads each service, and until when
watch      Watch: one caller's stream of changes, bounded
pools      Pools: names under which callers reach several services
names      what of it is durable
registry   Registry: puts the three together; expiry
"""

from __future__ import annotations

from cellmesh.aha.directory.instances import Instance
from cellmesh.aha.directory.leadership import Leaders, LeaderTable
from cellmesh.aha.directory.registry import Registry

__all__ = ["Instance", "LeaderTable", "Leaders", "Registry"]
