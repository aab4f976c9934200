"""`cellmesh doctor`: looks at what commonly goes wrong, and says what to do.

finding     Finding: one thing that was looked at
machine     this machine and its processes: limits, disk, folders, ports
identities  certificates: how long they last, whether they fit, who may read the key
cells       running cells: reached, ready, clock, version, room in the storage
check       which of them for a mesh's folder, a cell's folder, or a mesh known by AHA
"""

from __future__ import annotations
