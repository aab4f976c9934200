"""Key-values of a real cell: reads, changes, lists, watches, rules, restart, records applied again."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import grpc
import pytest
from cellmesh.api.common.v1 import key_value_service_pb2 as pb
from cellmesh.api.common.v1 import key_value_service_pb2_grpc
from cellmesh.common.auth.rules import Rule
from cellmesh.common.cell import Cell, running
from cellmesh.common.changelog import DATABASES as LOG_DATABASES
from cellmesh.common.changelog import ChangeLog, Replay
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.errors import (
    AuthDeny,
    BadHivePath,
    BadState,
    BadTypeValu,
    DupName,
    LimitExceeded,
    NoSuchName,
    ShuttingDown,
    StorageCorrupt,
    from_rpc_error,
)
from cellmesh.common.keyvalues import DATABASES, KeyValueApplier, KeyValues
from cellmesh.common.keyvalues.schema import DEPTH_MAX, KEYVALUES, key_of, path_of
from cellmesh.common.keyvalues.store import walk
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.storage import Slab, SubDb
from cellmesh.common.values import from_value, to_value
from hypothesis import given, settings
from hypothesis import strategies as st

FACTS = SubDb("facts", "name -> what it is")
PASSWORD = "correct horse battery"


class KeepConfig(CellConfig):
    kind: ClassVar[str] = "keep"


class KeepCell(Cell[KeepConfig]):
    """A cell with nothing of its own."""

    kind = "keep"
    databases = (FACTS, *LOG_DATABASES)


def make(folder: Path) -> KeepCell:
    flags = {"insecure": True, "stop_grace_s": 2.0}
    return KeepCell(load_config(KeepConfig, dir=folder, flags=flags, environ={}))


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[KeepCell]:
    with running(make(tmp_path / "cell")) as made:
        yield made


class Wire:
    """Calls to KeyValueService; errors come as ours."""

    def __init__(self, channel: grpc.Channel, user: str = "") -> None:
        self.stub = key_value_service_pb2_grpc.KeyValueServiceStub(channel)
        text = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
        self.metadata = (("authorization", f"Basic {text}"),) if user else ()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*path: str, **fields: Any) -> Any:
            method, request = getattr(self.stub, f"{name}KeyValue"), getattr(pb, f"{name}KeyValueRequest")
            if "value" in fields:
                fields["value"] = to_value(fields["value"])
            try:
                return method(request(path=path, **fields), metadata=self.metadata, timeout=10)
            except grpc.RpcError as error:
                raise from_rpc_error(error) from None

        return call

    def value(self, *path: str) -> Any:
        found = self.Get(*path)
        return from_value(found.key_value.value) if found.HasField("key_value") else None

    def list(self, *path: str, **fields: Any) -> list[pb.KeyValue]:
        request = pb.ListKeyValuesRequest(path=path, **fields)
        try:
            messages = list(self.stub.ListKeyValues(request, metadata=self.metadata, timeout=10))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        return [item for message in messages for item in message.key_values]

    def paths(self, *path: str, **fields: Any) -> list[str]:
        return ["/".join(item.path) for item in self.list(*path, **fields)]

    def load(self, values: dict[str, Any], **fields: Any) -> pb.LoadKeyValuesResponse:
        items = [pb.KeyValue(path=path.split("/"), value=to_value(value)) for path, value in values.items()]
        try:
            return self.stub.LoadKeyValues(
                pb.LoadKeyValuesRequest(key_values=items, **fields), metadata=self.metadata, timeout=10
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    def watch(self, *path: str, snapshot: bool = False) -> Watching:
        request = pb.WatchKeyValuesRequest(path=path, snapshot=snapshot)
        return Watching(self.stub.WatchKeyValues(request, metadata=self.metadata, timeout=20))


class Watching:
    """One watch: its events as (path, value or None), one at a time."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self._left: list[pb.KeyValueEvent] = []
        self.live = False

    def next(self) -> tuple[str, Any] | None:
        """The next event; None when the watch has become live."""
        while not self._left:
            try:
                message = next(self.call)
            except grpc.RpcError as error:
                raise from_rpc_error(error) from None
            self._left = list(message.events)
            if message.live:
                self.live = True
                return None
        event = self._left.pop(0)
        path = "/".join(event.key_value.path)
        return path, None if event.deleted else from_value(event.key_value.value)


@pytest.fixture
def root(cell: KeepCell) -> Iterator[Wire]:
    with open_channel(f"unix:{cell.folder.socket_path}") as channel:
        yield Wire(channel)


@pytest.fixture
def alice(cell: KeepCell) -> Iterator[Wire]:
    cell.auth.add_user("alice")
    cell.passwords.set_password("alice", PASSWORD)
    with open_channel(f"unix:{cell.folder.socket_path}") as channel:
        yield Wire(channel, "alice")


def allow(cell: KeepCell, *rules: str) -> None:
    cell.auth.set_rules(cell.auth.get_user("alice"), [Rule.parse(rule) for rule in rules])


def test_values_are_set_read_counted_and_deleted(root: Wire) -> None:
    assert root.value("app", "colour") is None
    first = root.Set("app", "colour", value="red")
    assert not first.HasField("old")
    second = root.Set("app", "colour", value={"hue": [1, 2.5, None, b"\x00"]})
    assert from_value(second.old.value) == "red"
    assert second.key_value.revision > first.key_value.revision > 0
    assert root.value("app", "colour") == {"hue": [1, 2.5, None, b"\x00"]}
    assert [from_value(root.Add("n", amount=step).key_value.value) for step in (5, -7)] == [5, -2]
    with pytest.raises(BadTypeValu):
        root.Add("app", "colour", amount=1)
    assert from_value(root.Pop("n").old.value) == -2
    assert root.Pop("n").deleted_count == 0


def test_a_value_is_set_only_if_it_is_as_expected(root: Wire) -> None:
    made = root.Set("lock", value="me", expected_revision=0)
    with pytest.raises(BadState):
        root.Set("lock", value="other", expected_revision=0)
    root.Set("lock", value="again", expected_revision=made.key_value.revision)
    with pytest.raises(BadState):
        root.Set("lock", value="late", expected_revision=made.key_value.revision)
    assert root.value("lock") == "again"


def test_lists_show_children_or_the_whole_tree_and_go_on_where_they_ended(root: Wire) -> None:
    root.load({"b": 1, "a/x/1": 1, "a/x/2": 2, "a": 0, "ab": 3, "a/\x00": 4})
    assert root.paths() == ["a", "ab", "b"]
    children = root.list("a")
    assert [("/".join(item.path), item.HasField("value"), item.has_children) for item in children] == [
        ("a/\x00", True, False),
        ("a/x", False, True),
    ]
    whole = root.paths(tree=True)
    assert whole == ["a", "a/\x00", "a/x/1", "a/x/2", "ab", "b"]
    walked: list[str] = []
    while True:
        part = root.list(tree=True, count_max=2, after=walked[-1].split("/") if walked else [])
        if not part:
            break
        walked += ["/".join(item.path) for item in part]
    assert walked == whole
    assert root.paths(after=["a", "x", "1"]) == ["ab", "b"]
    assert not any(item.HasField("value") for item in root.list(tree=True, names_only=True))
    with pytest.raises(BadHivePath):
        root.list("a", after=["b"])


def test_a_long_list_comes_whole(root: Wire) -> None:
    root.load({f"many/{number:04}": number for number in range(1000)})
    assert [from_value(item.value) for item in root.list("many")] == list(range(1000))
    assert root.Pop("many", tree=True).deleted_count == 1000
    assert root.paths() == []


def test_loading_is_all_or_nothing_and_trims(root: Wire) -> None:
    root.load({"s/old": 1, "s/kept": 1, "t": 1})
    done = root.load({"s/kept": 2, "s/new/1": 3}, trim=True, path=["s"])
    assert (done.set_count, done.deleted_count) == (2, 1)
    assert root.paths(tree=True) == ["s/kept", "s/new/1", "t"]
    with pytest.raises(LimitExceeded):
        root.load({"s/a": 1, "s/b": "x" * (1 << 20)})
    assert root.paths("s") == ["s/kept", "s/new"]


@pytest.mark.parametrize(
    "path", [[], [""], ["x"] * (DEPTH_MAX + 1), ["x" * 201], ["y" * 190, "y" * 190, "y" * 100]]
)
def test_paths_that_cannot_be_are_told_why(root: Wire, path: list[str]) -> None:
    with pytest.raises(BadHivePath) as told:
        root.Set(*path, value=1)
    assert "path" in told.value.message


def test_a_watch_tells_what_is_there_and_then_each_change_in_order(root: Wire) -> None:
    root.load({"w/a": 1, "w/b/c": 2, "other": 0})
    watch = root.watch("w", snapshot=True)
    assert [watch.next() for _ in range(3)] == [("w/a", 1), ("w/b/c", 2), None]
    root.Set("other", value=1)
    root.Set("w", "a", value=10)
    root.Pop("w", tree=True)
    root.Set("w", value="top")
    assert [watch.next() for _ in range(4)] == [("w/a", 10), ("w/a", None), ("w/b/c", None), ("w", "top")]
    watch.call.cancel()


def test_no_change_is_lost_or_told_twice_while_a_snapshot_is_read(root: Wire) -> None:
    root.load({f"c/{number:04}": 0 for number in range(500)})
    stop = threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        while not stop.is_set() or written < 40:
            written += 1
            root.Set("c", f"{written * 37 % 500:04}", value=written)

    thread = threading.Thread(target=write)
    thread.start()
    watch = root.watch("c", snapshot=True)
    seen: dict[str, int] = {}
    try:
        while (event := watch.next()) is not None:
            assert event[0] not in seen, "the snapshot told a path twice"
            seen[event[0]] = event[1]
    finally:
        stop.set()
        thread.join()
    root.Set("c", "end", value=-1)
    while (event := watch.next()) != ("c/end", -1):
        assert event is not None
        # Values only grow, so an event of before the snapshot would show.
        assert event[1] > seen[event[0]]
        seen[event[0]] = event[1]
    watch.call.cancel()
    now = {"/".join(item.path): from_value(item.value) for item in root.list("c")}
    assert seen == {path: value for path, value in now.items() if path != "c/end"}


def test_watches_end_when_the_cell_stops(tmp_path: Path) -> None:
    told: list[BaseException] = []
    cell = make(tmp_path / "cell")
    channel = open_channel(f"unix:{cell.folder.socket_path}")
    with running(cell):
        watch = Wire(channel).watch()
        assert watch.next() is None

        def wait() -> None:
            try:
                watch.next()
            except ShuttingDown as error:
                told.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        running_tasks = [call.method for call in cell.tasks.running.values()]
        assert running_tasks == ["/cellmesh.api.common.v1.KeyValueService/WatchKeyValues"]
    thread.join()
    channel.close()
    assert told


def test_a_user_reaches_what_rules_allow_and_nothing_else(cell: KeepCell, root: Wire, alice: Wire) -> None:
    root.load({"app/a": 1, "app/secret": 2, "sys": 3})
    for refused in (
        lambda: alice.Get("app", "a"),
        lambda: alice.Set("app", "a", value=1),
        lambda: alice.Add("app", "a", amount=1),
        lambda: alice.Pop("app", "a"),
        lambda: alice.list(),
        lambda: alice.load({"app/a": 1}),
        lambda: alice.watch().next(),
    ):
        with pytest.raises(AuthDeny) as told:
            refused()
        assert "cell.kv." in told.value.get("perm")
    allow(cell, "!cell.kv.list.app.secret", "cell.kv.list.app", "cell.kv.get.app.a", "cell.kv.set.app")
    assert alice.paths("app") == ["app/a"]
    assert alice.value("app", "a") == 1
    with pytest.raises(AuthDeny):
        alice.Get("app", "secret")
    with pytest.raises(AuthDeny):
        alice.list()
    alice.Set("app", "b", value=1)
    with pytest.raises(AuthDeny):
        alice.load({"app/c": 1, "sys": 1})
    with pytest.raises(AuthDeny):
        alice.load({"app/c": 1}, trim=True, path=["app"])
    assert root.paths(tree=True) == ["app/a", "app/b", "app/secret", "sys"]


def test_a_tree_is_deleted_only_by_who_may_delete_all_of_it(cell: KeepCell, root: Wire, alice: Wire) -> None:
    root.load({"app/a": 1, "app/secret": 2})
    allow(
        cell, "!cell.kv.pop.app.secret", "cell.kv.pop.app", "cell.kv.watch.app", "!cell.kv.watch.app.secret"
    )
    with pytest.raises(AuthDeny):
        alice.Pop("app", tree=True)
    assert root.paths("app") == ["app/a", "app/secret"]
    assert alice.Pop("app", "a").deleted_count == 1
    allow(cell, "!cell.kv.watch.app.secret", "cell.kv.watch.app")
    watch = alice.watch("app", snapshot=True)
    assert watch.next() is None
    root.Set("app", "secret", value=3)
    root.Set("app", "open", value=4)
    assert watch.next() == ("app/open", 4)
    watch.call.cancel()


def move(wire: Wire, path: str, new_path: str) -> int:
    request = pb.MoveKeyValuesRequest(path=path.split("/"), new_path=new_path.split("/"))
    try:
        return wire.stub.MoveKeyValues(request, metadata=wire.metadata, timeout=10).moved_count
    except grpc.RpcError as error:
        raise from_rpc_error(error) from None


def test_a_place_is_moved_with_all_that_is_below(root: Wire) -> None:
    root.load({"app": 1, "app/a": 2, "app/a/b": 3, "apple": 4})
    before = root.Get("app", "a", "b").key_value
    watch = root.watch("x")
    assert watch.next() is None
    assert move(root, "app", "x/y") == 3
    assert [watch.next() for _ in range(3)] == [("x/y", 1), ("x/y/a", 2), ("x/y/a/b", 3)]
    watch.call.cancel()
    assert root.paths(tree=True) == ["apple", "x/y", "x/y/a", "x/y/a/b"]
    after = root.Get("x", "y", "a", "b").key_value
    assert after.update_time == before.update_time
    assert after.revision > before.revision
    for path, new_path, error in (
        ("x", "x/y/z", BadHivePath),
        ("x/y", "x", BadHivePath),
        ("x", "x", BadHivePath),
        ("none", "some", NoSuchName),
        ("apple", "x/y", DupName),
        ("apple", "x", DupName),
        ("x", "/".join(["n" * 156] * 3), BadHivePath),
    ):
        with pytest.raises(error):
            move(root, path, new_path)
    assert root.paths(tree=True) == ["apple", "x/y", "x/y/a", "x/y/a/b"]


def test_a_place_is_moved_only_by_who_may_read_delete_and_set(
    cell: KeepCell, root: Wire, alice: Wire
) -> None:
    root.load({"app/a": 1, "app/secret": 2})
    allow(cell, "!cell.kv.get.app.secret", "cell.kv.get.app", "cell.kv.pop.app", "cell.kv.set.mine")
    for path, new_path in (("app", "mine"), ("app/secret", "mine"), ("app/a", "other")):
        with pytest.raises(AuthDeny):
            move(alice, path, new_path)
    assert move(alice, "app/a", "mine") == 1
    assert root.paths(tree=True) == ["app/secret", "mine"]


def test_values_outlive_a_restart_and_their_log_makes_the_same_state(tmp_path: Path) -> None:
    with running(make(tmp_path / "cell")) as cell:
        store = cell.keyvalues
        store.load([(("a", "b"), to_value(1)), (("a",), to_value([1, {"x": 2}])), (("c",), to_value(3))])
        store.add(("a", "b"), 41)
        store.set(("t", "u"), to_value("gone"))
        store.move(("t", "u"), ("t", "v"))
        store.pop(("t",), tree=True)
        store.pop(("c",))
        records = [
            record for record in ChangeLog(cell.slab).read(0).records if "KeyValue" in record.type_name
        ]
    with running(make(tmp_path / "cell")) as cell:
        entries = list(walk(lambda after: cell.keyvalues.tree(after=after)))
        assert [(entry.path, entry.value) for entry in entries] == [
            (("a",), [1, {"x": 2}]),
            (("a", "b"), 42),
        ]
        with cell.slab.view() as txn:
            stored = txn.scan(KEYVALUES, count_max=100).items
    with Slab.open(tmp_path / "copy", (*DATABASES, *LOG_DATABASES), sync=False) as slab:
        copy = KeyValues(slab)
        replay = Replay(slab, [KeyValueApplier(copy)])
        assert [record.offset for record in records] == list(range(len(records)))
        for record in records:
            replay.apply([record])
        with slab.view() as txn:
            assert txn.scan(KEYVALUES, count_max=100).items == stored
        bad = type(records[0])(len(records), 0, "", records[0].type_name, b"\xff")
        with pytest.raises(StorageCorrupt):
            replay.apply([bad])


def test_replay_wakes_watchers_after_the_commit(cell: KeepCell, tmp_path: Path) -> None:
    cell.keyvalues.set(("k",), to_value("v"))
    log = ChangeLog(cell.slab).read(0).records
    with (
        running(make(tmp_path / "follower")) as follower,
        open_channel(f"unix:{follower.folder.socket_path}") as channel,
    ):
        watch = Wire(channel).watch()
        assert watch.next() is None
        Replay(follower.slab, [KeyValueApplier(follower.keyvalues)]).apply(log)
        assert watch.next() == ("k", "v")
        watch.call.cancel()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=4), min_size=2, max_size=6))
def test_keys_keep_the_order_of_paths_and_read_back(paths: list[list[str]]) -> None:
    made = [tuple(path) for path in paths]
    keys = [key_of(path) for path in made]
    assert [path_of(key) for key in keys] == made
    assert [path_of(key) for key in sorted(keys)] == sorted(
        made, key=lambda path: [name.encode() for name in path]
    )
