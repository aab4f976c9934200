"""Every RPC of every kind of cell, called as a user without rights: what is for administrators is refused."""

from __future__ import annotations

import base64
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cellmesh.common.cell import running
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.errors import AuthDeny, from_rpc_error
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS, Level
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

PASSWORD = "correct horse battery"
CELLS = {"aha": "Aha", "axon": "Axon", "cortex": "Cortex", "cryotank": "Cryotank"}


def drain(call: Callable[..., Any], argument: Any, metadata: Any) -> None:
    """Call a method to its end."""
    found = call(argument, metadata=metadata, timeout=10)
    if isinstance(found, Iterator):
        list(found)


@pytest.mark.parametrize("kind", CELLS)
def test_what_is_for_administrators_is_refused_to_a_user_without_rights(kind: str, tmp_path: Path) -> None:
    cell_class = getattr(importlib.import_module(f"cellmesh.{kind}.cell"), f"{CELLS[kind]}Cell")
    config_class: type[CellConfig] = getattr(
        importlib.import_module(f"cellmesh.{kind}.config"), f"{CELLS[kind]}Config"
    )
    rows = importlib.import_module(f"cellmesh.{kind}.api.permissions").PERMISSIONS
    permissions = {**COMMON_PERMISSIONS, **rows}
    flags = {"password_history_count": 0}
    token = base64.b64encode(f"nobody:{PASSWORD}".encode()).decode()
    metadata = (("authorization", f"Basic {token}"),)
    with (
        running(cell_class(load_config(config_class, dir=tmp_path, flags=flags, environ={}))) as cell,
        open_channel(f"unix:{cell.folder.socket_path}") as channel,
    ):
        cell.auth.add_user("nobody")
        cell.passwords.set_password("nobody", PASSWORD)
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = list(stub.ServerReflectionInfo(iter([request]), timeout=10))
        refused = 0
        for service in answer.list_services_response.service:
            for method in descriptor_pool.Default().FindServiceByName(service.name).methods:
                path = f"/{service.name}/{method.name}"
                if permissions[path].level not in (Level.ADMIN, Level.PEER):
                    continue
                sends = "stream" if method.client_streaming else "unary"
                answers = "stream" if method.server_streaming else "unary"
                request_class = message_factory.GetMessageClass(method.input_type)
                call = getattr(channel, f"{sends}_{answers}")(path, request_class.SerializeToString)
                argument = iter([request_class()]) if method.client_streaming else request_class()
                with pytest.raises(grpc.RpcError) as caught:
                    drain(call, argument, metadata)
                error = from_rpc_error(caught.value)
                assert type(error) is AuthDeny, (path, error)
                assert "it is for administrators" in error.message
                refused += 1
        assert refused > 20
