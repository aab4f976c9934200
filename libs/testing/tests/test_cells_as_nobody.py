"""Every RPC of every kind of cell, on real servers with TLS, as a stranger, as a user without rights, as a locked user.

The methods are those that the servers themselves tell of, so that a new one is walked too: it is denied, or it has a line
in `OPEN_TO_ANYONE` or `OPEN_TO_USERS` that says why it is not.
"""

from __future__ import annotations

import base64
import importlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from cellmesh.api.aha.v1 import enrollment_pb2, enrollment_service_pb2_grpc
from cellmesh.common.auth.rules import Rule
from cellmesh.common.cell import Cell, running
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.errors import AuthDeny, CellError, Unauthenticated, from_rpc_error
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.rpc.permissions import Level
from cellmesh.common.tls import certs
from cellmesh.common.tls.enrollment import enroll
from cellmesh.common.tls.folder import IdentityFolder, MeshInfo
from cellmesh.common.tls.identity import CellIdentity, Identity, UserIdentity
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

ROOT = Path(__file__).resolve().parents[3]
KINDS: Final = sorted(path.name for path in (ROOT / "services").iterdir() if (path / "cellmesh").is_dir())
PASSWORD: Final = "correct horse battery"
CALL_S: Final = 3.0

OPEN_TO_ANYONE: Final = {
    "grpc.health.v1.Health": "orchestrators ask without a certificate; the answer is one word",
    "grpc.reflection.v1alpha.ServerReflection": "what there is to call is no secret: the protos are public",
    "cellmesh.api.aha.v1.EnrollmentService/Enroll": "who has no certificate yet shows the secret of a one-time URL",
}
"""Services and methods that a stranger may call, and why."""

OPEN_TO_USERS: Final = {
    "cellmesh.api.common.v1.CellService/GetCellInfo": "kind, name and version of the cell",
    "cellmesh.api.common.v1.AuthService/GetCurrentUser": "the user itself",
    "cellmesh.api.common.v1.AuthService/GetUser": "the user itself",
    "cellmesh.api.common.v1.AuthService/CheckAccess": "what the user itself may do",
    "cellmesh.api.common.v1.AuthService/SetPassword": "its own password, by showing the present one",
    "cellmesh.api.common.v1.AuthService/CreateApiKey": "keys of its own, which can do no more than it",
    "cellmesh.api.common.v1.AuthService/ListApiKeys": "its own keys",
    "cellmesh.api.common.v1.AuthService/RevokeApiKey": "its own keys",
    "cellmesh.api.cortex.v1.LayerService/ReadLayerEdits": "edits of the layers that it may read",
    "cellmesh.api.cortex.v1.HttpApiService/CallHttpApi": "each endpoint says who may call it; the answer is HTTP's 401 or 403",
    "cellmesh.api.common.v1.TaskService/ListTasks": "its own calls",
    "cellmesh.api.common.v1.TaskService/CancelTask": "its own calls",
    "cellmesh.api.common.v1.CallService/Pipeline": "carries calls of other methods, each with its own row",
    "cellmesh.api.common.v1.MirrorService/GetMirrorStatus": "clients find the leader by it",
    "cellmesh.api.aha.v1.RegistryService/GetService": "clients find cells by it",
    "cellmesh.api.aha.v1.RegistryService/ListInstances": "clients find cells by it",
    "cellmesh.api.aha.v1.RegistryService/WatchInstances": "clients find cells by it",
    "cellmesh.api.aha.v1.RegistryService/ListServices": "clients find cells by it",
    "cellmesh.api.aha.v1.RegistryService/GetNetwork": "the name of the network, which is in its certificate",
    "cellmesh.api.aha.v1.PoolService/GetPool": "clients find cells by it",
    "cellmesh.api.aha.v1.PoolService/ListPools": "clients find cells by it",
    "cellmesh.api.aha.v1.CertificateService/WatchRevocations": "which certificates hold no more; no secret, and all must know",
    "envoy.service.discovery.v3.AggregatedDiscoveryService": "clients find cells by it",
    "cellmesh.api.aha.v1.LeadershipService/GetLeadership": "clients find the leader by it",
    "cellmesh.api.aha.v1.CertificateService/GetAuthority": "the certificate that all in the network trust; no key",
    "cellmesh.api.aha.v1.CertificateService/RenewCertificate": "a new certificate for the very name that it has",
}
"""Methods that a user without any rule may call beside those, and why. What they return is its own, or no secret."""

_KEY_VALUES: Final = "cellmesh.api.common.v1.KeyValueService"
REQUESTS: Final[dict[str, dict[str, Any]]] = {
    **{f"{_KEY_VALUES}/{name}KeyValue": {"path": ["some", "place"]} for name in ("Get", "Set", "Add", "Pop")},
    f"{_KEY_VALUES}/MoveKeyValues": {"path": ["some", "place"], "newPath": ["other", "place"]},
    f"{_KEY_VALUES}/LoadKeyValues": {"keyValues": [{"path": ["some", "place"]}]},
    "cellmesh.api.aha.v1.RegistryService/RegisterInstance": {
        "instance": {"name": "00.axon.demo", "address": "127.0.0.1:1"}
    },
    "cellmesh.api.common.v1.AuthService/SetPassword": {"password": "short", "currentPassword": PASSWORD},
}
"""Requests, as JSON, of methods whose handlers look at the request before they can say who may. Others get an empty one."""


@dataclass(frozen=True, slots=True)
class Walk:
    """A running cell with a port for certificates and one for logins, and who comes to it.

    Attributes:
        cell: The cell.
        methods: Every method that its server tells of, by path.
        stranger: A channel without certificate.
        certified: A channel with the certificate of the user nobody.
    """

    cell: Cell[Any]
    stranger: grpc.Channel
    certified: grpc.Channel
    methods: dict[str, MethodDescriptor] = field(default_factory=dict)


def cell_of(kind: str, folder: Path) -> Cell[Any]:
    cell_class = getattr(importlib.import_module(f"cellmesh.{kind}.cell"), f"{kind.title()}Cell")
    config_class: type[CellConfig] = getattr(
        importlib.import_module(f"cellmesh.{kind}.config"), f"{kind.title()}Config"
    )
    flags = {"login_listen": "127.0.0.1:0", "password_hash_memory_kib": 64}
    made: Cell[Any] = cell_class(load_config(config_class, dir=folder, flags=flags, environ={}))
    return made


def give(folder: IdentityFolder, authority: Any, key: Any, identity: Identity) -> None:
    own_key = certs.make_key()
    certificate = certs.issue(authority, key, own_key.public_key(), identity)
    pems = certs.to_pem(certificate), certs.key_to_pem(own_key), certs.to_pem(authority)
    folder.store(*pems, MeshInfo(identity.name, "demo"))


def enroll_user(cell: Cell[Any], folder: IdentityFolder) -> None:
    """Get a certificate from a running AHA."""
    with open_channel(f"unix:{cell.folder.socket_path}") as channel:
        stub = enrollment_service_pb2_grpc.CertificateServiceStub(channel)
        enroll(
            stub.CreateEnrollment(enrollment_pb2.CreateEnrollmentRequest(user="nobody"), timeout=10).url,
            folder,
        )


@pytest.fixture(params=KINDS)
def walk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Walk]:
    kind = request.param
    user = IdentityFolder(tmp_path / "user")
    if kind != "aha":
        authority, key = certs.make_authority("demo")
        give(IdentityFolder(tmp_path / "cell" / "certs"), authority, key, CellIdentity("00", kind, "demo"))
        give(user, authority, key, UserIdentity("nobody", "demo"))
    with running(cell_of(kind, tmp_path / "cell")) as cell:
        if kind == "aha":
            enroll_user(cell, user)
        network = cell.name.rpartition(".")[2]
        cell.auth.add_user("nobody")
        cell.passwords.set_password("nobody", PASSWORD)
        with (
            open_channel(
                cell.login_address,
                authority_pem=user.load().authority_pem,
                server_name=f"cell.{network}",
            ) as stranger,
            open_channel(cell.tcp_address, identity=user, server_name=cell.name) as certified,
        ):
            yield Walk(cell, stranger, certified, reflected(stranger))


def reflected(channel: grpc.Channel) -> dict[str, MethodDescriptor]:
    """Every method that a server says it has."""
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = list(stub.ServerReflectionInfo(iter([request]), timeout=10))
    pool = descriptor_pool.Default()
    return {
        f"{service.name}/{method.name}": method
        for service in answer.list_services_response.service
        for method in pool.FindServiceByName(service.name).methods
    }


def basic(name: str, password: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()),)


def call(
    channel: grpc.Channel, name: str, method: MethodDescriptor, metadata: tuple[tuple[str, str], ...] = ()
) -> CellError | None:
    """Call a method; what it fails with, None if it answers."""
    sends = "stream" if method.client_streaming else "unary"
    answers = "stream" if method.server_streaming else "unary"
    request_class = message_factory.GetMessageClass(method.input_type)
    response_class = message_factory.GetMessageClass(method.output_type)
    request = json_format.ParseDict(REQUESTS.get(name, {}), request_class())
    rpc = getattr(channel, f"{sends}_{answers}")(
        f"/{name}", request_class.SerializeToString, response_class.FromString
    )
    try:
        answer = rpc(
            iter([request]) if method.client_streaming else request, metadata=metadata, timeout=CALL_S
        )
        if method.server_streaming:
            try:
                next(iter(answer), None)
            finally:
                answer.cancel()
    except grpc.RpcError as error:
        return from_rpc_error(error)
    return None


def is_open(name: str, table: dict[str, str]) -> bool:
    """Whether a method, or its service as a whole, has a line in a table."""
    return name in table or name.partition("/")[0] in table


def test_a_stranger_is_refused_everything_that_is_not_open_to_anyone(walk: Walk) -> None:
    for name, method in walk.methods.items():
        error = call(walk.stranger, name, method)
        if is_open(name, OPEN_TO_ANYONE):
            assert not isinstance(error, AuthDeny | Unauthenticated), (name, error)
        else:
            assert type(error) is Unauthenticated, (name, error)


def test_a_user_without_rights_is_refused_everything_that_has_no_line(walk: Walk) -> None:
    before = walk.cell.auth.policy
    refused = 0
    for name, method in walk.methods.items():
        error = call(walk.certified, name, method)
        if is_open(name, OPEN_TO_ANYONE) or is_open(name, OPEN_TO_USERS):
            assert not isinstance(error, AuthDeny), (name, error)
        else:
            assert type(error) is AuthDeny, (name, error)
            refused += 1
    assert refused > 30
    # A key of its own is all that it could make.
    after = walk.cell.auth.policy
    for part in ("users", "roles", "gates", "credentials"):
        assert getattr(after, part) == getattr(before, part)


def test_a_rule_that_denies_closes_what_is_open_to_users(walk: Walk) -> None:
    rows = importlib.import_module(f"cellmesh.{walk.cell.kind}.api.permissions").PERMISSIONS
    nobody = walk.cell.auth.get_user("nobody")
    paths = {row.path for row in rows.values() if row.level is not Level.ANYONE}
    assert all(paths)
    walk.cell.auth.set_rules(nobody, [Rule(False, path) for path in sorted(paths)])
    for name, method in walk.methods.items():
        if not is_open(name, OPEN_TO_ANYONE):
            assert type(call(walk.certified, name, method)) is AuthDeny, name


def test_a_locked_user_is_refused_everything_by_certificate_password_and_key(walk: Walk) -> None:
    auth = walk.cell.auth
    # It may do everything, if it may do anything.
    auth.update_user("nobody", admin=True)
    _, text = walk.cell.passwords.make_key("nobody", "k")
    password, key = basic("nobody", PASSWORD), (("authorization", f"Bearer {text}"),)
    info = "cellmesh.api.common.v1.CellService/GetCellInfo"
    ways = ((walk.certified, ()), (walk.stranger, password), (walk.stranger, key))
    for channel, metadata in ways:
        assert call(channel, info, walk.methods[info], metadata) is None
    # At once, on connections that are open, and for a password that was just found right.
    auth.update_user("nobody", locked=True)
    for channel, metadata in ways:
        assert isinstance(call(channel, info, walk.methods[info], metadata), AuthDeny | Unauthenticated)
    for name, method in walk.methods.items():
        if not is_open(name, OPEN_TO_ANYONE):
            error = call(walk.certified, name, method)
            assert type(error) is AuthDeny, (name, error)
            assert "user nobody is locked" in error.message
            assert type(call(walk.stranger, name, method, key)) is AuthDeny, name


def test_every_line_is_of_a_method_that_some_cell_has() -> None:
    pool = descriptor_pool.Default()
    for kind in KINDS:
        importlib.import_module(f"cellmesh.{kind}.cell")
    for line in (*OPEN_TO_ANYONE, *OPEN_TO_USERS, *REQUESTS):
        service, _, method = line.partition("/")
        assert not method or method in pool.FindServiceByName(service).methods_by_name, line
