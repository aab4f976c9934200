"""The databases of auth in every cell's slab. A cell adds none of them itself."""

from __future__ import annotations

from typing import Final

from cellmesh.common.storage import SubDb

USERS: Final = SubDb("auth_users", "user identifier (text) -> cellmesh.api.common.v1.StoredUser")
ROLES: Final = SubDb("auth_roles", "role identifier (text) -> cellmesh.api.common.v1.StoredRole")
GATES: Final = SubDb("auth_gates", "gate identifier (text) -> cellmesh.api.common.v1.StoredGate")
CREDENTIALS: Final = SubDb("auth_credentials", "user identifier -> cellmesh.api.common.v1.StoredCredentials")
API_KEYS: Final = SubDb("auth_api_keys", "key identifier (text) -> cellmesh.api.common.v1.StoredApiKey")
AUDIT: Final = SubDb(
    "auth_audit",
    'offset (8 bytes) -> SHA-256 of the chain so far, cellmesh.api.common.v1.AuditRecord; "head" -> '
    "offset and SHA-256 of the last record",
)

DATABASES: Final = (USERS, ROLES, GATES, CREDENTIALS, API_KEYS, AUDIT)
