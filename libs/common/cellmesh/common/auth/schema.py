"""The databases of auth in every cell's slab. A cell adds none of them itself."""

from __future__ import annotations

from typing import Final

from cellmesh.common.storage import SubDb

AUTH: Final = SubDb(
    "auth",
    "a letter for what it is, identifier (text) -> cellmesh.api.common.v1.StoredUser (u), StoredRole (r), "
    "StoredGate (g), StoredCredentials (c, of the user) or StoredApiKey (k)",
)
AUDIT: Final = SubDb(
    "auth_audit",
    'offset (8 bytes) -> SHA-256 of the chain so far, cellmesh.api.common.v1.AuditRecord; "head" -> '
    "offset and SHA-256 of the last record",
    # Each cell tells of the calls that came to it.
    local=True,
)

# Few, as making each costs a new cell a sync of the disk.
DATABASES: Final = (AUTH, AUDIT)

USER: Final = b"u"
ROLE: Final = b"r"
GATE: Final = b"g"
CREDENTIALS: Final = b"c"
API_KEY: Final = b"k"
