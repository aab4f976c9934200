"""Every RPC of every cell has its permission row, and there is no row without an RPC."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS, Changes
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import MethodOptions

ROOT = Path(__file__).resolve().parents[2]

CELLS = ("aha", "axon", "cortex", "cryotank")

# What leaves something behind, but at the instance that is called alone: its backups, its file, its log, its part among
# the instances. A follower does these itself.
OF_THE_INSTANCE = {
    "BackupService/CreateBackup",
    "BackupService/DeleteBackup",
    "CallService/Pipeline",
    "CellService/SetLogLevel",
    "ChangeLogService/HoldChanges",
    "ChangeLogService/ReleaseChanges",
    "ChangeLogService/TrimChanges",
    "LayerService/VerifyLayer",
    "MirrorService/CreateCheckpoint",
    "MirrorService/Follow",
    "MirrorService/HandOver",
    "MirrorService/Promote",
    "MirrorService/RemoveFollower",
    "MirrorService/TakeOver",
    "MirrorService/Vote",
    "StorageService/Compact",
    "TaskService/CancelTask",
    # They change something elsewhere on the web.
    "WebService/SendBlob",
    "WebService/SendForm",
}


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
        ("key_value_service", "KeyValueService"),
        ("task_service", "TaskService"),
        ("pipeline_service", "CallService"),
    ):
        importlib.import_module(f"cellmesh.api.common.v1.{module}_pb2")
        shared |= methods_of((f"cellmesh.api.common.v1.{service}",))
    assert shared <= set(COMMON_PERMISSIONS)


@pytest.mark.parametrize("cell", CELLS)
def test_every_row_says_whether_the_call_changes_what_instances_share(cell: str) -> None:
    """Rows agree with the protos: a call without side effects changes nothing, and others do unless they are named here."""
    for path in (ROOT / "protos" / "cellmesh" / "api" / "common" / "v1").glob("*_service.proto"):
        importlib.import_module(f"cellmesh.api.common.v1.{path.stem}_pb2")
    rows = importlib.import_module(f"cellmesh.{cell}.api.permissions").PERMISSIONS
    pool = descriptor_pool.Default()
    wrong = []
    for path, row in rows.items():
        if not path.startswith("/cellmesh.api."):
            continue
        service, _, name = path[1:].rpartition("/")
        options = pool.FindServiceByName(service).methods_by_name[name].GetOptions()
        short = f"{service.rpartition('.')[2]}/{name}"
        leaves_nothing = options.idempotency_level == MethodOptions.NO_SIDE_EFFECTS
        assert not (leaves_nothing and short in OF_THE_INSTANCE), f"{short} is named without need"
        if (row.changes is Changes.NO) != (leaves_nothing or short in OF_THE_INSTANCE):
            wrong.append(short)
    assert not wrong
