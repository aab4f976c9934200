"""What every cell has of users from the first moment, and users as other code holds them."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import pytest
from cellmesh.common.auth.context import ROOT_ID
from cellmesh.common.auth.principals import ALL_ID, Role, User
from cellmesh.common.auth.rules import Rule
from cellmesh.common.auth.schema import DATABASES as AUTH_DATABASES
from cellmesh.common.auth.store import AuthStore
from cellmesh.common.changelog import DATABASES as LOG_DATABASES
from cellmesh.common.changelog import ChangeLog
from cellmesh.common.errors import BadArg
from cellmesh.common.storage import Slab

NAMES = st.sampled_from(["ann", "bob", "cyd", "dee"])
ROLE_NAMES = st.sampled_from(["hunters", "readers", "all"])
GATES = st.sampled_from(["", "", "layer1", "view1"])
PATHS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map(tuple)
RULES = st.builds(Rule, st.booleans(), PATHS)
QUESTIONS = [(a,) for a in "abc"] + [(a, b) for a in "abc" for b in "abc"] + [("a", "b", "c")]


def open_slab(path: Path) -> Slab:
    return Slab.open(
        path, (*AUTH_DATABASES, *LOG_DATABASES), map_size_bytes=1 << 24, sync=False, space_min_bytes=0
    )


def test_root_and_all_are_there_from_the_first_moment_and_stay(tmp_path: Path) -> None:
    with open_slab(tmp_path / "slab") as slab:
        store = AuthStore(slab)
        assert store.get_user("root") == User(ROOT_ID, "root", admin=True)
        assert store.get_role("all") == Role(ALL_ID, "all")
        for attempt in (
            lambda: store.delete_user("root"),
            lambda: store.update_user("root", admin=False),
            lambda: store.update_user("root", locked=True),
            lambda: store.update_user("root", archived=True),
            lambda: store.update_user("root", new_name="toor"),
            lambda: store.delete_role("all"),
            lambda: store.rename_role("all", "some"),
            lambda: store.revoke("root", "all"),
        ):
            with pytest.raises(BadArg):
                attempt()
        # Nothing was stored for any of that.
        with slab.view() as txn:
            assert ChangeLog(slab).next_offset(txn) == 0


def test_a_user_held_by_other_code_loses_its_rights_at_once(tmp_path: Path) -> None:
    with open_slab(tmp_path / "slab") as slab:
        store = AuthStore(slab)
        store.add_user("bob", admin=True)
        held = store.user("bob")
        assert held.admin
        assert held.allowed("node.add")
        store.update_user("bob", locked=True)
        assert not held.admin
        assert not held.allowed("node.add", default=True)
        store.update_user("bob", locked=False, admin=False)
        store.add_rule(held.record, Rule.parse("node.add"))
        assert held.allowed("node.add")
        store.delete_user("bob")
        assert not held.allowed("node.add", default=True)
        # Another of the same name is somebody else.
        store.add_user("bob", admin=True)
        assert not held.admin
        assert not held.allowed("node.add", default=True)
