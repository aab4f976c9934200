"""Who may call what, one row a method."""

from __future__ import annotations

from typing import Final

from cellmesh.api.cryotank.v1 import tank_service_pb2
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS, Changes, Level, Permission, PermissionTable

TANK_SERVICE: Final = tank_service_pb2.DESCRIPTOR.services_by_name["TankService"]

SERVICES: Final = (TANK_SERVICE.full_name,)
"""The services that this cell alone has."""

PERMISSIONS: Final[PermissionTable] = {
    **COMMON_PERMISSIONS,
    "/cellmesh.api.cryotank.v1.TankService/CreateTank": Permission(
        Level.RULE, "cryotank.tank.create", Changes.YES
    ),
    "/cellmesh.api.cryotank.v1.TankService/ListTanks": Permission(Level.RULE, "cryotank.tank.list"),
    "/cellmesh.api.cryotank.v1.TankService/DeleteTank": Permission(
        Level.RULE, "cryotank.tank.delete", Changes.YES
    ),
    "/cellmesh.api.cryotank.v1.TankService/AppendRecords": Permission(
        Level.RULE, "cryotank.record.append", Changes.YES
    ),
    "/cellmesh.api.cryotank.v1.TankService/ReadRecords": Permission(Level.RULE, "cryotank.record.read"),
    "/cellmesh.api.cryotank.v1.TankService/GetLastRecord": Permission(Level.RULE, "cryotank.record.read"),
    "/cellmesh.api.cryotank.v1.TankService/GetTankMetrics": Permission(Level.RULE, "cryotank.tank.list"),
}
