"""What of the registry is durable: who was registered, so that a restarted AHA knows whom to wait for."""

from __future__ import annotations

from cellmesh.aha import schema
from cellmesh.aha.directory.instances import Instance, from_proto, to_proto
from cellmesh.api.aha.v1 import change_pb2, registry_pb2
from cellmesh.common.changelog import ChangeWriter
from cellmesh.common.storage import Slab, WriteTxn
from cellmesh.common.storage.walking import walk_apart


class Names:
    """The durable table of instances. Blocking: called from worker threads.

    Args:
        slab: Open, with the databases of `schema`.
        changes: Writes the change log.
    """

    def __init__(self, slab: Slab, changes: ChangeWriter) -> None:
        self._slab = slab
        self._changes = changes

    def put(self, instance: Instance) -> None:
        """Note an instance; durable when this returns."""
        message = to_proto(instance)
        append_change = self._changes.begin()
        change = change_pb2.AhaChange(instance_registered=change_pb2.InstanceRegistered(instance=message))

        def op(txn: WriteTxn) -> None:
            txn.put(schema.INSTANCES, instance.name.encode(), message.SerializeToString(deterministic=True))
            append_change(txn, change)

        self._slab.write(op)

    def remove(self, name: str, *, expired: bool) -> None:
        """Forget an instance; durable when this returns. Unknown names change nothing."""
        append_change = self._changes.begin()
        gone = change_pb2.InstanceUnregistered(name=name, expired=expired)

        def op(txn: WriteTxn) -> None:
            key = name.encode()
            if txn.has(schema.INSTANCES, key):
                txn.delete(schema.INSTANCES, key)
                append_change(txn, change_pb2.AhaChange(instance_unregistered=gone))

        self._slab.write(op)

    def load(self) -> list[Instance]:
        """Everyone noted, by name."""
        rows = walk_apart(self._slab, schema.INSTANCES)
        return [from_proto(registry_pb2.Instance.FromString(value)) for _, value in rows]
