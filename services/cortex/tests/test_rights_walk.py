"""Every function of `$lib` as a user without a rule: refused where Synapse refuses.

`storm/inventory/rights.json` says what Synapse did when such a user called each function with the arguments of
`test_library_specs.py`: `denied` are those that ended with AuthDeny. Facts only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime.interface import FunctionSpec
from cellmesh.cortex.storm.runtime.messages import Error
from cellmesh.cortex.storm.runtime.options import QueryOptions

sys.path.insert(0, str(Path(__file__).parent / "storm"))
sys.path.insert(0, str(Path(__file__).parent / "storm" / "library"))
from storm_kit import open_engine
from test_library_specs import ARGUMENTS, FUNCTIONS

TABLE = json.loads((Path(__file__).with_name("storm") / "inventory" / "rights.json").read_text())
DENIED, ALLOWED = frozenset(TABLE["denied"]), frozenset(TABLE["allowed"])

# Here the right is asked for first; Synapse first says that there is nothing of that name.
ASKED_FIRST = frozenset(
    {"$lib.layer.del", "$lib.view.del", "$lib.queue.del", "$lib.queue.gen", "$lib.queue.get"}
)

USER = "low"


@pytest.fixture(scope="module", name="engine")
def _engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with open_engine(tmp_path_factory.mktemp("rights")) as engine:
        engine.call(f"$lib.auth.users.add({USER})")
        yield engine


def error_of(engine: Engine, query: str) -> str | None:
    found = None
    for message in engine.storm(query, QueryOptions(user=USER)):
        if isinstance(message, Error):
            found = message.error.name
    return found


@pytest.mark.parametrize(("name", "spec"), FUNCTIONS, ids=[name for name, _ in FUNCTIONS])
def test_it_is_refused_where_synapse_refuses(engine: Engine, name: str, spec: FunctionSpec) -> None:
    assert name in DENIED | ALLOWED, f"{name}: nobody has looked what Synapse does"
    given = ARGUMENTS.get(name, "")
    call = f"{name}({given[0] if isinstance(given, tuple) else given})"
    error = error_of(engine, f"for $item in {call} {{ }}" if spec.is_generator else f"$x={call}")
    assert (error == "AuthDeny") == (name in DENIED | ASKED_FIRST), error


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("a, b, global, $lib.null", "AuthDeny"),
        ("a, b, role, $lib.auth.roles.byname(all).iden", "AuthDeny"),
        ("a, b, user, $lib.auth.users.byname(root).iden", "AuthDeny"),
        ("a, b, user, $lib.user.iden", None),
        ("c, d, $lib.null, $lib.user.iden", None),
    ],
)
def test_whose_vaults_a_user_makes(engine: Engine, arguments: str, error: str | None) -> None:
    assert error_of(engine, f"$lib.vault.add({arguments}, ({{}}), ({{}}))") == error


@pytest.mark.parametrize(
    "query",
    [
        "[ inet:ipv4=1.2.3.4 ]",
        "$lib.globals.set(a, b)",
        "[ ou:org=* ] $lib.model.migration.fuse($node, $node)",
        "aha.svc.list",
        "aha.pool.add a",
        "task.kill none",
        "queue.add a",
        "macro.set a { inet:ipv4 } | runas root { inet:ipv4 }",
    ],
)
def test_nothing_is_left_behind(engine: Engine, query: str) -> None:
    assert error_of(engine, query) in ("AuthDeny", "StormRuntimeError")
    assert engine.count("inet:ipv4 ou:org") == 0
