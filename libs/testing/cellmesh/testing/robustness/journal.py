"""A store with a change log, written at random, that can say of any state whether it is one it has been in.

Every change is an `Edit`; its text is the payload of its log record. So the log tells what the store must hold, and
what was acknowledged (offset and text of each edit) tells what the log must hold.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from cellmesh.common.changelog import DATABASES, ChangeLog
from cellmesh.common.errors import CellError
from cellmesh.common.storage import Session, Slab, SubDb, WriteTxn

ITEMS: Final = SubDb("items", "name -> content")
HOLDERS: Final = SubDb("holders", "first byte of an item's hash -> name, many", dupsort=True)
SCHEMA: Final = (ITEMS, HOLDERS, *DATABASES)

MAP_SIZE_BYTES: Final = 256 << 10
"""Small, so that the map grows several times in a run."""

KEY_COUNT: Final = 40
SIZE_MAX_BYTES: Final = 20_000
TRIM_COUNT_MAX: Final = 1000


class NotAPrefix(AssertionError):
    """A store holds what it must not hold, or lacks what it must hold."""


class GivenUp(Exception):
    """Raised by an op of a journal after it has written, to have its transaction rolled back."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One change.

    Attributes:
        kind: `put`, `delete` or `trim`.
        key: The item; for `trim` the offset that the log begins at afterwards.
        seed: What a put content is made from.
        size: Its bytes.
    """

    kind: str
    key: int
    seed: int = 0
    size: int = 0

    @property
    def text(self) -> str:
        """The edit as it is logged."""
        return json.dumps(asdict(self))

    @property
    def name(self) -> bytes:
        """Key of the item in the store."""
        return b"item-%03d" % self.key

    @property
    def content(self) -> bytes:
        """What is put."""
        return random.Random(self.seed).randbytes(self.size)


def holder(content: bytes) -> bytes:
    """The key under which an item is indexed."""
    return hashlib.sha256(content).digest()[:1]


def edits(rng: random.Random, *, trims: bool = True, size_max_bytes: int = SIZE_MAX_BYTES) -> Iterator[Edit]:
    """Random edits without an end. A trim's key is a part of the log in percent, settled when it is done."""
    while True:
        dice = rng.random()
        key = rng.randrange(KEY_COUNT)
        if trims and dice < 0.03:
            yield Edit("trim", rng.randrange(100))
        elif dice < 0.25:
            yield Edit("delete", key)
        else:
            size = rng.choice((rng.randrange(100), rng.randrange(2000), rng.randrange(size_max_bytes)))
            yield Edit("put", key, rng.getrandbits(32), size)


class Journal:
    """The store, opened by whoever writes to it or checks it.

    Args:
        folder: Of the slab.
        tried: Told offset and text of each edit before its transaction is committed, if it ever is.
        options: For `Slab.open`.
    """

    def __init__(
        self, folder: Path, tried: Callable[[int, str], object] = lambda offset, text: None, **options: Any
    ) -> None:
        self._tried = tried
        self.slab = Slab.open(
            folder, SCHEMA, **{"map_size_bytes": MAP_SIZE_BYTES, "space_min_bytes": 0, **options}
        )
        self.log = ChangeLog(self.slab)

    def close(self) -> None:
        """Close the store."""
        self.slab.close()

    def write(self, edit: Edit, session: Session | None = None, *, give_up: bool = False) -> tuple[int, str]:
        """Do an edit and log it, in one transaction: durable on return, or by the session's next `sync`.

        Args:
            edit: The change.
            session: Where there is one.
            give_up: Raise GivenUp behind the last put.

        Returns:
            Offset and text of its record.
        """

        def op(txn: WriteTxn) -> tuple[int, str]:
            settled = edit
            if edit.kind == "trim":
                first, end = self.log.first_offset(txn), self.log.next_offset(txn)
                settled = Edit("trim", min(first + (end - first) * edit.key // 100, first + TRIM_COUNT_MAX))
            self._apply(txn, settled)
            offset = self.log.append(
                txn, time_us=0, actor="", type_name="edit", payload=settled.text.encode()
            )
            self._tried(offset, settled.text)
            if give_up:
                raise GivenUp
            return offset, settled.text

        return self.slab.write(op) if session is None else session.write(op)

    def _apply(self, txn: WriteTxn, edit: Edit) -> None:
        if edit.kind == "trim":
            self.log.trim(txn, edit.key, count_max=TRIM_COUNT_MAX)
            return
        old = txn.get(ITEMS, edit.name)
        if old is not None:
            txn.delete(HOLDERS, holder(old), edit.name)
            txn.delete(ITEMS, edit.name)
        if edit.kind == "put":
            txn.put(ITEMS, edit.name, edit.content)
            txn.put(HOLDERS, holder(edit.content), edit.name)

    def texts(self) -> dict[int, str]:
        """Text of the edits that the log has, by offset. While nobody writes."""
        with self.slab.view() as txn:
            at, end = self.log.first_offset(txn), self.log.next_offset(txn)
        records: dict[int, str] = {}
        while at < end:
            chunk = self.log.read(at)
            records.update({record.offset: record.payload.decode() for record in chunk.records})
            at = chunk.next_offset
        return records

    def check(self, acknowledged: Mapping[int, str], tried: Mapping[int, str] | None = None) -> int:
        """Raise NotAPrefix unless store and log agree, and have all that was acknowledged.

        Args:
            acknowledged: Text of edits by offset. What the log has and nobody got an answer for may be there.
            tried: Text of all edits, the last one told for each offset: where the log is trimmed, and an edit may
                have been committed, not acknowledged, and trimmed.

        Returns:
            Where the log ends.
        """
        records = self.texts()
        with self.slab.view() as txn:
            first, end = self.log.first_offset(txn), self.log.next_offset(txn)
            items = dict(txn.scan(ITEMS, count_max=2 * KEY_COUNT).items)
            holders = set(txn.scan(HOLDERS, count_max=2 * KEY_COUNT).items)
        if sorted(records) != list(range(first, end)):
            raise NotAPrefix(f"the log from {first} to {end} has gaps")
        lost = [offset for offset in acknowledged if offset >= end]
        if lost:
            raise NotAPrefix(f"{len(lost)} acknowledged edits are lost, the first at offset {min(lost)}")
        for offset, text in acknowledged.items():
            if records.get(offset, text) != text:
                raise NotAPrefix(f"record {offset} is {records[offset]}, acknowledged was {text}")
        expected, expected_first = replay(
            end, lambda at: records.get(at) or acknowledged.get(at) or (tried or {}).get(at)
        )
        if first != expected_first:
            raise NotAPrefix(f"the log begins at {first}, its edits say at {expected_first}")
        if items != expected:
            wrong = sorted(name for name in {*items, *expected} if items.get(name) != expected.get(name))
            raise NotAPrefix(f"store and log disagree after {end} edits about {wrong}")
        if holders != {(holder(content), name) for name, content in items.items()}:
            raise NotAPrefix(f"items and their index disagree after {end} edits")
        return end


def replay(end: int, text_of: Callable[[int], str | None]) -> tuple[dict[bytes, bytes], int]:
    """What a store holds after the first edits, and where its log begins."""
    last: dict[bytes, Edit] = {}
    first = 0
    for offset in range(end):
        text = text_of(offset)
        if text is None:
            raise NotAPrefix(f"edit {offset} was trimmed, and nobody has told of it")
        edit = Edit(**json.loads(text))
        if edit.kind == "trim":
            first = max(first, edit.key)
        else:
            last[edit.name] = edit
    return {name: edit.content for name, edit in last.items() if edit.kind == "put"}, first


def write_some(
    journal: Journal,
    rng: random.Random,
    count: int,
    told: Callable[[int, str], object],
    *,
    trims: bool = True,
    size_max_bytes: int = SIZE_MAX_BYTES,
) -> None:
    """Do edits singly, in batches with one sync, and some that are rolled back; tell each when it is acknowledged."""
    source = edits(rng, trims=trims, size_max_bytes=size_max_bytes)
    done = 0
    while done < count:
        size = rng.choice((1, 1, 1, rng.randrange(2, 12)))
        chosen = [next(source) for _ in range(min(size, count - done))]
        given_up = rng.random() < 0.05
        try:
            if len(chosen) == 1:
                written = [journal.write(chosen[0], give_up=given_up)]
            else:
                with journal.slab.session() as session:
                    written = [
                        journal.write(edit, session, give_up=given_up and edit is chosen[-1])
                        for edit in chosen
                    ]
                    session.sync()
        except GivenUp:
            continue
        except CellError:
            # Shared the transaction of one that was given up.
            continue
        done += len(written)
        for offset, text in written:
            told(offset, text)
