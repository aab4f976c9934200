"""Declarations of named databases, and their typed use.

A cell declares its databases as `SubDb` values in one module (its schema) and passes them to `Slab.open`.
`TypedDb` pairs a declaration with codecs, for places where a microsecond an item is well spent on safety.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from cellmesh.common.storage.codecs import Codec
    from cellmesh.common.storage.transactions import Chunk, Position, ReadTxn, WriteTxn

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class SubDb:
    """One named database of a slab.

    Attributes:
        name: Unique in the slab; never changed, as data is found by it.
        doc: One line: what key and value are.
        dupsort: Whether a key may have many values, kept sorted by their bytes.
        dupfixed: More than 0: every value has exactly this many bytes (needs `dupsort`), which packs them.
        local: Whether its content is the cell's own business. All others are equal on replicas of a service, at
            equal offsets of the change log.
    """

    name: str
    doc: str
    dupsort: bool = False
    dupfixed: int = 0
    local: bool = False

    def __post_init__(self) -> None:
        assert self.dupsort or not self.dupfixed, f"database {self.name}: dupfixed needs dupsort"


@dataclass(frozen=True, slots=True)
class TypedDb(Generic[K, V]):
    """A database whose keys and values are Python values; the key codec keeps their order."""

    db: SubDb
    key_codec: Codec[K]
    value_codec: Codec[V]

    def get(self, txn: ReadTxn, key: K) -> V | None:
        """The value of a key, or None."""
        found = txn.get(self.db, self.key_codec.encode(key))
        return None if found is None else self.value_codec.decode(found)

    def put(self, txn: WriteTxn, key: K, value: V, *, overwrite: bool = True) -> bool:
        """Write one item; see `WriteTxn.put`."""
        encoded = self.value_codec.encode(value)
        return txn.put(self.db, self.key_codec.encode(key), encoded, overwrite=overwrite)

    def remove(self, txn: WriteTxn, key: K) -> bool:
        """Delete a key with all its values; whether there was one."""
        return txn.delete(self.db, self.key_codec.encode(key))

    def scan(
        self,
        txn: ReadTxn,
        low: K | None = None,
        high: K | None = None,
        *,
        count_max: int,
        reverse: bool = False,
        after: Position | None = None,
    ) -> Chunk[tuple[K, V]]:
        """The items with low <= key < high, None meaning unbounded; see `ReadTxn.scan`."""
        from cellmesh.common.storage.transactions import Chunk

        low_key = b"" if low is None else self.key_codec.encode(low)
        high_key = None if high is None else self.key_codec.encode(high)
        chunk = txn.scan(self.db, low_key, high_key, count_max=count_max, reverse=reverse, after=after)
        key_of, value_of = self.key_codec.decode, self.value_codec.decode
        return Chunk([(key_of(key), value_of(value)) for key, value in chunk.items], chunk.resume)
