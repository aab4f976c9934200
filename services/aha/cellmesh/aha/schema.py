"""Every database of AHA's slab.

Leases are soft state and live in memory. `instances` is what a restarted AHA begins with: everything that
was registered, each with a fresh lease to prove that it is still there.

An enrolment's token is stored as its SHA-256 only, so that who reads the database cannot enrol.
"""

from __future__ import annotations

from typing import Final

from cellmesh.common.changelog import DATABASES as CHANGELOG_DATABASES
from cellmesh.common.storage import SubDb

INSTANCES: Final = SubDb("instances", "instance name -> cellmesh.api.aha.v1.Instance")
ENROLLMENTS: Final = SubDb("enrollments", "SHA-256 of the token -> Enrollment")
CERTIFICATES: Final = SubDb(
    "certificates", "serial (20 bytes) -> expiry in ms since 1970 (8 bytes), subject URI"
)
REVOCATIONS: Final = SubDb(
    "revocations", "serial (20 bytes) -> revision (8 bytes), cellmesh.api.aha.v1.Revocation"
)
POOLS: Final = SubDb("pools", "pool name -> cellmesh.api.aha.v1.Pool")
LEADERS: Final = SubDb("leaders", "service -> cellmesh.api.aha.v1.Leadership, with the length of its lease")

DATABASES: Final = (
    INSTANCES,
    ENROLLMENTS,
    CERTIFICATES,
    REVOCATIONS,
    POOLS,
    LEADERS,
    *CHANGELOG_DATABASES,
)
