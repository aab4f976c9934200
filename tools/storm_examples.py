"""Run the examples of the Storm reference on a real Cortex, and keep what they give.

python tools/storm_examples.py            run all; say what is wrong or gives something else than is kept
python tools/storm_examples.py --record   run all, and keep what they give and which rights they ask for
python tools/storm_examples.py NAME ...   run those whose name begins so and show what they give

Examples are in `docs/reference/storm/examples/*.storm`: a line `//: NAME, NAME` says what the query below it shows. Each
runs in a fork of a small graph (`GRAPH`), on a Cortex with an AHA, an Axon, a web server, mail servers and a Storm service beside
it, whose addresses are in variables (`World.variables`). What an example gives is kept if two Cortexes give the same.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

sys.path.insert(0, str(ROOT))

from cellmesh.aha.cell import AhaCell
from cellmesh.aha.config import AhaConfig
from cellmesh.api.aha.v1 import enrollment_pb2, enrollment_service_pb2_grpc, pool_pb2, pool_service_pb2_grpc
from cellmesh.common.auth.rules import path_text
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import CellError
from cellmesh.common.rpc.channel import open_channel
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.rights import checks as checks_module
from cellmesh.cortex.storm.runtime import context as context_module
from cellmesh.cortex.storm.runtime.messages import CsvRow, Error, Fire, NodeRow, Print, Warn
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cellmesh.cortex.storm.runtime.rights import Rights

from tools.storm_example_files import GRAPH, RESULTS, Example, examples, results
from tools.storm_servers import servers

TEXT_SIZE_MAX = 600
"""Characters of a result that the reference shows."""

MEMORY = Path("/dev/shm")
"""Where files are in memory: examples sync a thousand times, and no disk has to keep them."""

REGISTERED_S = 30.0
"""How long AHA may take to know the Cortex."""

ADMINISTRATOR = "(administrators only)"


@dataclass(slots=True)
class Given:
    """What an example gave, in lines; its error, if it ended with one; the rights that each name asked for."""

    lines: list[str] = field(default_factory=list)
    error: str | None = None
    rights: dict[str, set[str]] = field(default_factory=dict)


class Recorder:
    """Takes note of what is asked of the user of a query, who may do everything."""

    def __init__(self) -> None:
        self._asked: dict[str, set[str]] | None = None
        self._within: list[str] = []
        checks: Any = checks_module.CHECKS
        for path, check in list(checks.items()):
            checks[path] = self._noting(".".join(path), check)
        patched: Any = context_module
        patched.rights_of = self._rights_of

        def confirm_admin(context: Any, what: str) -> None:
            if context.run.rights is not None:
                self.note(ADMINISTRATOR)

        patched.RunContext.confirm_admin = confirm_admin

    def begin(self, given: Given) -> None:
        """What is asked from now on belongs to an example."""
        self._asked = given.rights

    def end(self) -> None:
        """It ends."""
        self._asked = None

    def note(self, text: str) -> None:
        """Something is asked."""
        if self._asked is not None:
            self._asked.setdefault(self._within[-1] if self._within else "", set()).add(text)

    def _noting(self, name: str, check: Any) -> Any:
        def noting(*arguments: Any) -> None:
            self._within.append(name)
            try:
                check(*arguments)
            finally:
                self._within.pop()

        return noting

    def _rights_of(self, engine: Any, user: str) -> Rights | None:
        if self._asked is None:
            return None
        auth = engine.capabilities["auth"]
        found = auth.policy.find_user(user)
        return Noting(self, auth, found.name, found.user_id)


class Noting(Rights):
    """Rights to everything that are taken note of when they are asked for."""

    __slots__ = ("_recorder",)

    def __init__(self, recorder: Recorder, auth: Any, user: str, user_id: str) -> None:
        super().__init__(auth, user, user_id)
        self._recorder = recorder

    def allowed(self, path: tuple[str, ...], gate: str = "", *, default: bool = False) -> bool:
        """Take note, and allow."""
        if not default and path != ("view", "read"):
            self._recorder.note(path_text(path))
        return True

    def is_admin(self) -> bool:
        """Administrators may do everything."""
        return True


class World:
    """A Cortex and what the examples reach from it."""

    def __init__(self, engine: Engine, variables: dict[str, Any]) -> None:
        self._engine = engine
        self._variables = variables
        for message in engine.storm(GRAPH):
            assert not isinstance(message, Error), message.error

    def run(self, example: Example, recorder: Recorder | None = None) -> Given:
        """Run an example in a fork of its own."""
        fork = self._engine.call("return($lib.view.get().fork().iden)")
        options = QueryOptions(vars=self._variables, view=fork)
        given = Given()
        if recorder is not None:
            recorder.begin(given)

        def take(message: Any) -> None:
            line = _line(message)
            if line is not None:
                given.lines.append(line)

        try:
            if is_call(example.query):
                value = self._engine.start(example.query, options).value(take)
                given.lines.append(text_of(value))
            else:
                for message in self._engine.storm(example.query, options):
                    take(message)
                    if isinstance(message, Error):
                        given.error = f"{message.error.name}: {message.error.message}"
        except CellError as error:
            given.error = f"{error.name}: {error.message}"
        finally:
            if recorder is not None:
                recorder.end()
        return given


def is_call(query: str) -> bool:
    """Whether a query returns a value, but for the functions and queries within it."""
    depth = 0
    for index, letter in enumerate(query):
        depth += (letter == "{") - (letter == "}")
        is_last = query.startswith("fini { return(", index) or query.startswith("return(", index)
        if is_last and (depth == 0 or query.startswith("fini", index)):
            return True
    return False


def text_of(value: Any) -> str:
    """A returned value, as JSON."""

    def plain(other: Any) -> Any:
        if isinstance(other, bytes):
            return f"bytes {other.hex()}"
        return float(other) if isinstance(other, Decimal) else str(other)

    return json.dumps(value, ensure_ascii=False, default=plain)


def _line(message: Any) -> str | None:
    match message:
        case NodeRow():
            return f"{message.node.form.name}={message.node.repr()}"
        case Print():
            return str(message.text)
        case Warn():
            return f"warning: {message.text}"
        case Fire():
            return f"event {message.type}: {text_of(message.data)}"
        case CsvRow():
            return f"row of {message.table}: {text_of(message.row)}"
        case _:
            return None


@contextmanager
def world() -> Iterator[World]:
    """A fresh Cortex with everything beside it."""
    place = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="storm-examples-", dir=place) as name, servers() as variables:
        folder = Path(name)
        mesh = {"network": "demo", "stop_grace_s": 0.5, "log_level": "error"}
        with running(AhaCell(load_config(AhaConfig, dir=folder / "aha", flags=mesh, environ={}))) as aha:
            with open_channel(f"unix:{aha.config.dir}/cell.sock") as channel:
                stub = enrollment_service_pb2_grpc.CertificateServiceStub(channel)
                made = stub.CreateEnrollment(enrollment_pb2.CreateEnrollmentRequest(instance="00.cortex"))
                pools = pool_service_pb2_grpc.PoolServiceStub(channel)
                pools.CreatePool(pool_pb2.CreatePoolRequest(name="readers", members=["cortex"]))
            flags = {"enroll": made.url, "stop_grace_s": 0.5, "log_level": "error"}
            flags["axon"] = f"cell://{folder}/axon?axon"
            cortex = load_config(CortexConfig, dir=folder / "cortex", flags=flags, environ={})
            with running(CortexCell(cortex)) as cell:
                deadline = time.monotonic() + REGISTERED_S
                while cell.engine.call("return($lib.aha.get(cortex))") is None:
                    assert time.monotonic() < deadline, "AHA does not know the Cortex"
                    time.sleep(0.05)
                yield World(cell.engine, {**variables, "cell_url": f"unix://{folder}/cortex/cell.sock"})


def run_all(recorder: Recorder | None = None) -> dict[str, Given]:
    """What each example gives, by its first name."""
    with world() as here:
        return {one.key: here.run(one, recorder) for one in examples()}


def failures(found: dict[str, Given]) -> list[str]:
    """Examples that end with an error."""
    return [f"{name}: {given.error}" for name, given in found.items() if given.error is not None]


def record() -> None:
    """Run everything three times and keep what is the same, and the rights."""
    first, second = run_all(), run_all()
    for line in failures(first):
        print(line, file=sys.stderr)
    asked = run_all(Recorder())
    given = {
        name: _short(one.lines)
        for name, one in first.items()
        if one.lines and one.error is None and one.lines == second[name].lines
    }
    rights: dict[str, list[str]] = {}
    for example in examples():
        found = asked[example.key].rights
        for name in example.names:
            own = set(found.get(name.removeprefix("$lib."), ()))
            if len(example.names) == 1:
                own |= found.get("", set())
            if own:
                rights[f"{example.kind} {name}"] = sorted(own)
    kept = {"given": given, "rights": rights}
    RESULTS.write_text(
        json.dumps(kept, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8"
    )
    print(f"{len(first)} examples, {len(given)} always give the same")


def _short(lines: list[str]) -> list[str]:
    kept: list[str] = []
    size = 0
    for line in lines:
        size += len(line)
        if size > TEXT_SIZE_MAX:
            return [*kept, line[: max(0, len(line) - (size - TEXT_SIZE_MAX))] + " ..."]
        kept.append(line)
    return kept


def check() -> int:
    """Run everything; 1 if something fails or gives something else than is kept."""
    kept = results()["given"]
    found = run_all()
    wrong = failures(found)
    for name, lines in kept.items():
        if name not in found:
            wrong.append(f"{name}: kept, but no example any more")
        elif _short(found[name].lines) != lines:
            wrong.append(f"{name}: gave {_short(found[name].lines)}, kept {lines}")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


def show(names: list[str]) -> int:
    """Run some, and show what they give."""
    with world() as here:
        for example in examples():
            if any(name.startswith(wanted) for name in example.names for wanted in names):
                given = here.run(example)
                print(f"{', '.join(example.names)}: {given.error or 'fine'}")
                print("\n".join(f"    {line}" for line in given.lines))
    return 0


def main() -> int:
    """Run, record or show."""
    if "--record" in sys.argv[1:]:
        record()
        return 0
    return show(sys.argv[1:]) if sys.argv[1:] else check()


if __name__ == "__main__":
    raise SystemExit(main())
