"""A cell that takes logins over TLS, with a user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from cellmesh.common.cell import Cell, running
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.storage import SubDb
from cellmesh.common.tls import certs
from cellmesh.common.tls.folder import IdentityFolder, MeshInfo
from cellmesh.common.tls.identity import CellIdentity


class LoginConfig(CellConfig):
    kind: ClassVar[str] = "trial"


class LoginCell(Cell[LoginConfig]):
    kind = "trial"
    databases = (SubDb("facts", "name -> what it is"),)


@contextmanager
def login_cell(folder: Path, password: str) -> Iterator[LoginCell]:
    """Run one in FOLDER/cell, whose user is alice; FOLDER/trust has the authority that it is signed by."""
    authority, authority_key = certs.make_authority("demo")
    key = certs.make_key()
    identity = CellIdentity("00", "trial", "demo")
    certificate = certs.issue(authority, authority_key, key.public_key(), identity)
    pems = certs.to_pem(certificate), certs.key_to_pem(key), certs.to_pem(authority)
    IdentityFolder(folder / "cell" / "certs").store(*pems, MeshInfo(identity.name, "demo"))
    (folder / "trust").mkdir()
    (folder / "trust" / "ca.crt").write_bytes(pems[2])
    flags = {"login_listen": "127.0.0.1:0"}
    with running(LoginCell(load_config(LoginConfig, dir=folder / "cell", flags=flags, environ={}))) as made:
        made.auth.add_user("alice")
        made.passwords.set_password("alice", password)
        yield made
