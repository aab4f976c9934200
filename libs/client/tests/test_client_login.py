"""Clients that log in: URLs, arguments, TLS without an identity; `cellmesh auth` against a real cell."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from cellmesh.api.common.v1 import auth_service_pb2 as pb
from cellmesh.api.common.v1.auth_service_pb2_grpc import AuthServiceStub
from cellmesh.client import CellClient, CellUrl, open_cell, open_cell_aio
from cellmesh.common.errors import BadArg, BadUrl, NoSuchCert, Unauthenticated
from login_kit import LoginCell, login_cell

PASSWORD = "p@ss:word/with #signs"
QUOTED = "p%40ss:word%2Fwith%20%23signs"


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[LoginCell]:
    with login_cell(tmp_path, PASSWORD) as made:
        yield made


def who(client: CellClient) -> str:
    with client:
        return client.stub(AuthServiceStub).GetCurrentUser(pb.GetCurrentUserRequest()).user.name


def test_a_login_needs_the_authority_and_no_identity(cell: LoginCell, tmp_path: Path) -> None:
    url = f"grpcs://{cell.login_address}"
    trust = tmp_path / "trust"
    assert who(open_cell(url, identity=trust, user="alice", password=PASSWORD)) == "alice"
    assert who(open_cell(f"grpcs://alice:{QUOTED}@{cell.login_address}", identity=trust)) == "alice"
    _, text = cell.passwords.make_key("alice", "")
    assert who(open_cell(url, identity=trust, api_key=text)) == "alice"
    assert who(open_cell(f"unix://{cell.config.dir}", api_key=text)) == "alice"
    assert who(open_cell(f"unix://{cell.config.dir}")) == "root"
    with pytest.raises(Unauthenticated):
        who(open_cell(url, identity=trust, user="alice", password="wrong"))
    with pytest.raises(NoSuchCert, match=r"there is no ca\.crt"):
        open_cell(url, identity=tmp_path / "nothing", api_key=text)
    with pytest.raises(NoSuchCert):
        open_cell(url, identity=trust)

    async def main() -> str:
        async with open_cell_aio(url, identity=trust, user="alice", password=PASSWORD) as client:
            stub = client.stub(AuthServiceStub)
            answer = await stub.GetCurrentUser(pb.GetCurrentUserRequest())
            return str(answer.user.name)

    assert asyncio.run(main()) == "alice"


def test_a_certificate_of_ones_own_and_a_login_go_together(cell: LoginCell) -> None:
    own = cell.config.dir / "certs"
    client = open_cell(f"grpcs://{cell.tcp_address}", identity=own, user="alice", password=PASSWORD)
    assert who(client) == "alice"


def test_a_password_in_a_url_is_never_shown() -> None:
    url = CellUrl.parse(f"grpcs://alice:{QUOTED}@host:1")
    assert (url.user, url.password, url.address) == ("alice", PASSWORD, "host:1")
    assert str(url) == "grpcs://alice@host:1"
    assert "word" not in repr(url)
    for bad in ("grpcs://alice:secret@host", "grpcs://alice:secret@host:0", "http://alice:secret@host:1"):
        with pytest.raises(BadUrl) as caught:
            CellUrl.parse(bad)
        assert "secret" not in f"{caught.value} {caught.value.errinfo}"


def test_credentials_that_do_not_go_together_or_would_be_heard_are_refused() -> None:
    url = "unix:///nowhere/cell.sock"
    for arguments in (
        {"user": "alice"},
        {"password": "x"},
        {"user": "a", "password": "b", "api_key": "c"},
        {"api_key": ""},
        {"api_key": "a\nb"},
        {"user": "a:b", "password": "c"},
    ):
        with pytest.raises(BadArg):
            open_cell(url, **arguments)  # type: ignore[arg-type]
    with pytest.raises(BadUrl, match="plain text"):
        open_cell("grpc://192.0.2.1:1", user="alice", password="x")
    with pytest.raises(BadUrl, match="plain text"):
        open_cell("grpc://alice:x@example.org:1")
    open_cell("grpc://127.0.0.1:1", user="alice", password="x").close()
