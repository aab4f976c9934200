"""What an instance asks AHA about the leadership of its service, over TLS."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from cellmesh.aha.ca.identities import tell_registry
from cellmesh.aha.cell import AhaCell
from cellmesh.aha.config import AhaConfig
from cellmesh.api.aha.v1 import enrollment_pb2, enrollment_service_pb2_grpc
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import BadName, LinkErr, NoSuchName, NotLeader, Retry
from cellmesh.common.mirror.arbiter import Arbiter
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.time.clock import boottime_s
from cellmesh.common.tls.enrollment import enroll
from cellmesh.common.tls.folder import IdentityFolder
from cellmesh.common.tls.identity import CellIdentity

ONE, TWO = CellIdentity("00", "cortex", "demo"), CellIdentity("01", "cortex", "demo")


def make_aha(folder: Path) -> AhaCell:
    flags = {"network": "demo", "stop_grace_s": 2.0}
    return AhaCell(load_config(AhaConfig, dir=folder, flags=flags, environ={}))


def enrolled(aha: AhaCell, folder: Path, number: str) -> IdentityFolder:
    identity = IdentityFolder(folder / number)
    with open_channel(f"unix:{aha.config.dir}/cell.sock") as channel:
        stub = enrollment_service_pb2_grpc.CertificateServiceStub(channel)
        request = enrollment_pb2.CreateEnrollmentRequest(instance=f"{number}.cortex")
        enroll(stub.CreateEnrollment(request).url, identity)
    return identity


def asked(folder: Path, body: Callable[[Arbiter, Arbiter], Awaitable[None]]) -> None:
    """Run a test with the arbiters of two instances."""
    with running(make_aha(folder / "aha")) as aha:
        one, two = (enrolled(aha, folder, number) for number in ("00", "01"))

        async def main() -> None:
            arbiters = Arbiter(ONE, one), Arbiter(TWO, two)
            try:
                await body(*arbiters)
            finally:
                for arbiter in arbiters:
                    await arbiter.close()

        asyncio.run(main())


def test_leadership_is_claimed_renewed_and_passed_on(tmp_path: Path) -> None:
    async def body(one: Arbiter, two: Arbiter) -> None:
        with pytest.raises(NoSuchName):
            await one.get("cortex")
        before_s = boottime_s()
        given = await one.claim(0, lease_s=4)
        assert (given.service, given.leader, given.term) == ("cortex", ONE.name, 1)
        # From before the request was sent, less a tenth.
        assert before_s + 3.5 < given.valid_until_s <= before_s + 3.6 + 0.1
        short = await one.renew(1, lease_s=4)
        assert short.valid_until_s > given.valid_until_s
        assert (await two.get("cortex.demo")).leader == ONE.name
        with pytest.raises(NotLeader) as refused:
            await two.claim(1, lease_s=3)
        assert (refused.value.get("leader"), refused.value.get("term")) == (ONE.name, 1)
        with pytest.raises(Retry) as early:
            await two.claim(1, lease_s=3, force=True)
        assert 0 < early.value.get("wait_s") <= 4
        with pytest.raises(BadName):
            await one.transfer(1, "00.axon.demo")
        assert (await one.transfer(1, TWO.name)).term == 2
        # Asked again, as when the first answer was lost.
        again = await one.transfer(1, TWO.name)
        assert (again.leader, again.term) == (TWO.name, 2)
        with pytest.raises(NotLeader):
            await one.transfer(1, "")
        lease = await two.renew(2, lease_s=0.2)
        assert lease.term == 2
        back = await two.transfer(2, "")
        assert back.valid_until_s < boottime_s()
        with pytest.raises(NoSuchName):
            await one.addresses("cortex")
        assert list(await one.addresses("aha")) == ["00.aha.demo"]

    asked(tmp_path, body)


def test_a_lease_ends_here_before_it_ends_at_aha(tmp_path: Path) -> None:
    async def body(one: Arbiter, two: Arbiter) -> None:
        given = await one.claim(0, lease_s=0.5)
        while True:
            try:
                taken = await two.claim(1, lease_s=1, force=True)
                break
            except Retry as error:
                await asyncio.sleep(error.get("wait_s"))
        assert boottime_s() > given.valid_until_s + 0.05
        assert (taken.leader, taken.term) == (TWO.name, 2)

    asked(tmp_path, body)


def test_an_address_that_is_dead_is_passed_over(tmp_path: Path) -> None:
    with running(make_aha(tmp_path / "aha")) as aha, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        deaf = f"127.0.0.1:{silent.getsockname()[1]}"
        identity = enrolled(aha, tmp_path, "00")
        tell_registry(identity, (deaf, aha.tcp_address))

        async def main() -> None:
            arbiter = Arbiter(ONE, identity)
            begun_s = time.monotonic()
            assert (await arbiter.claim(0, lease_s=3)).term == 1
            assert 0.9 < time.monotonic() - begun_s < 3
            begun_s = time.monotonic()
            assert (await arbiter.renew(1, lease_s=3)).term == 1
            assert time.monotonic() - begun_s < 0.5
            await arbiter.close()

        asyncio.run(main())


def test_while_aha_is_away_it_is_told_soon(tmp_path: Path) -> None:
    with running(make_aha(tmp_path / "aha")) as aha:
        identity = enrolled(aha, tmp_path, "00")

    async def main() -> None:
        arbiter = Arbiter(ONE, identity)
        for _ in range(2):
            begun_s = time.monotonic()
            with pytest.raises(LinkErr):
                await arbiter.renew(1, lease_s=3)
            assert time.monotonic() - begun_s < 2
        await arbiter.close()

    asyncio.run(main())
