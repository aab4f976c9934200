"""Every RPC of every cell has its permission row, and there is no row without an RPC."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS
from google.protobuf import descriptor_pool

ROOT = Path(__file__).resolve().parents[2]

CELLS = ("aha", "axon", "cortex", "cryotank")


def methods_of(service_names: tuple[str, ...]) -> set[str]:
    """Full method names of the services."""
    pool = descriptor_pool.Default()
    services = [pool.FindServiceByName(name) for name in service_names]
    return {f"/{service.full_name}/{method.name}" for service in services for method in service.methods}


@pytest.mark.parametrize("cell", CELLS)
def test_every_rpc_has_a_permission_row_and_every_row_an_rpc(cell: str) -> None:
    permissions = importlib.import_module(f"cellmesh.{cell}.api.permissions")
    own = {name for name in permissions.PERMISSIONS if name.startswith(f"/cellmesh.api.{cell}.")}
    assert own == methods_of(permissions.SERVICES)


@pytest.mark.parametrize("cell", CELLS)
def test_every_service_of_a_cell_is_declared_by_its_protos(cell: str) -> None:
    """A service in the protos that no cell serves would be a promise nobody keeps."""
    permissions = importlib.import_module(f"cellmesh.{cell}.api.permissions")
    declared = set()
    for path in (ROOT / "protos" / "cellmesh" / "api" / cell / "v1").glob("*.proto"):
        for name in re.findall(r"^service (\w+)", path.read_text(encoding="utf-8"), re.M):
            declared.add(f"cellmesh.api.{cell}.v1.{name}")
    assert set(permissions.SERVICES) == declared


def test_the_rpcs_that_all_cells_share_have_rows() -> None:
    shared = set()
    for module, service in (
        ("cell_service", "CellService"),
        ("backup_service", "BackupService"),
        ("change_log_service", "ChangeLogService"),
    ):
        importlib.import_module(f"cellmesh.api.common.v1.{module}_pb2")
        shared |= methods_of((f"cellmesh.api.common.v1.{service}",))
    assert shared <= set(COMMON_PERMISSIONS)
