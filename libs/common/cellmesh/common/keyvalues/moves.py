"""A place in the tree of key-values, with all below, gets another path: one transaction."""

from __future__ import annotations

from collections.abc import Callable

from cellmesh.api.common.v1 import key_value_change_pb2 as change_pb
from cellmesh.common.changelog import AppendChange
from cellmesh.common.errors import BadHivePath, DupName, NoSuchName
from cellmesh.common.keyvalues.schema import KEYVALUES, Path, check_path, key_of, path_of, text_of
from cellmesh.common.keyvalues.watches import Event
from cellmesh.common.storage import WriteTxn

KeysAt = Callable[[WriteTxn, bytes], list[bytes]]
ApplyChange = Callable[[WriteTxn, change_pb.KeyValueChange, int, list[Event]], None]


def moving(
    path: Path, new_path: Path, may: Callable[[Path, Path], None], keys_at: KeysAt, apply_change: ApplyChange
) -> Callable[[WriteTxn, AppendChange, list[Event]], int]:
    """What a move does inside of its transaction: the log has the new values, and that the old place was deleted.

    Args:
        path: The place.
        new_path: Where it goes.
        may: Called with the old and new path of each value before anything is written; raises to refuse.
        keys_at: Gives the keys at and below a key.
        apply_change: Writes a change.

    Raises:
        BadHivePath: one path is below the other, or they are the same.
    """
    shorter = min(len(path), len(new_path))
    if path[:shorter] == new_path[:shorter]:
        raise BadHivePath(
            f"{text_of(path)} cannot become {text_of(new_path)}: one is, or is below, the other",
            path=list(new_path),
        )
    top, new_top = key_of(path), key_of(new_path)

    def op(txn: WriteTxn, append: AppendChange, events: list[Event]) -> int:
        keys = keys_at(txn, top)
        moves = [(key, path_of(key), check_path((*new_path, *path_of(key)[len(path) :]))) for key in keys]
        for _, old, new in moves:
            may(old, new)
        if not moves:
            raise NoSuchName(f"there is no value at {text_of(path)} nor below", name=text_of(path))
        if keys_at(txn, new_top):
            raise DupName(
                f"there are values at {text_of(new_path)} already, or below",
                name=text_of(new_path),
                hint="delete them first, or choose another path",
            )
        for key, _, new in moves:
            stored = change_pb.StoredKeyValue.FromString(txn.get(KEYVALUES, key) or b"")
            put = change_pb.KeyValuePut(path=new, value=stored.value, update_time_us=stored.update_time_us)
            change = change_pb.KeyValueChange(put=put)
            apply_change(txn, change, append(txn, change) + 1, events)
        gone = change_pb.KeyValueChange(tree_deleted=change_pb.KeyValuePath(path=path))
        apply_change(txn, gone, append(txn, gone) + 1, events)
        return len(moves)

    return op


__all__ = ["moving"]
