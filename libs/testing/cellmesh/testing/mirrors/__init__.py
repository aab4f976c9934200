"""Several instances of one service as real processes, and a network between them that can be cut.

asking     how an instance stands, asked at its socket; waiting until something is so
network    Network: proxies in front of the instances; links cut, delayed and healed by who calls whom
instances  Instances: AHA and the instances of a service, started, killed, promoted, compared
"""

from __future__ import annotations

from cellmesh.testing.mirrors.instances import Instances
from cellmesh.testing.mirrors.network import Network

__all__ = ["Instances", "Network"]
