"""Commands of the shell that read and write files: queries run, answers saved, lines edited and looked up."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from cellmesh.api.cortex.v1 import storm_pb2
from cellmesh.cli.shell.meta import Wrong
from cellmesh.cli.shell.rendering import SUFFIXES, Paint, error_lines, make_renderer
from cellmesh.cli.shell.running import RunningQuery
from cellmesh.cli.totals import counted
from cellmesh.common.errors import from_detail

if TYPE_CHECKING:
    from cellmesh.cli.shell.session import Session

EDITOR: Final = "vi"
HISTORY_COUNT: Final = 20
FILE_SIZE_MAX: Final = 4_000_000
"""A file with a longer query is none: the Cortex takes no longer text."""


def run(session: Session, rest: str) -> None:
    session.run_query(_read(_one_path(rest)))


def save(session: Session, rest: str) -> None:
    """Write the last answer, or that of a query, to a file, in the format that the file's name tells."""
    found = _PATH_AND_QUERY.fullmatch(rest)
    if found is None:
        raise Wrong("which file?")
    path, query = _one_path(found[1]), found[2].strip()
    format_name = SUFFIXES.get(path.suffix, session.format)
    renderer = make_renderer(format_name, Paint(False), None)
    if not query and not session.kept.messages:
        raise Wrong(
            "there is no answer yet; give a query behind the file" if not session.kept.text else _TOO_MUCH
        )
    if not query and not session.kept.is_whole:
        raise Wrong(_TOO_MUCH)
    options = session.options()
    running = (
        RunningQuery(session.client, storm_pb2.StormRequest(text=query, options=options)) if query else None
    )
    count = 0
    # Beside it first: a query that is cancelled or fails leaves what was there as it was.
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with _opened(beside, path) as file:
            for message in running.messages() if running else session.kept.messages:
                if message is None:
                    continue
                if query and message.HasField("err"):
                    session.show(error_lines(from_detail(message.err), query, session.paint))
                    return
                count += message.HasField("node")
                for line in renderer.lines(message):
                    file.write(line + "\n")
            for line in renderer.end():
                file.write(line + "\n")
        beside.replace(path)
    finally:
        if running is not None:
            running.cancel()
        beside.unlink(missing_ok=True)
    session.say(f"{counted(count, 'node')} as {format_name} in {path}")


def _opened(beside: Path, path: Path) -> IO[str]:
    try:
        return beside.open("w", encoding="utf-8")
    except OSError as error:
        # Told of the file that was asked for, not of the one beside it.
        raise OSError(error.errno, error.strerror, str(path)) from None


_PATH_AND_QUERY: Final = re.compile(r"""("[^"]*"|'[^']*'|\S+)(.*)""", re.DOTALL)

_TOO_MUCH: Final = "the last answer was cancelled or too large to be kept; give its query behind the file"


def edit(session: Session, rest: str) -> None:
    """Open an editor on a file or the last query; what is saved is the next line."""
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or EDITOR)
    if rest:
        path = _one_path(rest)
        subprocess.run([*editor, str(path)], check=False)
        session.next_text = _read(path).rstrip("\n")
        return
    handle, name = tempfile.mkstemp(suffix=".storm")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(session.kept.text + "\n")
        subprocess.run([*editor, name], check=False)
        session.next_text = _read(Path(name)).rstrip("\n")
    finally:
        Path(name).unlink(missing_ok=True)


def history(session: Session, rest: str) -> None:
    from cellmesh.cli.shell.history import ShellHistory, history_file

    found = []
    for entry in ShellHistory(history_file()).load_history_strings():
        if rest.lower() in entry.lower():
            found.append(entry)
        if not rest and len(found) == HISTORY_COUNT:
            break
    session.show(line for entry in reversed(found) for line in entry.split("\n"))


def _one_path(text: str) -> Path:
    if not text:
        raise Wrong("which file?")
    return Path(text.strip("'\"")).expanduser()


def _read(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        try:
            text = file.read(FILE_SIZE_MAX + 1)
        except UnicodeDecodeError:
            raise Wrong(f"{path} is no text in UTF-8") from None
    if len(text) > FILE_SIZE_MAX:
        raise Wrong(f"{path} has more than {FILE_SIZE_MAX:,} characters")
    return text
