"""KeyValueService: the key-values of a cell over gRPC, open to administrators and to whom rules allow it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from cellmesh.api.common.v1 import key_value_change_pb2 as change_pb
from cellmesh.api.common.v1 import key_value_service_pb2 as pb
from cellmesh.common.auth.context import Caller, current_caller
from cellmesh.common.auth.rules import path_text
from cellmesh.common.errors import AuthDeny
from cellmesh.common.keyvalues.schema import Path, check_path, key_of
from cellmesh.common.keyvalues.store import Entry, KeyValues, Listing, walk
from cellmesh.common.keyvalues.watches import Event
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS
from cellmesh.common.rpc.service import Service

if TYPE_CHECKING:
    from cellmesh.common.auth.store import AuthStore
    from cellmesh.common.cell.part import PartHealth
    from cellmesh.common.rpc.streams import CancelToken
    from cellmesh.common.rpc.workers import Workers

RULE: Final = ("cell", "kv")


class KeyValueServicer:
    """Serves cellmesh.api.common.v1.KeyValueService, and ends its watches when the cell stops: it is a Part.

    Args:
        store: The values.
        auth: The users of the cell, whose rules are asked.
        workers: Threads for what blocks.
    """

    name: Final = "keyvalues"

    def __init__(self, store: KeyValues, auth: AuthStore, workers: Workers) -> None:
        self._store = store
        self._auth = auth
        self._workers = workers
        self._run = workers.run

    async def GetKeyValue(self, request: pb.GetKeyValueRequest, context: Any) -> pb.GetKeyValueResponse:
        """See the proto."""
        path = self._path(request.path, "get")
        found = await self._run(self._store.get, path)
        return pb.GetKeyValueResponse(key_value=None if found is None else _told(found))

    async def SetKeyValue(self, request: pb.SetKeyValueRequest, context: Any) -> pb.SetKeyValueResponse:
        """See the proto."""
        path = self._path(request.path, "set")
        expected = request.expected_revision if request.HasField("expected_revision") else None
        new, old = await self._run(self._store.set, path, request.value, expected_revision=expected)
        return pb.SetKeyValueResponse(key_value=_told(new), old=None if old is None else _told(old))

    async def AddKeyValue(self, request: pb.AddKeyValueRequest, context: Any) -> pb.AddKeyValueResponse:
        """See the proto."""
        path = self._path(request.path, "set")
        return pb.AddKeyValueResponse(key_value=_told(await self._run(self._store.add, path, request.amount)))

    async def PopKeyValue(self, request: pb.PopKeyValueRequest, context: Any) -> pb.PopKeyValueResponse:
        """See the proto."""
        path = self._path(request.path, "pop")
        old, count = await self._run(
            self._store.pop, path, tree=request.tree, may=self._refuser(current_caller(), "pop")
        )
        return pb.PopKeyValueResponse(old=None if old is None else _told(old), deleted_count=count)

    async def MoveKeyValues(self, request: pb.MoveKeyValuesRequest, context: Any) -> pb.MoveKeyValuesResponse:
        """See the proto."""
        caller = current_caller()

        def may(old: Path, new: Path) -> None:
            self._require(caller, "get", old)
            self._require(caller, "pop", old)
            self._require(caller, "set", new)

        # Whoever may not has no need to know what is there.
        may(check_path(request.path), check_path(request.new_path))
        count = await self._run(self._store.move, tuple(request.path), tuple(request.new_path), may=may)
        return pb.MoveKeyValuesResponse(moved_count=count)

    async def ListKeyValues(
        self, request: pb.ListKeyValuesRequest, context: Any
    ) -> AsyncIterator[pb.ListKeyValuesResponse]:
        """See the proto."""
        path = self._path(request.path, "list", may_be_root=True)
        after = check_path(request.after, may_be_root=True)
        may = self._filter(current_caller(), "list")
        names_only, count_max = request.names_only, request.count_max

        def read(behind: Sequence[str]) -> Listing:
            if request.tree:
                return self._store.tree(path, after=behind)
            return self._store.children(path, after=behind)

        def produce(token: CancelToken) -> Iterator[pb.KeyValue]:
            count = 0
            for entry in walk(read, after):
                token.check()
                if may(entry.path):
                    yield _told(entry, names_only=names_only)
                    count += 1
                    if count == count_max:
                        return

        stream = self._workers.stream(produce, pack=_pack, size_of=lambda item: item.ByteSize())
        async for message in stream:
            yield message

    async def LoadKeyValues(self, request: pb.LoadKeyValuesRequest, context: Any) -> pb.LoadKeyValuesResponse:
        """See the proto."""
        caller = current_caller()
        for item in request.key_values:
            self._require(caller, "set", check_path(item.path))
        set_count, deleted_count = await self._run(
            self._store.load,
            [(item.path, item.value) for item in request.key_values],
            trim=request.path if request.trim else None,
            may_delete=self._refuser(caller, "pop"),
        )
        return pb.LoadKeyValuesResponse(set_count=set_count, deleted_count=deleted_count)

    async def WatchKeyValues(
        self, request: pb.WatchKeyValuesRequest, context: Any
    ) -> AsyncIterator[pb.WatchKeyValuesResponse]:
        """See the proto."""
        path = self._path(request.path, "watch", may_be_root=True)
        may = self._filter(current_caller(), "watch")
        # Before the snapshot is read, so that nothing falls between.
        watch = self._store.watches.add(key_of(path))
        seen = _Seen()
        try:
            after: Path | None = ()
            while request.snapshot and after is not None:
                listing: Listing = await self._run(self._store.tree, path, after=after, with_top=True)
                seen.add(listing)
                events = [
                    pb.KeyValueEvent(key_value=_told(entry)) for entry in listing.entries if may(entry.path)
                ]
                if events:
                    yield pb.WatchKeyValuesResponse(events=events)
                after = listing.after
            yield pb.WatchKeyValuesResponse(live=True)
            while True:
                events = [
                    _event(event) for event in await watch.take() if not seen.has(event) and may(event.path)
                ]
                if events:
                    yield pb.WatchKeyValuesResponse(events=events)
        finally:
            watch.close()

    # As a part of the cell, started after the server and so stopped before it.

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """End the watches, which would hold up the server's stop."""
        self._store.watches.close()

    def health(self) -> PartHealth:
        """It has no trouble of its own."""
        from cellmesh.common.cell.part import WELL

        return WELL

    # Who may do what.

    def _path(self, names: Sequence[str], operation: str, *, may_be_root: bool = False) -> Path:
        path = check_path(names, may_be_root=may_be_root)
        self._require(current_caller(), operation, path)
        return path

    def _allowed(self, caller: Caller, operation: str, path: Path) -> bool:
        if caller.admin:
            return True
        user = self._auth.find_user_of(caller)
        return user is not None and user.allowed((*RULE, operation, *path))

    def _require(self, caller: Caller, operation: str, path: Path) -> None:
        if not self._allowed(caller, operation, path):
            rule = path_text((*RULE, operation, *path))
            raise AuthDeny(
                f"{caller.name} has no rule that allows {rule}",
                perm=rule,
                username=caller.name,
                hint="an administrator adds it with `cellmesh auth rule add`",
            )

    def _refuser(self, caller: Caller, operation: str) -> Callable[[Path], None]:
        return lambda path: self._require(caller, operation, path)

    def _filter(self, caller: Caller, operation: str) -> Callable[[Path], bool]:
        """What leaves out the paths that a rule denies. It asks the rules as they are at that moment."""
        return lambda path: self._allowed(caller, operation, path)


class _Seen:
    """What a snapshot told: changes that it has already are not told again."""

    def __init__(self) -> None:
        self._ends: list[bytes] = []
        self._next_offsets: list[int] = []
        self._rest = 0

    def add(self, listing: Listing) -> None:
        if listing.after is None:
            self._rest = listing.next_offset
        else:
            assert listing.end is not None
            self._ends.append(listing.end)
            self._next_offsets.append(listing.next_offset)

    def has(self, event: Event) -> bool:
        place = bisect_right(self._ends, event.key)
        next_offset = self._next_offsets[place] if place < len(self._ends) else self._rest
        return event.revision <= next_offset


def _told(entry: Entry, *, names_only: bool = False) -> pb.KeyValue:
    made = pb.KeyValue(path=entry.path, has_children=entry.has_children)
    if entry.stored is not None:
        _fill(made, entry.stored, names_only=names_only)
    return made


def _fill(target: pb.KeyValue, stored: change_pb.StoredKeyValue, *, names_only: bool = False) -> None:
    if not names_only:
        target.value.CopyFrom(stored.value)
    target.update_time.FromMicroseconds(stored.update_time_us)
    target.revision = stored.revision


def _event(event: Event) -> pb.KeyValueEvent:
    made = pb.KeyValueEvent(key_value=pb.KeyValue(path=event.path, revision=event.revision))
    if event.data is None:
        made.deleted = True
    else:
        _fill(made.key_value, change_pb.StoredKeyValue.FromString(event.data))
    return made


def _pack(items: list[pb.KeyValue]) -> pb.ListKeyValuesResponse:
    return pb.ListKeyValuesResponse(key_values=items)


def key_value_service(servicer: KeyValueServicer) -> Service:
    """The KeyValueService of a cell."""
    descriptor = pb.DESCRIPTOR.services_by_name["KeyValueService"]
    return Service(descriptor, servicer, COMMON_PERMISSIONS)
