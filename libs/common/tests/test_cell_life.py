"""The life of a cell: start order, folder, lock, identity, TLS, health, stop; in process and as a process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import grpc
import pytest
from cellmesh.api.common.v1 import cell_service_pb2, cell_service_pb2_grpc
from cellmesh.common.auth.context import current_caller
from cellmesh.common.cell import Cell, CellState, Part, PartHealth, PartState, running
from cellmesh.common.cell.disk import DiskSpace
from cellmesh.common.cell.folder import CellFolder, read_run
from cellmesh.common.cell.health import HealthWatch
from cellmesh.common.cell.part import WELL
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.errors import (
    BadArg,
    BadConfValu,
    BadState,
    CellUnreachable,
    NeedConfValu,
    StorageLocked,
    Unauthenticated,
    from_rpc_error,
)
from cellmesh.common.rpc import Service
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.rpc.health import NOT_SERVING, SERVING, HealthBoard
from cellmesh.common.storage import SubDb
from cellmesh.common.tls import certs
from cellmesh.common.tls.contexts import trusting_credentials
from cellmesh.common.tls.folder import IdentityFolder, MeshInfo
from cellmesh.common.tls.identity import CellIdentity, Identity, UserIdentity

FACTS = SubDb("facts", "name -> what it is")


class TrialConfig(CellConfig):
    kind: ClassVar[str] = "trial"


class TrialPart:
    """Notes what happens to it; may fail."""

    def __init__(self, name: str, events: list[str], *, fails: bool = False) -> None:
        self._name = name
        self._events = events
        self._fails = fails
        self.state = WELL

    @property
    def name(self) -> str:
        return self._name

    async def start(self) -> None:
        if self._fails:
            raise BadArg(f"part {self._name} cannot start")
        self._events.append(f"+{self._name}")

    async def stop(self) -> None:
        self._events.append(f"-{self._name}")

    def health(self) -> PartHealth:
        return self.state


class TrialCell(Cell[TrialConfig]):
    kind = "trial"
    databases = (FACTS,)

    def __init__(self, config: TrialConfig, *, fails: bool = False) -> None:
        super().__init__(config)
        self.events: list[str] = []
        self.first = TrialPart("first", self.events)
        self.second = TrialPart("second", self.events, fails=fails)

    def parts(self) -> Sequence[Part]:
        self.slab.write(lambda txn: txn.put(FACTS, b"opened", b"yes"))
        return (self.first, self.second)

    def services(self) -> Sequence[Service]:
        self.events.append("services")
        return ()


def make_config(folder: Path, **flags: Any) -> TrialConfig:
    return load_config(TrialConfig, dir=folder, flags=flags, environ={})


def ask_info(channel: grpc.Channel) -> cell_service_pb2.CellInfo:
    stub = cell_service_pb2_grpc.CellServiceStub(channel)
    return stub.GetCellInfo(cell_service_pb2.GetCellInfoRequest(), timeout=5).cell


def ask_info_at(address: str) -> cell_service_pb2.CellInfo:
    with open_channel(address) as channel:
        return ask_info(channel)


def test_parts_start_in_order_before_the_services_and_stop_in_reverse(tmp_path: Path) -> None:
    cell = TrialCell(make_config(tmp_path))

    async def main() -> None:
        async with cell:
            assert cell.state is CellState.READY
        assert cell.state is CellState.STOPPED

    asyncio.run(main())
    assert cell.events == ["+first", "+second", "services", "-second", "-first"]


def test_a_part_that_cannot_start_ends_the_cell_and_frees_the_folder(tmp_path: Path) -> None:
    cell = TrialCell(make_config(tmp_path), fails=True)

    async def main() -> None:
        with pytest.raises(BadArg, match="second cannot start"):
            await cell.start()

    asyncio.run(main())
    assert cell.state is CellState.STOPPED
    assert cell.events == ["+first", "-first"]
    with running(TrialCell(make_config(tmp_path))) as again:
        assert again.state is CellState.READY


def test_a_cell_is_started_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with TrialCell(make_config(tmp_path)) as cell:
            with pytest.raises(BadState):
                await cell.start()

    asyncio.run(main())


def test_info_tells_who_the_cell_is_and_the_id_stays(tmp_path: Path) -> None:
    with running(TrialCell(make_config(tmp_path))) as cell:
        info = ask_info_at(f"unix:{tmp_path}/cell.sock")
        assert (info.kind, info.name, info.storage_version) == ("trial", "", 1)
        assert info.state == cell_service_pb2.CELL_STATE_READY
        assert info.cell_id == cell.cell_id
        assert len(bytes.fromhex(info.cell_id)) == 16
        assert abs(info.start_time.seconds - time.time()) < 30
        assert info.version == cell.version
    with running(TrialCell(make_config(tmp_path))) as again:
        assert again.cell_id == info.cell_id


def test_run_json_says_where_the_cell_serves_and_goes_with_it(tmp_path: Path) -> None:
    with running(TrialCell(make_config(tmp_path, insecure=True))) as cell:
        told = read_run(tmp_path)
        assert told is not None
        assert told["pid"] == os.getpid()
        assert told["cell_id"] == cell.cell_id
        assert told["addresses"] == [cell.tcp_address, f"unix:{tmp_path}/cell.sock"]
        assert ask_info_at(cell.tcp_address).cell_id == cell.cell_id
    assert read_run(tmp_path) is None


def test_run_json_of_a_dead_process_counts_for_nothing(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    (tmp_path / "run.json").write_text(json.dumps({"pid": ended.pid, "addresses": []}))
    assert read_run(tmp_path) is None


def test_the_folder_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "cell"
    with running(TrialCell(make_config(folder))):
        assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    with running(TrialCell(make_config(folder))):
        assert folder.stat().st_mode & 0o777 == 0o700


def start_and_fail(cell: Cell[Any], kind: type[Exception], match: str) -> None:
    async def main() -> None:
        with pytest.raises(kind, match=match):
            await cell.start()

    asyncio.run(main())


def test_a_second_cell_on_the_folder_is_refused_by_pid(tmp_path: Path) -> None:
    code = f"import sys,time; from cellmesh.common.cell.folder import CellFolder; from pathlib import Path; f=CellFolder(Path({str(tmp_path)!r}),'trial'); f.open(); print('locked',flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        start_and_fail(
            TrialCell(make_config(tmp_path)), StorageLocked, f"{tmp_path} is in use by process {other.pid}"
        )
    finally:
        other.kill()
        other.wait()
    with running(TrialCell(make_config(tmp_path))) as cell:
        assert cell.state is CellState.READY


def test_a_folder_that_cannot_be_made_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    start_and_fail(
        TrialCell(make_config(tmp_path / "file" / "cell")), BadConfValu, "cannot be used: Not a directory"
    )


def test_a_folder_of_another_kind_of_cell_is_refused(tmp_path: Path) -> None:
    folder = CellFolder(tmp_path, "axon")
    folder.open()
    folder.close()
    start_and_fail(TrialCell(make_config(tmp_path)), BadState, "belongs to a cell of kind axon, not trial")


def test_a_damaged_cell_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cell.json").write_text("{")
    start_and_fail(TrialCell(make_config(tmp_path)), BadState, r"cell\.json cannot be read")


def test_without_identity_no_port_is_opened(tmp_path: Path) -> None:
    with running(TrialCell(make_config(tmp_path))) as cell:
        assert cell.addresses == (f"unix:{tmp_path}/cell.sock",)
    start_and_fail(TrialCell(make_config(tmp_path, listen="127.0.0.1:0")), NeedConfValu, "no identity")


class Authority:
    """A network's authority, for tests."""

    def __init__(self, network: str = "demo") -> None:
        self.network = network
        self.certificate, self._key = certs.make_authority(network)

    def give(self, path: Path, identity: Identity) -> IdentityFolder:
        key = certs.make_key()
        certificate = certs.issue(self.certificate, self._key, key.public_key(), identity)
        folder = IdentityFolder(path)
        mesh = MeshInfo(identity.name, self.network)
        folder.store(certs.to_pem(certificate), certs.key_to_pem(key), certs.to_pem(self.certificate), mesh)
        return folder


class WhoCell(TrialCell):
    """Tells by its change offset what kind of caller asks, as CellInfo has no better place for it."""

    def change_offset(self) -> int:
        caller = current_caller()
        self.callers.append((caller.name, caller.kind.value, caller.admin))
        return 0

    def __init__(self, config: TrialConfig) -> None:
        super().__init__(config)
        self.callers: list[tuple[str, str, bool]] = []


def test_members_of_the_network_call_over_tls_and_are_known_by_name(tmp_path: Path) -> None:
    authority = Authority()
    authority.give(tmp_path / "axon" / "certs", CellIdentity("00", "axon", "demo"))
    with running(WhoCell(make_config(tmp_path / "axon"))) as cell:
        assert cell.name == "00.axon.demo"
        cell.auth.add_user("alice")
        for identity in (
            CellIdentity("01", "cortex", "demo"),
            UserIdentity("alice", "demo"),
            UserIdentity("root", "demo"),
        ):
            folder = authority.give(tmp_path / identity.name, identity)
            for server_name in ("00.axon.demo", "axon.demo", "cell.demo", ""):
                with open_channel(cell.tcp_address, identity=folder, server_name=server_name) as channel:
                    assert ask_info(channel).name == "00.axon.demo"
        assert list(dict.fromkeys(cell.callers)) == [
            ("01.cortex.demo", "cell", False),
            ("alice@demo", "user", False),
            ("root@demo", "user", True),
        ]


def assert_no_connection(channel: grpc.Channel) -> None:
    with channel, pytest.raises(grpc.RpcError) as caught:
        ask_info(channel)
    assert isinstance(from_rpc_error(caught.value), CellUnreachable)


def test_strangers_are_not_let_in(tmp_path: Path) -> None:
    authority, other = Authority(), Authority()
    authority.give(tmp_path / "axon" / "certs", CellIdentity("00", "axon", "demo"))
    axon = CellIdentity("00", "axon", "demo")
    with running(WhoCell(make_config(tmp_path / "axon"))) as cell:
        address = cell.tcp_address
        # Of another authority, even of the same network name: neither trusts the other.
        stranger = other.give(tmp_path / "stranger", UserIdentity("root", "demo"))
        assert_no_connection(open_channel(address, identity=stranger, server_name=axon.name))
        # The right authority for the server, a foreign certificate for the client.
        files = stranger.load()
        mixed = grpc.ssl_channel_credentials(
            certs.to_pem(authority.certificate), files.key_pem, files.certificate_pem
        )
        assert_no_connection(grpc.secure_channel(address, mixed))
        # No client certificate; plain text.
        assert_no_connection(
            grpc.secure_channel(address, trusting_credentials(certs.to_pem(authority.certificate)))
        )
        assert_no_connection(open_channel(address))
        # A member who expects someone else there.
        member = authority.give(tmp_path / "member", UserIdentity("alice", "demo"))
        assert_no_connection(open_channel(address, identity=member, server_name="00.cortex.demo"))
        assert cell.callers == []


def test_a_certificate_of_our_authority_without_a_name_of_ours_is_nobody(tmp_path: Path) -> None:
    authority = Authority()
    authority.give(tmp_path / "axon" / "certs", CellIdentity("00", "axon", "demo"))
    key = certs.make_key()
    odd = (
        certs.x509.CertificateBuilder()
        .subject_name(certs.x509.Name([]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(authority.certificate.not_valid_before_utc)
        .not_valid_after(authority.certificate.not_valid_after_utc)
        .add_extension(certs.x509.SubjectAlternativeName([certs.x509.DNSName("root")]), critical=False)
        .sign(authority._key, certs.hashes.SHA256())
    )
    credentials = grpc.ssl_channel_credentials(
        certs.to_pem(authority.certificate), certs.key_to_pem(key), certs.to_pem(odd)
    )
    with running(WhoCell(make_config(tmp_path / "axon"))) as cell:
        with (
            grpc.secure_channel(cell.tcp_address, credentials) as channel,
            pytest.raises(grpc.RpcError) as caught,
        ):
            ask_info(channel)
        assert isinstance(from_rpc_error(caught.value), Unauthenticated)


def test_a_renewed_certificate_is_served_without_a_restart(tmp_path: Path) -> None:
    authority = Authority()
    folder = authority.give(tmp_path / "axon" / "certs", CellIdentity("00", "axon", "demo"))
    alice = authority.give(tmp_path / "alice", UserIdentity("alice", "demo"))
    with running(WhoCell(make_config(tmp_path / "axon"))) as cell:
        first = folder.certificate()
        assert served_serial(cell.tcp_address, alice) == first.serial_number
        authority.give(folder.path, CellIdentity("00", "axon", "demo"))
        second = folder.certificate()
        assert second.serial_number != first.serial_number
        assert served_serial(cell.tcp_address, alice) == second.serial_number


def served_serial(address: str, identity: IdentityFolder) -> int:
    import socket
    import ssl

    context = ssl.create_default_context(cafile=str(identity.path / "ca.crt"))
    context.load_cert_chain(identity.path / "cell.crt", identity.path / "cell.key")
    context.set_alpn_protocols(["h2"])
    host, port = address.rsplit(":", 1)
    with (
        socket.create_connection((host, int(port))) as raw,
        context.wrap_socket(raw, server_hostname="axon.demo") as tls,
    ):
        der = tls.getpeercert(binary_form=True)
        assert der is not None
        return certs.from_der(der).serial_number


def test_the_advertised_address(tmp_path: Path) -> None:
    with running(TrialCell(make_config(tmp_path / "a", insecure=True, advertise="axon.example"))) as cell:
        assert cell.advertised_address == f"axon.example:{cell.tcp_address.rsplit(':')[-1]}"
    with running(TrialCell(make_config(tmp_path / "b", insecure=True, advertise="axon.example:99"))) as cell:
        assert cell.advertised_address == "axon.example:99"
    with running(TrialCell(make_config(tmp_path / "c", insecure=True))) as cell:
        assert cell.advertised_address == cell.tcp_address


def test_health_follows_the_parts() -> None:
    async def main() -> None:
        events: list[str] = []
        part = TrialPart("store", events)
        board = HealthBoard()
        board.set_all(True)
        seen: list[PartState] = []
        watch = HealthWatch([part], board, seen.append, interval_s=0.005)
        await watch.start()
        for state, status in (
            (PartState.READ_ONLY, SERVING),
            (PartState.FAILED, NOT_SERVING),
            (PartState.WELL, SERVING),
        ):
            part.state = PartHealth(state, "because")
            await until(lambda state=state: bool(seen) and seen[-1] is state)  # type: ignore[misc]
            assert board.get("") == status
        await watch.stop()

    asyncio.run(main())


def test_a_disk_with_too_little_room_is_read_only(tmp_path: Path) -> None:
    assert DiskSpace(tmp_path, space_min_bytes=1).health() == WELL
    found = DiskSpace(tmp_path, space_min_bytes=1 << 60).health()
    assert found.state is PartState.READ_ONLY
    assert f"writes need {1 << 60}" in found.reason


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.002)


def test_a_read_only_part_makes_the_cell_read_only_and_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with TrialCell(make_config(tmp_path)) as cell:
            cell.first.state = PartHealth(PartState.READ_ONLY, "the disk is full")
            await until(lambda: cell.state is CellState.READ_ONLY)
            cell.first.state = WELL
            await until(lambda: cell.state is CellState.READY)

    asyncio.run(main())


MAIN = """
import sys
from typing import ClassVar
from cellmesh.common.cell import Cell, run_cell
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.storage import SubDb

class TrialConfig(CellConfig):
    kind: ClassVar[str] = "trial"

class TrialCell(Cell[TrialConfig]):
    kind = "trial"
    databases = (SubDb("facts", "facts"),)

config = load_config(TrialConfig, dir=sys.argv[1], flags={"listen": sys.argv[2], "insecure": True}, environ={})
sys.exit(run_cell(TrialCell(config)))
"""


def start_process(folder: Path, listen: str = "127.0.0.1:0") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, str(folder), listen],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_process_serves_says_where_and_stops_cleanly_when_asked(tmp_path: Path) -> None:
    process = start_process(tmp_path)
    assert process.stdout is not None
    line = process.stdout.readline()
    told = read_run(tmp_path)
    assert told is not None
    assert line == f"trial serving at {told['addresses'][0]}, unix:{tmp_path}/cell.sock\n"
    assert ask_info_at(told["addresses"][0]).cell_id == told["cell_id"]
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=15)
    assert process.returncode == 0
    events = [json.loads(text)["event"] for text in errors.splitlines()]
    assert events == ["serving_without_tls", "cell_ready", "cell_stopping", "cell_stopped"]
    assert read_run(tmp_path) is None


def test_the_second_signal_ends_a_process_that_cannot_stop(tmp_path: Path) -> None:
    stuck = MAIN.replace(
        '    databases = (SubDb("facts", "facts"),)\n',
        "    def parts(self):\n        return (Stuck(),)\n",
    ).replace("class TrialCell", STUCK + "class TrialCell")
    process = subprocess.Popen(
        [sys.executable, "-c", stuck, str(tmp_path), "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("trial serving at")
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=5)
    assert process.returncode == 130


STUCK = """
import asyncio
from cellmesh.common.cell import PartHealth
class Stuck:
    name = "stuck"
    async def start(self): pass
    async def stop(self): await asyncio.sleep(60)
    def health(self): return PartHealth()

"""


def test_a_killed_process_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    process = start_process(tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate()
    assert (tmp_path / "cell.sock").exists()
    assert read_run(tmp_path) is None
    with running(TrialCell(make_config(tmp_path))):
        assert ask_info_at(f"unix:{tmp_path}/cell.sock").kind == "trial"


def test_a_process_that_cannot_start_says_why_in_one_line(tmp_path: Path) -> None:
    import socket

    with running(TrialCell(make_config(tmp_path / "mine"))), socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        locked = start_process(tmp_path / "mine")
        busy = start_process(tmp_path / "other", f"127.0.0.1:{port}")
        _, said = locked.communicate(timeout=15)
        assert locked.returncode == 2
        assert said.startswith(f"trial: {tmp_path / 'mine'} is in use by process {os.getpid()}")
        _, said = busy.communicate(timeout=15)
        assert busy.returncode == 2
        last = said.splitlines()[-1]
        assert last.startswith(
            f"trial: trial cannot listen at 127.0.0.1:{port}: another program uses this port"
        )
        assert "Traceback" not in said
