"""Who may call what, one row a method.

What is about one tank is open to members by its row, and needs a rule that allows the same name on the tank, which is a gate:
the handlers check that. So a user may be given one tank alone.
"""

from __future__ import annotations

from typing import Final

from cellmesh.api.cryotank.v1 import tank_service_pb2
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS, Changes, Level, Permission, PermissionTable

TANK_SERVICE: Final = tank_service_pb2.DESCRIPTOR.services_by_name["TankService"]

SERVICES: Final = (TANK_SERVICE.full_name,)
"""The services that this cell alone has."""

OPERATIONS: Final = {
    "ListTanks": "list",
    "GetTank": "list",
    "UpdateTank": "update",
    "DeleteTank": "delete",
    "AppendRecords": "append",
    "AppendStream": "append",
    "ReadRecords": "read",
    "ReadRows": "read",
    "ListAppends": "list",
    "GetLastRecord": "read",
    "GetTankMetrics": "list",
    "TrimTank": "trim",
    "SetConsumer": "read",
    "ListConsumers": "read",
    "DeleteConsumer": "read",
}
"""What each method does with a tank: `tank.NAME` is the rule."""

CHANGING: Final = frozenset(
    {
        "UpdateTank",
        "DeleteTank",
        "AppendRecords",
        "AppendStream",
        "TrimTank",
        "SetConsumer",
        "DeleteConsumer",
    }
)

PERMISSIONS: Final[PermissionTable] = {
    **COMMON_PERMISSIONS,
    f"/{TANK_SERVICE.full_name}/CreateTank": Permission(Level.RULE, "tank.create", Changes.YES),
    **{
        f"/{TANK_SERVICE.full_name}/{method}": Permission(
            Level.MEMBER, f"tank.{operation}", Changes.YES if method in CHANGING else Changes.NO
        )
        for method, operation in OPERATIONS.items()
    },
}
