"""`cellmesh doctor` beside real cells, with one fault after the other."""

from __future__ import annotations

import datetime
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.api.common.v1 import cell_service_pb2
from cellmesh.cli.doctor import cells, machine
from cellmesh.cli.doctor.cells import check_clock
from cellmesh.cli.doctor.finding import Level
from cellmesh.cli.doctor.identities import check_identity
from cellmesh.cli.main import run
from cellmesh.cli.mesh import Mesh, ports, processes
from cellmesh.common.errors import SpawnExit
from cellmesh.common.tls import certs
from cellmesh.common.tls.folder import IdentityFolder


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    made = Mesh(tmp_path_factory.mktemp("m"), cells=("aha", "axon"), network="demo")
    try:
        made.up()
        yield made
    finally:
        made.down()


def doctor(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    code = run(["doctor", "--json", *arguments])
    return code, json.loads(capsys.readouterr().out)["findings"]


def found(findings: list[dict[str, Any]], check: str, subject: str) -> list[dict[str, Any]]:
    return [f for f in findings if (f["check"], f["subject"]) == (check, subject)]


def test_a_healthy_mesh_is_well_by_folder_and_through_aha(
    mesh: Mesh, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, findings = doctor(capsys, "--dir", str(mesh.dir))
    # How much of the disk is free, and what a process may open here, is not the mesh's doing.
    ours = [f for f in findings if f["check"] not in ("disk", "limits")]
    assert [f for f in ours if f["level"] != "ok"] == []
    for check in ("certificate", "folder", "port", "process", "reach", "state", "storage", "version"):
        assert found(findings, check, "axon"), check
    monkeypatch.setenv("CELLMESH_IDENTITY", str(mesh.identity))
    _, findings = doctor(capsys)
    assert [f for f in findings if f["level"] != "ok" and f["check"] != "limits"] == []
    assert found(findings, "clock", "00.axon.demo")


def test_people_read_what_is_wrong_and_what_to_do(mesh: Mesh, capsys: pytest.CaptureFixture[str]) -> None:
    socket_folder = mesh.folder("axon")
    socket_folder.chmod(0o755)
    try:
        assert run(["doctor", "--dir", str(mesh.dir)]) == 1
        told = capsys.readouterr().out
    finally:
        socket_folder.chmod(0o700)
    assert f"problem  axon: folder: others may enter {socket_folder} (mode 755)" in told
    assert f"chmod 700 {socket_folder}" in told
    assert "reach" not in told
    assert " problems" in told.splitlines()[-1]


def test_a_stopped_cell_and_a_port_that_another_program_took(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Mesh(tmp_path / "m", cells=("aha",), network="demo")
    try:
        made.up()
    finally:
        made.down()
    listen = str(ports.read_settings(made.folder("aha"))["listen"])
    code, findings = doctor(capsys, "--dir", str(made.folder("aha")))
    assert code == 1
    assert found(findings, "process", "aha")[0]["level"] == "problem"
    assert found(findings, "port", "aha")[0]["level"] == "ok"
    with socket.create_server(("127.0.0.1", int(listen.rpartition(":")[2]))):
        code, findings = doctor(capsys, "--dir", str(made.folder("aha")))
    (port,) = found(findings, "port", "aha")
    assert (code, port["level"]) == (1, "problem")
    assert "ss -ltnp" in port["advice"]
    # A cell that does not run cannot be asked through AHA either.
    code, findings = doctor(
        capsys, "--url", f"grpcs://{listen}", "--identity", str(made.folder("aha") / "users" / "root")
    )
    assert (code, found(findings, "reach", "aha")[0]["level"]) == (1, "problem")


def test_a_cell_that_cannot_start_is_told_with_what_it_ended_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Mesh(tmp_path / "m", cells=("aha", "axon"), network="demo")
    settings = made.folder("axon") / "cell.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text('listne = "127.0.0.1:0"\n')
    try:
        with pytest.raises(SpawnExit):
            made.up()
        _, findings = doctor(capsys, "--dir", str(made.dir))
    finally:
        made.down()
    (process,) = found(findings, "process", "axon")
    assert process["level"] == "problem"
    assert "axon has no setting 'listne'" in process["message"]
    assert "did you mean listen" in process["message"]
    # Of one that was stopped there is nothing to tell.
    _, findings = doctor(capsys, "--dir", str(made.dir))
    assert found(findings, "process", "aha")[0]["message"] == "it does not run"


def test_a_cell_that_hangs_is_told(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "ASK_S", 1.0)
    running = processes.find_running(mesh.folder("axon"))
    assert running is not None
    os.kill(running.pid, signal.SIGSTOP)
    try:
        (told,) = cells.check_cell("axon", f"unix://{mesh.folder('axon')}", None, is_local=True)
    finally:
        os.kill(running.pid, signal.SIGCONT)
    assert (told.check, told.level) == ("reach", Level.PROBLEM)
    assert "does not answer within" in told.message


def test_a_part_of_an_identity_is_told(mesh: Mesh, capsys: pytest.CaptureFixture[str]) -> None:
    certificate = mesh.folder("axon") / "certs" / "cell.crt"
    away = certificate.rename(certificate.with_suffix(".away"))
    try:
        _, findings = doctor(capsys, "--dir", str(mesh.folder("axon")))
    finally:
        away.rename(certificate)
    assert "there is no identity" in found(findings, "certificate", "axon")[0]["message"]


def test_too_few_open_files_are_told_of_the_process_that_has_them(tmp_path: Path) -> None:
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300));"
        "from cellmesh.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "doctor", "--json", "--identity", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    findings = json.loads(done.stdout)["findings"]
    assert found(findings, "limits", "this machine")[0]["level"] == "problem"
    assert "ulimit -n" in found(findings, "limits", "this machine")[0]["advice"]
    # There is no identity in that folder either.
    assert found(findings, "certificate", "this user")[0]["level"] == "problem"
    sleeper = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (2000, 2000)),
    )
    try:
        told = machine.check_process_limits("axon", sleeper.pid)
    finally:
        sleeper.kill()
        sleeper.wait()
    if told is not None:
        assert (told.level, "2000" in told.message) == (Level.WARNING, True)


def levels(folder: IdentityFolder, days: float = 0.0) -> dict[str, str]:
    now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    return {f.message: f.level for f in check_identity("x", folder, now=now) if f.level is not Level.OK}


def test_certificates_that_run_out_do_not_fit_or_lie_open(mesh: Mesh, tmp_path: Path) -> None:
    folder = IdentityFolder(tmp_path / "certs")
    shutil.copytree(mesh.folder("axon") / "certs", folder.path)
    assert levels(folder) == {}
    (message,) = levels(folder, 80)
    assert "should have been renewed" in message
    (message,) = levels(folder, 100)
    assert "ran out" in message
    assert any("clock is behind" in f.advice for f in check_identity("x", folder, now=days_ago(30)))
    (folder.path / "cell.key").chmod(0o644)
    (message,) = levels(folder)
    assert "others may read the key" in message
    (folder.path / "cell.key").write_bytes(certs.key_to_pem(certs.make_key()))
    assert any("is not that of the certificate" in message for message in levels(folder))
    (folder.path / "cell.crt").write_text("nonsense")
    (message,) = levels(folder)
    assert "cannot be read" in message


def days_ago(days: float) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)


def test_a_certificate_of_another_network_is_told(mesh: Mesh, tmp_path: Path) -> None:
    assert run(["cert", "init", "other", "--ca", str(tmp_path / "ca")]) == 0
    assert (
        run(["cert", "issue", "00.axon", "--ca", str(tmp_path / "ca"), "--out", str(tmp_path / "certs")]) == 0
    )
    shutil.copy(mesh.folder("axon") / "certs" / "ca.crt", tmp_path / "certs" / "ca.crt")
    assert any("not of the authority" in message for message in levels(IdentityFolder(tmp_path / "certs")))


@pytest.mark.parametrize(("off_s", "level"), [(0.5, "ok"), (-10.0, "warning"), (400.0, "problem")])
def test_a_clock_that_is_off_is_told(off_s: float, level: str) -> None:
    cell = cell_service_pb2.CellInfo()
    cell.start_time.FromNanoseconds(int((1_000_000_000 + off_s - 5) * 1e9))
    cell.uptime.FromSeconds(5)
    assert check_clock("x", cell, 1_000_000_000 - 0.1, 1_000_000_000 + 0.1).level == level


def test_a_slow_answer_is_no_reason_to_doubt_a_clock() -> None:
    cell = cell_service_pb2.CellInfo()
    cell.start_time.FromSeconds(1_000_000_004)
    assert check_clock("x", cell, 1_000_000_000, 1_000_000_008).level is Level.OK


def test_a_disk_with_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    total = shutil.disk_usage(tmp_path).total
    for free, level in ((1 << 40, "ok"), (200 << 20, "warning"), (10 << 20, "problem")):
        size = max(total, 1 << 41)
        monkeypatch.setattr(
            machine.shutil,
            "disk_usage",
            lambda path, size=size, free=free: shutil._ntuple_diskusage(size, 0, free),
        )
        assert next(iter(machine.check_disk("x", tmp_path))).level == level


def test_a_folder_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--dir", str(tmp_path)]) == 1
    assert "holds no mesh and no cell" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []
