"""The shell in a real terminal: a pseudo-terminal, with what is drawn on it read back as a screen.

Nothing sleeps: each step waits until the screen shows what it must, for as long as a loaded machine may take.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import stat
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest
from cellmesh.cli.shell.session import Session
from cellmesh.client import open_cell
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig

WAIT_S = 40.0
ROWS, COLUMNS = 30, 110
CTRL_C, CTRL_D, CTRL_L, CTRL_R, TAB, ENTER = "\x03", "\x04", "\x0c", "\x12", "\t", "\r"


# What makes the pseudo-terminal the controlling one, so that Ctrl-C is a signal, before the shell takes over.
TAKE_TERMINAL = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.executable, sys.argv[1:])"


class Answering(pyte.Screen):
    """A screen that answers where its cursor is, as every terminal does."""

    answer: Callable[[bytes], object]

    def write_process_input(self, data: str) -> None:
        """Called by pyte with the answer."""
        self.answer(data.encode())


class Terminal:
    """A shell on a terminal of its own."""

    def __init__(self, folder: Path, home: Path, *words: str) -> None:
        self.screen = Answering(COLUMNS, ROWS)
        self.screen.answer = self._send
        self.drawn = b""
        self._stream = pyte.ByteStream(self.screen)
        self._terminal, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        command = [sys.executable, "-m", "cellmesh.cli.main", "storm", "--dir", str(folder), *words]
        self.process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *command],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
            env={
                "HOME": str(home),
                "PATH": "/usr/bin:/bin",
                "TERM": "xterm-256color",
                "LANG": "C.UTF-8",
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            },
        )
        os.close(inner)

    @property
    def text(self) -> str:
        """What is on the screen, without the blanks at the ends of lines."""
        return "\n".join(line.rstrip() for line in self.screen.display) + "\n"

    @property
    def last_line(self) -> str:
        """The line the cursor is on."""
        return self.screen.display[self.screen.cursor.y].rstrip()

    def wait(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds for the screen."""
        end = time.monotonic() + WAIT_S
        while not holds():
            if time.monotonic() > end:
                raise AssertionError(f"the screen never showed it:\n{self.text}")
            self._take()

    def _take(self) -> None:
        if not self._read():
            raise AssertionError(f"the shell has ended:\n{self.text}")

    def _read(self) -> bool:
        """Draw what has come; returns whether the shell still has the terminal."""
        if not select.select([self._terminal], [], [], 0.2)[0]:
            return True
        try:
            data = os.read(self._terminal, 65536)
        except OSError:
            return False
        self.drawn += data
        self._stream.feed(data)
        return bool(data)

    def _send(self, data: bytes) -> None:
        os.write(self._terminal, data)

    def sees(self, *texts: str) -> None:
        """Wait until the screen shows texts."""
        self.wait(lambda: all(text in self.text for text in texts))

    def prompts(self) -> None:
        """Wait for an empty prompt."""
        self.wait(lambda: self.last_line.startswith("storm") and self.last_line.endswith(">"))

    def type(self, text: str) -> None:
        """Press keys."""
        self._send(text.encode())

    def enter(self, text: str, *texts: str) -> None:
        """Type a line on a clean screen and wait for what it shows, and the next prompt."""
        self.type(CTRL_L)
        self.wait(lambda: self.screen.cursor.y == 0)
        self.type(text)
        shown = text.split("\n")[-1]
        self.wait(lambda: shown[-40:] in self.text.replace("\n", ""))
        self.type(ENTER)
        self.sees(*texts)
        self.prompts()

    def clear(self) -> None:
        """Drop the line that is typed; there must be one, or the prompt that is there would be taken for the next."""
        assert not self.last_line.endswith(">")
        self.type(CTRL_C)
        self.prompts()

    def end(self) -> int:
        """Leave by Ctrl-D; returns the exit code."""
        self.prompts()
        self.type(CTRL_D)
        return self.ended()

    def ended(self) -> int:
        """Wait until the shell has ended; returns the exit code."""
        end = time.monotonic() + WAIT_S
        while self._read() and time.monotonic() < end:
            pass
        return self.process.wait(WAIT_S)

    def close(self) -> None:
        """End the shell, however it is."""
        self.process.kill()
        self.process.wait()
        os.close(self._terminal)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    config = load_config(
        CortexConfig, dir=tmp_path_factory.mktemp("cortex"), flags={"log_level": "error"}, environ={}
    )
    with running(CortexCell(config)):
        yield config.dir


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def started(folder: Path, home: Path) -> Iterator[Terminal]:
    """One shell for most tests: a process takes a while to start."""
    terminal = Terminal(folder, home)
    try:
        terminal.prompts()
        terminal.wait(lambda: "names are coming" not in terminal.text and "view default" in terminal.text)
        terminal.enter(
            "[ inet:fqdn=www.example.com inet:fqdn=mail.example.com +#case.one +#case.two ]", "2 nodes"
        )
        yield terminal
    finally:
        terminal.close()


@pytest.fixture
def terminal(started: Terminal) -> Iterator[Terminal]:
    yield started
    started.prompts()


def test_names_are_completed_as_they_are_typed(terminal: Terminal) -> None:
    """Each kind of name, by the menu that comes up by itself."""
    for typed, *shown in (
        ("inet:fq", "inet:fqdn", "A domain name."),
        ("inet:fqdn:zo", "inet:fqdn:zone"),
        ("inet:fqdn +:iszo", ":iszone"),
        ("inet:fqdn -> inet:dns:a:ipv", "inet:dns:a:ipv4"),
        ("inet:fqdn -(us", "uses"),
        ("inet:fqdn +#case.", "case.one", "case.two"),
        ("inet:fqdn | lim", "limit", "Pass on at most"),
        ("inet:fqdn | stats.countby --by", "--by-name", "In the order of values"),
        ("$lib.str.jo", "join(", "The texts of items"),
        ("$who = vertex $wh", "who", "of this query"),
        ("\\form", "\\format", "How nodes are shown"),
        ("\\format tr", "tree"),
        ("help inet:fqdn:zo", "inet:fqdn:zone"),
    ):
        terminal.type(typed)
        terminal.sees(typed, *shown)
        terminal.clear()


def test_text_is_coloured_as_it_is_typed(terminal: Terminal) -> None:
    terminal.enter("\\pager on")
    terminal.type("inet:fqdn +#case.one +:host='x'")
    terminal.sees("host='x'")
    row = terminal.screen.cursor.y
    line = terminal.screen.display[row]
    colours = {
        part: terminal.screen.buffer[row][line.index(part)].fg for part in ("inet", "#case", ":host", "'x'")
    }
    assert colours == {"inet": "blue", "#case": "brown", ":host": "cyan", "'x'": "green"}
    terminal.clear()


def test_tab_completes_and_the_query_runs(terminal: Terminal) -> None:
    terminal.type("inet:fqdn:host=mail -> inet:dns:m")
    terminal.sees("inet:dns:mx")
    terminal.type(TAB)
    terminal.wait(lambda: "storm> inet:fqdn:host=mail -> inet:dns:mx\n" in terminal.text)
    terminal.type(ENTER)
    terminal.sees("0 nodes in")


def test_a_query_goes_on_while_brackets_and_quotes_are_open(terminal: Terminal) -> None:
    terminal.type("inet:fqdn +{" + ENTER)
    terminal.sees("\n   ...")
    terminal.type("+:host=mail" + ENTER)
    terminal.sees("   ...     +:host=mail\n   ...")
    terminal.type("} | limit '''" + ENTER + "1'''" + ENTER)
    terminal.sees("inet:fqdn=mail.example.com", "1 node in")
    assert "ERROR" not in terminal.text


def test_an_error_shows_the_place_and_what_was_meant(terminal: Terminal) -> None:
    terminal.enter("inet:fqdnn", "NoSuchProp", "  inet:fqdnn\n  ^^^^^^^^^^", "did you mean inet:fqdn")
    terminal.enter("inet:fqdn +:zone +)", "BadSyntax", "^")
    terminal.enter("\\formt", "did you mean \\format?")
    terminal.enter("help inet:fqdnn", "did you mean inet:fqdn")


def test_ctrl_c_ends_the_query_and_not_the_shell(terminal: Terminal) -> None:
    terminal.type("inet:fqdn:host=mail while true { $lib.time.sleep(1) }" + ENTER)
    # The line of progress, which says how.
    terminal.sees("Ctrl-C cancels")
    terminal.type(CTRL_C)
    terminal.sees("cancelled after")
    terminal.prompts()
    assert "Ctrl-C cancels" not in terminal.text
    # The Cortex has ended it too.
    terminal.enter("task.list | count", "0 nodes")
    terminal.enter("inet:fqdn:host=mail", "1 node in")


def test_what_is_typed_while_a_query_runs_stands_in_the_next_prompt_once(
    folder: Path, terminal: Terminal
) -> None:
    terminal.enter("\\format nodes")
    terminal.type("while ($lib.globals.get(go) = null) { $lib.time.sleep(0.1) } $lib.print(slept)" + ENTER)
    terminal.sees("Ctrl-C cancels")
    before = len(terminal.drawn)
    terminal.type("inet:fqdn:host=ahead")
    terminal.wait(lambda: terminal.drawn.count(b"cancels", before) > 2)
    with open_cell(f"unix://{folder}") as client:
        Session(client, "", io.StringIO()).call("$lib.globals.set(go, yes) return(yes)")
    terminal.sees("slept\n", "storm> inet:fqdn:host=ahead")
    while_it_ran = terminal.drawn[before:].partition(b"slept\r\n")[0]
    assert b"ahead" not in while_it_ran
    terminal.clear()


def test_edits_are_counted_while_they_are_made(terminal: Terminal) -> None:
    terminal.type("init { [ inet:fqdn=counted.example.org ] while true { $lib.time.sleep(1) } }" + ENTER)
    terminal.wait(lambda: re.search(r"0 nodes, \d+ edits, \d", terminal.text) is not None)
    terminal.type(CTRL_C)
    terminal.sees("cancelled after")
    terminal.prompts()


def test_formats(terminal: Terminal) -> None:
    query = "inet:fqdn:zone=example.com +:host=mail"
    terminal.enter("\\format table")
    terminal.enter(
        query, "inet:fqdn          :domain", "mail.example.com   example.com   mail", "#case.one #case.two"
    )
    terminal.enter("\\format json")
    terminal.enter(query, '[{\n  "form": "inet:fqdn",', "\n}\n]\n1 node")
    terminal.enter("\\format jsonl")
    terminal.enter(query, '{"type": "node", "form": "inet:fqdn"', '{"type": "fini"')
    terminal.enter("\\format csv")
    terminal.enter(query, "form,value,:domain,:host", "inet:fqdn,mail.example.com,example.com,mail")
    terminal.enter("\\format tree")
    terminal.enter(query, "├─ :host = mail", "└─ #case\n   ├─ #case.one\n   └─ #case.two")
    terminal.enter("\\format nodes")
    terminal.enter(query, "inet:fqdn=mail.example.com\n        .created", "        #case.one")


def test_what_is_longer_than_the_screen_goes_to_the_pager(terminal: Terminal) -> None:
    terminal.type("for $i in $lib.range(500) { $lib.print(`row {$i}`) }" + ENTER)
    terminal.wait(lambda: terminal.last_line == ":" and "row 20" in terminal.text)
    assert "row 400" not in terminal.text
    terminal.type("G")
    terminal.sees("row 499", "\nin ")
    terminal.type("q")
    terminal.prompts()


def test_an_edit_goes_on_when_its_pager_is_left(terminal: Terminal) -> None:
    terminal.type("for $i in $lib.range(3000) { [ it:dev:int=$i ] }" + ENTER)
    terminal.wait(lambda: terminal.last_line == ":")
    terminal.type("q")
    terminal.sees("the query goes on", "3,000 nodes")
    terminal.prompts()
    terminal.enter("it:dev:int | count", "Counted 3000 nodes.")


def test_variables_stay(terminal: Terminal) -> None:
    terminal.enter("$host = mail", '$host = "mail"')
    terminal.enter("\\set hosts = ([$host, 'www'])", '$hosts = ["mail", "www"]')
    terminal.enter("\\set number 5")
    terminal.enter("inet:fqdn:host*in=$hosts | count", "Counted 2 nodes.")
    terminal.enter("\\set", '$host = "mail"', "$number = 5")
    terminal.enter("\\unset host")
    terminal.enter("inet:fqdn:host=$host", "NoSuchVar")


def test_files_are_run_and_saved(terminal: Terminal, tmp_path: Path) -> None:
    query, saved, again = tmp_path / "q.storm", tmp_path / "last.csv", tmp_path / "again.json"
    query.write_text("inet:fqdn:host=mail\n| limit 1\n")
    terminal.enter(f"\\run {query}", "1 node in")
    terminal.enter(f"\\save {saved}", "1 node as csv")
    assert saved.read_text().splitlines()[1].startswith("inet:fqdn,mail.example.com,example.com,mail,")
    terminal.enter(f"\\save {again} inet:fqdn:zone=example.com", "3 nodes as json")
    assert again.read_text().count('"form": "inet:fqdn"') == 3
    terminal.enter(f"\\run {tmp_path / 'none'}", "No such file")
    terminal.enter("\\! expr 40 + 2", "\n42\n")


def test_help_of_forms_commands_and_functions(terminal: Terminal) -> None:
    terminal.enter("help inet:fqdn:zone", "inet:fqdn:zone  (property)")
    terminal.enter("help limit", "Usage: limit")
    terminal.enter("help $lib.str.join", "join(sepr, items)")


def test_a_query_is_explained_and_profiled(terminal: Terminal) -> None:
    terminal.enter("explain inet:fqdn:host=mail -> inet:dns:a", "The query only reads.")
    terminal.enter("profile inet:fqdn:host=mail", "rows", "runs", "1 node in")
    terminal.enter("explain inet:fqdn +)", "BadSyntax", "^")


def test_views_and_users_are_switched(terminal: Terminal) -> None:
    terminal.enter("$fork = $lib.view.get().fork(name=draft).iden", "$fork = ")
    terminal.enter("$made = $lib.auth.users.add(visi).name", '$made = "visi"')
    terminal.enter("\\view draft", "storm (draft)>")
    terminal.enter("[ inet:fqdn=fork.example.com ]", "1 node")
    terminal.enter("\\view default")
    terminal.wait(lambda: terminal.last_line == "storm>")
    terminal.enter("inet:fqdn=fork.example.com", "0 nodes in")
    terminal.enter("\\user visi", "storm (visi)>")
    terminal.enter("[ inet:fqdn=visi.example.com ]", "AuthDeny")
    terminal.enter("\\user -")
    terminal.enter("\\user", "root")


def test_history_stays_private_and_is_found(folder: Path, home: Path, terminal: Terminal) -> None:
    terminal.enter("inet:fqdn:host=mail | limit 7", "1 node")
    file = home / ".cellmesh" / "storm_history"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    other = Terminal(folder, home)
    try:
        other.prompts()
        other.type(CTRL_R + "limit 7")
        other.sees("storm> inet:fqdn:host=mail | limit 7")
        other.type(ENTER + ENTER)
        other.sees("1 node in")
        assert other.end() == 0
    finally:
        other.close()


def test_a_cortex_that_is_not_there_is_told_of_at_once(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, tmp_path, "--url", f"unix://{tmp_path}/none")
    try:
        assert terminal.ended() == 1
        assert "cellmesh: the cell cannot be reached at" in terminal.text
        assert "storm>" not in terminal.text
    finally:
        terminal.close()
