"""What tests of AHA have in common: settings, channels, enrolment, a small cell beside it, its audit log."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import grpc
import pytest
from cellmesh.aha.cell import AhaCell
from cellmesh.aha.config import AhaConfig
from cellmesh.api.aha.v1 import enrollment_pb2, enrollment_service_pb2_grpc, registry_service_pb2_grpc
from cellmesh.common.auth import audit
from cellmesh.common.cell import Cell, running
from cellmesh.common.changelog import DATABASES as CHANGELOG_DATABASES
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.errors import CellError, from_rpc_error
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.tls.enrollment import enroll
from cellmesh.common.tls.folder import IdentityFolder


class TrialConfig(CellConfig):
    """Settings of a cell that has nothing but what every cell has."""

    kind: ClassVar[str] = "trial"


class TrialCell(Cell[TrialConfig]):
    """Such a cell."""

    kind = "trial"
    databases = CHANGELOG_DATABASES


def config_of(folder: Path, **flags: Any) -> AhaConfig:
    """Settings of an AHA of the network demo."""
    flags = {"network": "demo", "stop_grace_s": 0.5, **flags}
    return load_config(AhaConfig, dir=folder, flags=flags, environ={})


def local(aha: AhaCell) -> grpc.Channel:
    """A channel as root."""
    return open_channel(f"unix:{aha.config.dir}/cell.sock")


def over_tls(aha: AhaCell, identity: IdentityFolder) -> grpc.Channel:
    """A channel with a certificate."""
    return open_channel(aha.tcp_address, identity=identity, server_name="aha.demo")


def registry(channel: grpc.Channel) -> registry_service_pb2_grpc.RegistryServiceStub:
    """The registry."""
    return registry_service_pb2_grpc.RegistryServiceStub(channel)


def make_url(aha: AhaCell, **request: Any) -> str:
    """A one-time URL."""
    with local(aha) as channel:
        stub = enrollment_service_pb2_grpc.CertificateServiceStub(channel)
        return str(stub.CreateEnrollment(enrollment_pb2.CreateEnrollmentRequest(**request)).url)


def enrolled(aha: AhaCell, folder: Path, **subject: Any) -> IdentityFolder:
    """An identity, in a folder."""
    identity = IdentityFolder(folder)
    enroll(make_url(aha, **subject), identity)
    return identity


def start_cell(
    aha: AhaCell | None, folder: Path, name: str = "00.trial", **flags: Any
) -> AbstractContextManager[TrialCell]:
    """A running cell, enrolled with an AHA if it is not yet."""
    if aha is not None and not (folder / "certs").exists():
        flags = {"enroll": make_url(aha, instance=name), **flags}
    flags = {"lease_s": 1.0, "stop_grace_s": 0.5, **flags}
    return running(TrialCell(load_config(TrialConfig, dir=folder, flags=flags, environ={})))


def raised(call: Any) -> CellError:
    """The error that a call raises."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return from_rpc_error(caught.value)


def audit_lines(cell: Any) -> list[str]:
    """The audit log of a cell, a line a record."""
    records, _ = audit.read(cell.slab, 0, 10_000)
    return [
        f"{item.kind} {item.actor} {item.action} {item.target} {item.detail} {item.peer}" for item in records
    ]
