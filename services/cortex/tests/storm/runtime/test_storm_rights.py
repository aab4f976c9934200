"""What a user may edit is remembered by a query, but not longer than the rules stay."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.common.errors import AuthDeny
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime.rights import rights_of

sys.path.insert(0, str(Path(__file__).parents[1]))

from storm_kit import open_engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with open_engine(tmp_path) as opened:
        yield opened


def test_an_answer_is_forgotten_when_rules_change(engine: Engine) -> None:
    engine.call('$user=$lib.auth.users.add(editor) $user.addRule(([true, ["node"]]))')
    graph = engine.graph
    rights = rights_of(engine, "editor")
    assert rights is not None
    with graph.begin(graph.view(None), user="editor") as session:
        for _ in range(2):
            rights.confirm_edit(session, ("node", "add", "inet:asn"))
        engine.call('$lib.auth.users.byname(editor).addRule(([false, ["node", "add"]]), indx=(0))')
        for _ in range(2):
            with pytest.raises(AuthDeny):
                rights.confirm_edit(session, ("node", "add", "inet:asn"))
        rights.confirm_edit(session, ("node", "tag", "add", "foo"))
        engine.call('$lib.auth.users.byname(editor).delRule(([false, ["node", "add"]]))')
        rights.confirm_edit(session, ("node", "add", "inet:asn"))
