"""Who may do what with which tank, with real credentials."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cellmesh.api.cryotank.v1 import tank_pb2 as pb
from cellmesh.api.cryotank.v1 import tank_service_pb2_grpc
from cellmesh.common.auth.rules import Rule, parse_path
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import AuthDeny, NoSuchTank, from_rpc_error
from cellmesh.cryotank.cell import CryotankCell
from cellmesh.cryotank.config import CryotankConfig
from cellmesh.cryotank.tanks import Batch

PASSWORD = "correct horse battery"


def rule_of_text(text: str) -> Rule:
    return Rule(not text.startswith("!"), parse_path(text.removeprefix("!")))


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[CryotankCell]:
    flags = {"insecure": True, "listen": "127.0.0.1:0", "password_hash_memory_kib": 64}
    config = load_config(CryotankConfig, dir=tmp_path / "cryotank", flags=flags, environ={})
    with running(CryotankCell(config)) as made:
        for name in ("alice", "bob"):
            made.auth.add_user(name)
            made.passwords.set_password(name, PASSWORD)
        yield made


class As:
    """Calls as a user."""

    def __init__(self, channel: grpc.Channel, user: str) -> None:
        self._stub: Any = tank_service_pb2_grpc.TankServiceStub(channel)
        token = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
        self._metadata = (("authorization", f"Basic {token}"),)

    def __call__(self, method: str, **request: Any) -> Any:
        message = getattr(pb, f"{method}Request")(**request)
        answer = getattr(self._stub, method)(
            iter([message]) if method == "AppendStream" else message, metadata=self._metadata, timeout=10
        )
        return (
            list(answer) if method in ("AppendStream", "ReadRows", "ReadRecords", "ListAppends") else answer
        )

    def refused(self, method: str, **request: Any) -> bool:
        try:
            self(method, **request)
        except grpc.RpcError as error:
            found = from_rpc_error(error)
            assert isinstance(found, AuthDeny), found
            return True
        return False


@pytest.fixture
def users(cell: CryotankCell) -> Iterator[Callable[[str], As]]:
    with grpc.insecure_channel(cell.tcp_address) as channel:
        yield lambda name: As(channel, name)


CALLS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "read": [
        ("ReadRows", {}),
        ("ReadRows", {"wait": True, "timeout": {"nanos": 1}}),
        ("ReadRows", {"consumer": "c"}),
        ("ReadRecords", {}),
        ("GetLastRecord", {}),
        ("SetConsumer", {"consumer": "c"}),
        ("ListConsumers", {}),
        ("DeleteConsumer", {"consumer": "c"}),
    ],
    "append": [("AppendRecords", {"packed": [b"\x01"]}), ("AppendStream", {"packed": [b"\x01"]})],
    "list": [("GetTank", {}), ("GetTankMetrics", {}), ("ListAppends", {})],
    "trim": [("TrimTank", {})],
    "update": [("UpdateTank", {})],
    "delete": [("DeleteTank", {})],
}


def test_each_right_on_a_tank_opens_its_calls_and_no_others(
    cell: CryotankCell, users: Callable[[str], As]
) -> None:
    alice = users("alice")
    user = cell.auth.get_user("alice")
    other, _ = cell.store.create("other")
    for granted in CALLS:
        tank, _ = cell.store.create("t")
        cell.auth.add_rule(user, rule_of_text(f"tank.{granted}"), tank.tank_id)
        for operation, calls in CALLS.items():
            for method, request in calls:
                assert alice.refused(method, name="t", **request) is (operation != granted), (method, granted)
                # Of a tank that it has no right on it does not even learn whether it is there.
                assert alice.refused(method, name="other", **request)
                assert alice.refused(method, name="none", **request)
        if granted != "delete":
            cell.store.delete("t")
        assert tank.tank_id not in cell.auth.policy.gates
    assert cell.auth.get_gate(other.tank_id).kind == "tank"


def test_a_right_everywhere_may_be_taken_away_on_one_tank(
    cell: CryotankCell, users: Callable[[str], As]
) -> None:
    alice = users("alice")
    cell.auth.add_rule(cell.auth.get_user("alice"), rule_of_text("tank"))
    tank, _ = cell.store.create("secret")
    cell.store.create("open")
    cell.auth.add_rule(cell.auth.get_user("alice"), rule_of_text("!tank"), tank.tank_id)
    assert [item.name for item in alice("ListTanks").tanks] == ["open"]
    assert [info.tank.name for info in alice("ListTanks").infos] == ["open"]
    assert alice.refused("ReadRows", name="secret")
    assert not alice.refused("ReadRows", name="open")
    with pytest.raises(grpc.RpcError) as caught:
        alice("ReadRows", name="none")
    assert isinstance(from_rpc_error(caught.value), NoSuchTank)


def test_who_makes_a_tank_administers_it(cell: CryotankCell, users: Callable[[str], As]) -> None:
    alice, bob = users("alice"), users("bob")
    assert alice.refused("CreateTank", name="mine")
    assert alice.refused("ListTanks")
    cell.auth.add_rule(cell.auth.get_user("alice"), rule_of_text("tank.create"))
    tank_id = alice("CreateTank", name="mine").tank.tank_id
    assert alice("AppendRecords", name="mine", packed=[b"\x01"]).count == 1
    assert [item.name for item in alice("ListTanks").tanks] == ["mine"]
    assert bob.refused("ReadRows", name="mine")
    cell.auth.add_rule(cell.auth.get_role("all"), rule_of_text("tank.read"), tank_id)
    assert bob("ReadRows", name="mine")[0].runs[0].items == [b"\x01"]
    assert bob.refused("AppendRecords", name="mine", packed=[b"\x01"])
    alice("DeleteTank", name="mine")
    assert tank_id not in cell.auth.policy.gates


def test_a_right_that_is_taken_away_ends_a_wait(cell: CryotankCell, users: Callable[[str], As]) -> None:
    alice, user = users("alice"), cell.auth.get_user("alice")
    tank, _ = cell.store.create("t")
    rule = rule_of_text("tank.read")
    cell.auth.add_rule(user, rule, tank.tank_id)
    reading = alice._stub.ReadRows(pb.ReadRowsRequest(name="t", wait=True), metadata=alice._metadata)
    cell.store.append("t", Batch.of([b"\x01"], 1))
    assert next(reading).runs[0].items == [b"\x01"]
    cell.auth.remove_rule(user, rule, tank.tank_id)
    cell.store.append("t", Batch.of([b"\x02"], 1))
    with pytest.raises(grpc.RpcError) as caught:
        next(reading)
    assert isinstance(from_rpc_error(caught.value), AuthDeny)
