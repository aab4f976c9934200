"""Users of real cells, over real TLS: logins, lockout, certificates, rights, restarts, every RPC as nobody special."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import grpc
import pytest
from cellmesh.api.common.v1 import auth_pb2, auth_service_pb2_grpc, cell_service_pb2, cell_service_pb2_grpc
from cellmesh.api.common.v1 import auth_service_pb2 as pb
from cellmesh.common.auth.context import current_caller
from cellmesh.common.auth.denials import FLUSH_S
from cellmesh.common.auth.rules import Rule
from cellmesh.common.cell import Cell, running
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.errors import (
    AuthDeny,
    BadArg,
    BadConfValu,
    CellError,
    DupUserName,
    NeedConfValu,
    NoSuchIden,
    NoSuchUser,
    Unauthenticated,
    from_rpc_error,
)
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS, Level
from cellmesh.common.storage import SubDb
from cellmesh.common.tls import certs
from cellmesh.common.tls.folder import IdentityFolder, MeshInfo
from cellmesh.common.tls.identity import CellIdentity, Identity, UserIdentity
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

FACTS = SubDb("facts", "name -> what it is")
GOOD = "correct horse battery"
OTHER = "staple under bridges"


class TrialConfig(CellConfig):
    kind: ClassVar[str] = "trial"


class TrialCell(Cell[TrialConfig]):
    """A cell with nothing of its own, which notes who asks for its information."""

    kind = "trial"
    databases = (FACTS,)

    def __init__(self, config: TrialConfig) -> None:
        super().__init__(config)
        self.seen: list[tuple[str, bool, str]] = []

    def change_offset(self) -> int:
        caller = current_caller()
        user = self.auth.find_user_of(caller)
        self.seen.append((caller.name, caller.admin, user.name if user else ""))
        return 0


class Network:
    """An authority, and a cell of its network with a port for logins."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.certificate, self._key = certs.make_authority("demo")
        self.give("cell/certs", CellIdentity("00", "trial", "demo"))
        (path / "trust").mkdir()
        (path / "trust" / "ca.crt").write_bytes(certs.to_pem(self.certificate))

    def give(self, name: str, identity: Identity) -> IdentityFolder:
        key = certs.make_key()
        certificate = certs.issue(self.certificate, self._key, key.public_key(), identity)
        folder = IdentityFolder(self.path / name)
        pems = certs.to_pem(certificate), certs.key_to_pem(key), certs.to_pem(self.certificate)
        folder.store(*pems, MeshInfo(identity.name, "demo"))
        return folder

    def cell(self, **flags: Any) -> TrialCell:
        flags = {"login_listen": "127.0.0.1:0", "password_attempts_max": 3, **flags}
        return TrialCell(load_config(TrialConfig, dir=self.path / "cell", flags=flags, environ={}))


@pytest.fixture
def network(tmp_path: Path) -> Network:
    return Network(tmp_path)


@pytest.fixture
def cell(network: Network) -> Iterator[TrialCell]:
    with running(network.cell()) as made:
        made.auth.add_user("alice")
        made.auth.add_user("boss", admin=True)
        yield made


def basic(user: str, password: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()),)


def bearer(text: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {text}"),)


class Wire:
    """Calls to a cell by one channel, with or without credentials."""

    def __init__(self, channel: grpc.Channel, metadata: tuple[tuple[str, str], ...] = ()) -> None:
        self.channel, self.metadata = channel, metadata
        self.auth = auth_service_pb2_grpc.AuthServiceStub(channel)
        self.cell = cell_service_pb2_grpc.CellServiceStub(channel)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """The RPC of AuthService of this name, with the fields of its request."""
        method, request = getattr(self.auth, name), getattr(pb, f"{name}Request")

        def call(**fields: Any) -> Any:
            try:
                return method(request(**fields), metadata=self.metadata, timeout=10)
            except grpc.RpcError as error:
                raise from_rpc_error(error) from None

        return call

    def info(self) -> cell_service_pb2.CellInfo:
        try:
            request = cell_service_pb2.GetCellInfoRequest()
            return self.cell.GetCellInfo(request, metadata=self.metadata, timeout=10).cell
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    def with_(self, metadata: tuple[tuple[str, str], ...]) -> Wire:
        return Wire(self.channel, metadata)


@pytest.fixture
def root(cell: TrialCell) -> Iterator[Wire]:
    with open_channel(f"unix:{cell.folder.socket_path}") as channel:
        yield Wire(channel)


@pytest.fixture
def login(network: Network, cell: TrialCell) -> Iterator[Wire]:
    """The port for logins, over TLS without a certificate of one's own."""
    authority_pem = certs.to_pem(network.certificate)
    with open_channel(cell.login_address, authority_pem=authority_pem, server_name="cell.demo") as channel:
        yield Wire(channel)


def test_passwords_and_keys_log_in_over_tls(cell: TrialCell, root: Wire, login: Wire) -> None:
    assert cell.login_address != cell.tcp_address
    with pytest.raises(Unauthenticated):
        login.info()
    root.SetPassword(user="alice", password=GOOD)
    alice = login.with_(basic("alice", GOOD))
    assert alice.info().kind == "trial"
    assert alice.GetCurrentUser().user.name == "alice"
    made = alice.CreateApiKey(name="loader")
    by_key = login.with_(bearer(made.text))
    assert by_key.GetCurrentUser().user.name == "alice"
    root.SetPassword(user="boss", password=OTHER)
    boss = login.with_(basic("boss", OTHER))
    boss.info()
    assert cell.seen == [("alice", False, "alice"), ("boss", True, "boss")]
    assert [user.name for user in boss.ListUsers().users] == ["alice", "boss", "root"]
    # Revoked is over at once, and so is a password that was replaced, though it was remembered.
    alice.RevokeApiKey(key_id=made.api_key.key_id)
    with pytest.raises(Unauthenticated):
        by_key.info()
    root.SetPassword(user="alice", password=OTHER)
    with pytest.raises(Unauthenticated):
        alice.info()
    boss.UpdateUser(user="alice", locked=True)
    with pytest.raises(Unauthenticated):
        login.with_(basic("alice", OTHER)).info()


@pytest.mark.parametrize(
    "header",
    [
        "", "Basic", "Basic !!!", "Basic " + base64.b64encode(b"alice").decode(), "Bearer", "Bearer x.y.z",
        "Digest abc", "Basic " + base64.b64encode(b"\xff\xfe:x").decode(), "Basic " + "A" * 5000, "alice",
    ],
)  # fmt: skip
def test_malformed_credentials_are_refused_even_from_root_and_by_methods_open_to_anyone(
    cell: TrialCell, root: Wire, header: str
) -> None:
    with pytest.raises(Unauthenticated):
        root.with_((("authorization", header),)).info()
    assert cell.seen == []


def test_credentials_decide_whatever_the_connection_is(cell: TrialCell, root: Wire) -> None:
    root.SetPassword(user="alice", password=GOOD)
    alice = root.with_(basic("alice", GOOD))
    alice.info()
    assert cell.seen == [("alice", False, "alice")]
    with pytest.raises(AuthDeny):
        alice.ListUsers()


def test_wrong_passwords_lock_over_the_wire_and_are_on_record(
    network: Network, cell: TrialCell, root: Wire, login: Wire
) -> None:
    root.SetPassword(user="alice", password=GOOD)
    for _ in range(3):
        with pytest.raises(Unauthenticated, match="is wrong, or the user is locked"):
            login.with_(basic("alice", "wrong wrong wrong")).info()
    assert root.GetUser(user="alice").user.locked
    with pytest.raises(Unauthenticated, match="is wrong, or the user is locked"):
        login.with_(basic("alice", GOOD)).info()
    time.sleep(FLUSH_S + 0.3)
    records = root.ListAuditRecords().records
    denials = [record for record in records if record.kind == auth_pb2.AUDIT_KIND_DENIAL]
    assert sum(record.count for record in denials) == 4
    assert {record.actor for record in denials} == {"alice"}
    assert {record.peer for record in denials} == {"ipv4:127.0.0.1"}
    assert any(record.detail == "locked after wrong passwords" for record in records)
    assert root.CheckAuditLog().sound
    root.UpdateUser(user="alice", locked=False)
    assert login.with_(basic("alice", GOOD)).info().kind == "trial"


def test_a_one_time_password_is_good_for_one_call_which_may_set_the_password(root: Wire, login: Wire) -> None:
    once = root.CreateOneTimePassword(user="alice").password
    login.with_(basic("alice", once)).SetPassword(password=GOOD)
    with pytest.raises(Unauthenticated):
        login.with_(basic("alice", once)).info()
    alice = login.with_(basic("alice", GOOD))
    # Without the present one, nobody who found an open terminal sets a new one.
    with pytest.raises(Unauthenticated):
        alice.SetPassword(password=OTHER)
    with pytest.raises(AuthDeny):
        alice.SetPassword(password="", current_password=GOOD)
    with pytest.raises(BadArg, match="12 characters"):
        alice.SetPassword(password="short", current_password=GOOD)
    alice.SetPassword(password=OTHER, current_password=GOOD)
    assert login.with_(basic("alice", OTHER)).GetCurrentUser().user.has_password


def test_certificates_are_those_of_users_the_cell_knows(
    network: Network, cell: TrialCell, root: Wire
) -> None:
    def call(identity: Identity) -> Wire:
        folder = network.give(identity.name, identity)
        return Wire(open_channel(cell.tcp_address, identity=folder, server_name="00.trial.demo"))

    alice, mallory = call(UserIdentity("alice", "demo")), call(UserIdentity("mallory", "demo"))
    other = call(CellIdentity("00", "axon", "demo"))
    chief = call(UserIdentity("root", "demo"))
    for who in (alice, other, chief):
        who.info()
    assert cell.seen == [
        ("alice@demo", False, "alice"),
        ("00.axon.demo", False, ""),
        ("root@demo", True, "root"),
    ]
    with pytest.raises(
        AuthDeny, match="mallory@demo has a certificate of the network and is no user of this cell"
    ):
        mallory.info()
    assert alice.GetCurrentUser().user.name == "alice"
    with pytest.raises(NoSuchUser):
        other.GetCurrentUser()
    with pytest.raises(AuthDeny):
        other.GetUser(user="alice")
    chief.UpdateUser(user="alice", admin=True)
    assert len(alice.ListUsers().users) == 3
    chief.UpdateUser(user="alice", admin=False, archived=True)
    with pytest.raises(AuthDeny, match="user alice is archived"):
        alice.info()
    assert [user.name for user in chief.ListUsers().users] == ["boss", "root"]
    for who in (alice, mallory, other, chief):
        who.channel.close()


def test_rules_say_which_user_a_certificate_is_for(network: Network) -> None:
    rules = ["robot-*@demo=robot", "ops@demo=root", "gone@demo=-", "al@demo=missing"]
    with running(network.cell(auth_certificates=rules)) as cell:
        for name in ("robot", "alice", "gone"):
            cell.auth.add_user(name)

        def info(name: str) -> None:
            identity = UserIdentity(name, "demo")
            folder = network.give(identity.name, identity)
            with open_channel(cell.tcp_address, identity=folder, server_name="00.trial.demo") as channel:
                Wire(channel).info()

        for name in ("robot-1", "robot-2", "ops", "alice"):
            info(name)
        assert cell.seen == [
            ("robot-1@demo", False, "robot"),
            ("robot-2@demo", False, "robot"),
            ("ops@demo", True, "root"),
            ("alice@demo", False, "alice"),
        ]
        with pytest.raises(AuthDeny, match="for no user of this cell"):
            info("gone")
        with pytest.raises(AuthDeny, match="cellmesh auth user add missing"):
            info("al")
        cell.auth.update_user("robot", locked=True)
        with pytest.raises(AuthDeny, match="user robot is locked"):
            info("robot-1")


def test_rules_of_certificates_are_settings_and_checked_at_start(tmp_path: Path) -> None:
    environ = {"CELLMESH_TRIAL_AUTH_CERTIFICATES": "a@demo=b, *@*=-"}
    config = load_config(TrialConfig, dir=tmp_path, environ=environ)
    assert config.auth_certificates == ("a@demo=b", "*@*=-")
    with pytest.raises(BadConfValu, match="nonsense"):
        load_config(TrialConfig, dir=tmp_path, flags={"auth_certificates": ["nonsense"]}, environ={})


def test_a_rule_denies_a_method_by_the_name_in_its_row(cell: TrialCell, root: Wire, login: Wire) -> None:
    root.SetPassword(user="alice", password=GOOD)
    alice = login.with_(basic("alice", GOOD))
    alice.info()
    root.AddRule(role="all", rule=auth_pb2.Rule(path=["cell", "info"]))
    with pytest.raises(AuthDeny, match=r"rule !cell\.info of role all") as caught:
        alice.info()
    assert caught.value.get("perm") == "cell.info"
    root.AddRule(user="alice", rule=auth_pb2.Rule(allow=True, path=["cell"]))
    alice.info()
    told = alice.CheckAccess(path=["cell", "info"])
    assert (told.allowed, told.reason) == (True, "rule cell of user alice")
    # An allow rule opens nothing that is for administrators.
    root.AddRule(user="alice", rule=auth_pb2.Rule(allow=True, path=["auth"]))
    with pytest.raises(AuthDeny):
        alice.UpdateUser(user="alice", admin=True)


def test_who_is_no_administrator_reaches_itself_only(cell: TrialCell, root: Wire, login: Wire) -> None:
    root.SetPassword(user="alice", password=GOOD)
    key = root.CreateApiKey(user="boss", name="his").api_key
    alice = login.with_(basic("alice", GOOD))
    attempts: list[Callable[[], Any]] = [
        lambda: alice.GetUser(user="boss"),
        lambda: alice.GetUser(user="nobody"),
        lambda: alice.SetPassword(user="boss", password=OTHER),
        lambda: alice.CreateApiKey(user="boss"),
        lambda: alice.ListApiKeys(user="root"),
        lambda: alice.CheckAccess(user="boss", path=["a"]),
    ]
    for attempt in attempts:
        with pytest.raises(AuthDeny, match="reaches itself only"):
            attempt()
    with pytest.raises(NoSuchIden):
        alice.RevokeApiKey(key_id=key.key_id)
    assert len(root.ListApiKeys(user="boss").api_keys) == 1


def reflected_methods(channel: grpc.Channel) -> list[tuple[str, Any]]:
    """Every method that the server says it has: its path and its descriptor."""
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = list(stub.ServerReflectionInfo(iter([request]), timeout=10))
    found = []
    for service in answer.list_services_response.service:
        descriptor = descriptor_pool.Default().FindServiceByName(service.name)
        found += [(f"/{service.name}/{method.name}", method) for method in descriptor.methods]
    return found


def call_empty(channel: grpc.Channel, path: str, method: Any, metadata: Any) -> CellError | None:
    """Call a method with an empty request; what it fails with."""
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    request_class = message_factory.GetMessageClass(method.input_type)
    response_class = message_factory.GetMessageClass(method.output_type)
    call = getattr(channel, kind)(path, request_class.SerializeToString, response_class.FromString)
    argument = iter([request_class()]) if method.client_streaming else request_class()
    try:
        answer = call(argument, metadata=metadata, timeout=5)
        if method.server_streaming:
            next(iter(answer), None)
            answer.cancel()
    except grpc.RpcError as error:
        return from_rpc_error(error)
    return None


def test_every_rpc_is_refused_to_a_user_without_rights_unless_its_row_is_for_members(
    cell: TrialCell, root: Wire, login: Wire
) -> None:
    root.SetPassword(user="alice", password=GOOD)
    metadata = basic("alice", GOOD)
    before = cell.auth.policy
    walked = reflected_methods(login.channel)
    assert len([path for path, _ in walked if "AuthService" in path]) == 29
    refused = 0
    for path, method in walked:
        level = COMMON_PERMISSIONS[path].level
        error = call_empty(login.channel, path, method, metadata)
        if level in (Level.ADMIN, Level.PEER):
            assert type(error) is AuthDeny, (path, error)
            assert "it is for administrators" in error.message, path
            refused += 1
        else:
            assert error is None or "it is for administrators" not in error.message, (path, error)
        stranger = call_empty(login.channel, path, method, ())
        if level is not Level.ANYONE:
            assert isinstance(stranger, Unauthenticated), (path, stranger)
        if level is Level.ADMIN:
            assert not isinstance(call_empty(root.channel, path, method, ()), AuthDeny), path
    assert refused >= 21
    # A key of her own is all that she could make.
    after = cell.auth.policy
    for part in ("users", "roles", "gates", "credentials"):
        assert getattr(after, part) == getattr(before, part)


def test_a_restart_keeps_everything(network: Network) -> None:
    with running(network.cell()) as cell, open_channel(f"unix:{cell.folder.socket_path}") as channel:
        root = Wire(channel)
        root.CreateUser(name="alice", email="a@example.com")
        with pytest.raises(DupUserName):
            root.CreateUser(name="alice")
        root.CreateRole(name="hunters")
        root.GrantRole(user="alice", role="hunters")
        root.AddRule(role="hunters", rule=auth_pb2.Rule(allow=True, path=["node", "add"]))
        cell.auth.add_gate("layer1", "layer")
        root.AddRule(user="alice", gate_id="layer1", rule=auth_pb2.Rule(path=["node"]))
        root.SetGateAdmin(
            user="boss" if cell.auth.policy.find_user("boss") else "alice", gate_id="layer1", admin=False
        )
        root.SetPassword(user="alice", password=GOOD)
        text = root.CreateApiKey(user="alice", name="k").text
        before, head = cell.auth.policy, root.CheckAuditLog()
        assert head.sound
    with running(network.cell()) as cell, open_channel(f"unix:{cell.folder.socket_path}") as channel:
        root = Wire(channel)
        assert cell.auth.policy == before
        alice = cell.auth.user("alice")
        assert alice.allowed("node.add")
        assert not alice.allowed("node.add", "layer1")
        assert root.with_(bearer(text)).GetCurrentUser().user.email == "a@example.com"
        assert root.with_(basic("alice", GOOD)).GetCurrentUser().user.name == "alice"
        known = root.CheckAuditLog(known_offset=head.record_count - 1, known_hash=head.head_hash)
        assert known.sound


def test_strangers_may_count_as_a_user_but_never_as_administrator(network: Network) -> None:
    with running(network.cell(auth_anonymous="guest")) as cell:
        authority_pem = certs.to_pem(network.certificate)
        with open_channel(
            cell.login_address, authority_pem=authority_pem, server_name="cell.demo"
        ) as channel:
            stranger = Wire(channel)
            with pytest.raises(Unauthenticated):
                stranger.info()  # there is no such user yet
            cell.auth.add_user("guest")
            stranger.info()
            assert cell.seen == [("guest", False, "guest")]
            cell.auth.set_rules(cell.auth.get_user("guest"), [Rule.parse("!cell")])
            with pytest.raises(AuthDeny):
                stranger.info()
            cell.auth.update_user("guest", admin=True)
            with pytest.raises(Unauthenticated):
                stranger.info()
            with pytest.raises(Unauthenticated):
                stranger.with_(basic("guest", "")).info()


def test_an_insecure_cell_takes_credentials_from_this_machine_and_no_login_port(tmp_path: Path) -> None:
    config = load_config(TrialConfig, dir=tmp_path / "a", flags={"insecure": True}, environ={})
    with running(TrialCell(config)) as cell, open_channel(cell.tcp_address) as channel:
        cell.auth.add_user("alice")
        cell.passwords.set_password("alice", GOOD)
        Wire(channel, basic("alice", GOOD)).info()
        Wire(channel).info()
        assert cell.seen == [("alice", False, "alice"), ("root", True, "root")]
    flags = {"insecure": True, "login_listen": "127.0.0.1:0"}
    config = load_config(TrialConfig, dir=tmp_path / "b", flags=flags, environ={})
    with pytest.raises(NeedConfValu, match="nobody can log in with TLS"), running(TrialCell(config)):
        pass


def test_pages_of_users_come_by_name(cell: TrialCell, root: Wire) -> None:
    for index in range(5):
        root.CreateUser(name=f"user {index}")
    names, token = [], ""
    while True:
        page = root.ListUsers(page_size=3, page_token=token)
        assert len(page.users) <= 3
        names += [user.name for user in page.users]
        token = page.next_page_token
        if not token:
            break
    assert names == ["alice", "boss", "root", *(f"user {index}" for index in range(5))]
    with pytest.raises(BadArg):
        root.ListUsers(page_token="xyz")
