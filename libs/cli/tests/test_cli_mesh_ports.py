"""AHA's port: chosen once, given up only when another program took it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.cli.mesh import ports
from cellmesh.common.errors import BadConfValu
from cellmesh.common.tls.folder import IdentityFolder, MeshInfo


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that a program listens at."""
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        yield squatter.getsockname()[1]


def identity_at(path: Path, address: str) -> IdentityFolder:
    path.mkdir()
    identity = IdentityFolder(path)
    identity.store_mesh(MeshInfo("00.axon.demo", "demo", (address,)))
    return identity


def test_the_first_settings_name_network_and_a_free_port(tmp_path: Path) -> None:
    ports.write_first_settings(tmp_path / "aha", "demo")
    settings = ports.read_settings(tmp_path / "aha")
    assert settings["network"] == "demo"
    assert ports.is_free("127.0.0.1", int(str(settings["listen"]).rpartition(":")[2]))
    assert ports.move_if_busy(tmp_path / "aha", []) == ""


def test_a_taken_port_is_given_up_and_everyone_is_told(tmp_path: Path, taken: int) -> None:
    old = f"127.0.0.1:{taken}"
    (tmp_path / "cell.toml").write_text(f'# kept\nnetwork = "demo"\nlisten = "{old}"\n')
    identity = identity_at(tmp_path / "certs", old)
    moved = ports.move_if_busy(tmp_path, [identity, IdentityFolder(tmp_path / "none")])
    assert moved
    assert moved != old
    assert ports.read_settings(tmp_path) == {"network": "demo", "listen": moved}
    assert "# kept" in (tmp_path / "cell.toml").read_text()
    mesh = identity.mesh()
    assert mesh is not None
    assert mesh.registry_addresses == (moved,)


@pytest.mark.parametrize(
    "line", ["listen = '127.0.0.1:{port}'", 'listen = "0.0.0.0:{port}"', 'listen = "nonsense"', ""]
)
def test_what_a_person_wrote_is_left_alone(tmp_path: Path, taken: int, line: str) -> None:
    text = line.format(port=taken)
    (tmp_path / "cell.toml").write_text(text)
    assert ports.move_if_busy(tmp_path, []) == ""
    assert (tmp_path / "cell.toml").read_text() == text


def test_damaged_settings_are_told(tmp_path: Path) -> None:
    (tmp_path / "cell.toml").write_text("listen = ")
    with pytest.raises(BadConfValu, match=r"cell\.toml"):
        ports.read_settings(tmp_path)
