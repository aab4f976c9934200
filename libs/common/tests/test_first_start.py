"""Users, roles and key-values that a cell has from its first start, out of a file; applied whole, once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cellmesh.common.auth.credentials import HashCost, hash_password
from cellmesh.common.cell import Cell, running
from cellmesh.common.changelog import DATABASES as LOG_DATABASES
from cellmesh.common.changelog import ChangeLog
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.errors import BadConfValu, StorageAborted, Unauthenticated
from cellmesh.common.failpoints import failing
from cellmesh.common.storage import SubDb

FACTS = SubDb("facts", "name -> what it is")

WHOLE = """
[[roles]]
name = "hunters"
rules = ["node.add", "!node.del"]

[[roles]]
name = "all"
rules = ["node.tag"]

[[users]]
name = "alice"
email = "alice@example.com"
roles = ["hunters"]
rules = ["cell.kv.get.app"]
password_env = "ALICE_PASSWORD"

[[users]]
name = "boss"
admin = true
password_file = "boss.txt"

[[users]]
name = "later"
locked = true

[[users]]
name = "root"
email = "root@example.com"

[[key_values]]
path = ["app", "colour"]
value = "red"

[[key_values]]
path = ["app"]
value = { size = 3, parts = [1, 2.5, true] }
"""


class FreshConfig(CellConfig):
    kind: ClassVar[str] = "fresh"


class FreshCell(Cell[FreshConfig]):
    kind = "fresh"
    databases = (FACTS, *LOG_DATABASES)


def make(folder: Path, **flags: Any) -> FreshCell:
    return FreshCell(load_config(FreshConfig, dir=folder, flags=flags, environ={}))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALICE_PASSWORD", "correct horse battery")
    (tmp_path / "boss.txt").write_text("staple under bridges\n")
    path = tmp_path / "start.toml"
    path.write_text(WHOLE)
    return path


def check(cell: FreshCell) -> None:
    auth, passwords = cell.auth, cell.passwords
    assert set(auth.policy.user_names) == {"root", "alice", "boss", "later"}
    assert auth.allowed("alice", ("node", "add", "inet:fqdn"))
    assert not auth.allowed("alice", ("node", "del"), default=True)
    assert auth.allowed("alice", ("node", "tag", "x"))
    assert auth.allowed("alice", ("cell", "kv", "get", "app", "colour"))
    assert auth.get_user("alice").email == "alice@example.com"
    assert auth.get_user("root").email == "root@example.com"
    assert (auth.get_user("boss").admin, auth.get_user("later").locked) == (True, True)
    assert passwords.prove("alice", "correct horse battery")[0].name == "alice"
    assert passwords.prove("boss", "staple under bridges")[0].name == "boss"
    colour, app = cell.keyvalues.get(("app", "colour")), cell.keyvalues.get(("app",))
    assert colour is not None
    assert app is not None
    assert (colour.value, app.value) == ("red", {"size": 3, "parts": [1, 2.5, True]})


def test_a_new_cell_has_what_the_file_says_and_an_old_one_keeps_what_it_has(
    tmp_path: Path, file: Path
) -> None:
    with running(make(tmp_path / "cell", first_start=file)) as cell:
        check(cell)
        records = ChangeLog(cell.slab).read(0).records
        assert {record.type_name.rpartition(".")[2] for record in records} == {"AuthChange", "KeyValueChange"}
        cell.auth.delete_user("alice")
        cell.keyvalues.pop(("app",), tree=True)
    with running(make(tmp_path / "cell", first_start=file)) as cell:
        assert "alice" not in cell.auth.policy.user_names
        assert cell.keyvalues.get(("app",)) is None


def test_a_file_in_the_folder_is_found_and_a_used_cell_does_not_look_at_it(
    tmp_path: Path, file: Path
) -> None:
    (tmp_path / "cell").mkdir()
    (tmp_path / "boss.txt").rename(tmp_path / "cell" / "boss.txt")
    file.rename(tmp_path / "cell" / "first-start.toml")
    with running(make(tmp_path / "cell")) as cell:
        check(cell)
    (tmp_path / "cell" / "first-start.toml").write_text("nonsense")
    with running(make(tmp_path / "cell")) as cell:
        check(cell)


def test_a_cell_that_served_before_is_not_new(tmp_path: Path, file: Path) -> None:
    with running(make(tmp_path / "cell")) as cell:
        cell.auth.add_user("first")
    with running(make(tmp_path / "cell", first_start=file)) as cell:
        assert set(cell.auth.policy.user_names) == {"root", "first"}


def test_passwords_may_come_as_hashes(tmp_path: Path) -> None:
    hashed = hash_password("a password of old", HashCost(memory_kib=64, iterations=1))
    (tmp_path / "cell").mkdir()
    (tmp_path / "cell" / "first-start.toml").write_text(
        f'[[users]]\nname = "a"\npassword_hash = "{hashed}"\n'
    )
    with running(make(tmp_path / "cell")) as cell:
        assert cell.passwords.prove("a", "a password of old")[0].name == "a"
        with pytest.raises(Unauthenticated):
            cell.passwords.prove("a", "a password of new")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("not toml", "is not TOML"),
        ("[[user]]\nname='a'", "did you mean users?"),
        ("[users]\nname='a'", r"write each as \[\[users\]\]"),
        ("[[users]]\nname='a'\nemial='x'", r"users 1 \(a\): there is no 'emial'.*did you mean email"),
        ("[[users]]\nname='a'\n[[users]]\nemail='a@b'", "users 2: it has no name"),
        ("[[users]]\nname='a'\nroles=['nobody']", r"users 1 \(a\): there is no role nobody"),
        ("[[users]]\nname='a'\nrules=['ok', 'no way']", r"users 1 \(a\), rule 2: .*is no path"),
        ("[[users]]\nname='a/b'", "cannot be the name"),
        ("[[users]]\nname='a'\nadmin='yes'", "admin is true or false"),
        ("[[users]]\nname='a'\n[[users]]\nname='a'", r"users 2 \(a\): there is a user a already"),
        ("[[users]]\nname='a'\npassword_env='NOT_SET_HERE'", "the environment has no NOT_SET_HERE"),
        ("[[users]]\nname='a'\npassword_file='none.txt'", "password_file cannot be read"),
        ("[[users]]\nname='a'\npassword_hash='secret'", "is no Argon2id hash"),
        ("[[users]]\nname='a'\npassword_env='A'\npassword_hash='b'", "one is enough"),
        ("[[users]]\nname='a'\npassword_env='SHORT'", r"users 1 \(a\): a password has 12 characters"),
        ("[[key_values]]\npath=['a']", r"key_values 1 \(\['a'\]\): it has no value"),
        ("[[key_values]]\npath=['a', '']\nvalue=1", "a name in a path"),
        ("[[key_values]]\npath=['a']\nvalue=1979-05-27", "key_values 1"),
        ("[[roles]]\nname='r'\nrules='node'", "rules is no list of texts"),
    ],
)
def test_a_wrong_entry_is_named_and_nothing_is_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    monkeypatch.setenv("SHORT", "short")
    path = tmp_path / "start.toml"
    path.write_text('[[key_values]]\npath = ["good"]\nvalue = 1\n' + text if "[[key" in text else text)
    with pytest.raises(BadConfValu) as error, running(make(tmp_path / "cell", first_start=path)):
        pass
    error.match(told if "key_values 1" not in told else told.replace("key_values 1", "key_values 2"))
    assert str(path) in str(error.value)
    assert "secret" not in str(error.value)
    # It is as new as before, and takes the file once it is right.
    path.write_text("[[users]]\nname='a'\n")
    with running(make(tmp_path / "cell", first_start=path)) as cell:
        assert set(cell.auth.policy.user_names) == {"root", "a"}
        assert cell.keyvalues.get(("good",)) is None


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(BadConfValu, match="cannot be read"),
        running(make(tmp_path / "cell", first_start=tmp_path / "none.toml")),
    ):
        pass


def test_a_failure_in_the_middle_leaves_nothing_and_the_next_start_applies_all(
    tmp_path: Path, file: Path
) -> None:
    # The first commit of a new storage is its own stamp.
    with (
        failing("slab_before_commit", "1>error*1"),
        pytest.raises(StorageAborted),
        running(make(tmp_path / "cell", first_start=file)),
    ):
        pass
    with running(make(tmp_path / "cell", first_start=file)) as cell:
        check(cell)


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from test_first_start import make
from cellmesh.common.cell import run_cell
from pathlib import Path
sys.exit(run_cell(make(Path(sys.argv[2]), first_start=Path(sys.argv[3]))))
"""


@pytest.mark.parametrize("point", ["slab_before_commit", "slab_after_commit"])
def test_a_kill_in_the_middle_leaves_all_or_nothing(tmp_path: Path, file: Path, point: str) -> None:
    environ = {**os.environ, "CELLMESH_FAILPOINTS": f"{point}=1>kill"}
    command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(tmp_path / "cell"), str(file)]
    done = subprocess.run(command, env=environ, capture_output=True, check=False, timeout=30)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with running(make(tmp_path / "cell", first_start=file)) as cell:
        check(cell)
        records = ChangeLog(cell.slab).read(0).records
        created = [record for record in records if b"alice@example.com" in record.payload]
        assert created
        assert len({record.offset for record in records}) == len(records) == cell.change_offset()


def test_the_example_of_the_operations_page_is_taken(tmp_path: Path, file: Path) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "operations.md").read_text()
    example = page.split("\n## First start\n")[1].split("```toml\n")[1].split("```")[0]
    file.write_text(example)
    with running(make(tmp_path / "cell", first_start=file)) as cell:
        assert {"alice", "loader"} < set(cell.auth.policy.user_names)
        assert cell.passwords.prove("alice", "correct horse battery")[0].name == "alice"
        assert cell.auth.get_user("loader").locked
        state = cell.keyvalues.get(("loader", "state"))
        assert state is not None
        assert state.value == {"page": 0}
