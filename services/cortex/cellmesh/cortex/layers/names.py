"""Names and their numbers. Index keys and nids hold numbers in place of names; a number is never reused.

A number is given out in a write transaction that may still be rolled back, and other sessions may have
learned it meanwhile. Thus a number counts as unsure until the write that made it is known to be durable
(`confirm`), and whoever writes with an unsure one makes certain that it is stored.

The change record of the op that stores a name has its number (`NameTables.fresh`), so that a replica gives it the
same one, whatever was rolled back here meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

from cellmesh.common.errors import BadName, LimitExceeded
from cellmesh.common.storage import ReadTxn, WriteTxn
from cellmesh.cortex.layers.keys import pack_number, unpack_number
from cellmesh.cortex.layers.schema import NAMES, NAMES_BY_NUMBER
from cellmesh.cortex.values.edits import NameNumber
from cellmesh.cortex.values.ids import FORM_NUMBER_MAX

NAME_SIZE_MAX: Final = 480


class NameKind(Enum):
    """What is named; each kind has numbers of its own, from 1."""

    FORM = b"f"
    PROP = b"p"
    TAG = b"t"
    TAG_PROP = b"q"
    VERB = b"v"
    DATA = b"d"


_RECORDED: Final = {
    NameKind.FORM: 1,
    NameKind.PROP: 2,
    NameKind.TAG: 3,
    NameKind.TAG_PROP: 4,
    NameKind.VERB: 5,
    NameKind.DATA: 6,
}
"""What change records call the kinds: NameKind of node_edit.proto."""


class Names:
    """The names of one kind.

    Args:
        kind: What is named.
        tables: Those of all kinds, which learn of what is stored.
    """

    def __init__(self, kind: NameKind, tables: NameTables) -> None:
        self.kind = kind
        self._tables = tables
        self._prefix = kind.value
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._unsure: dict[str, int] = {}
        self._next = 0

    def load(self, txn: ReadTxn) -> None:
        """Learn where numbers go on; to be called once, after opening."""
        last = txn.last(NAMES_BY_NUMBER, self._prefix, bytes((self._prefix[0] + 1,)))
        self._next = unpack_number(last[0], 1) + 1 if last is not None else 1

    def find(self, txn: ReadTxn, name: str) -> int | None:
        """Return the number of a name, or None if nothing was ever named so."""
        number = self._numbers.get(name)
        if number is None:
            key = self._prefix + name.encode("utf-8", "surrogatepass")
            found = txn.get(NAMES, key) if len(key) <= NAME_SIZE_MAX else None
            if found is None:
                return None
            number = self._keep(name, unpack_number(found))
        return number

    def name_of(self, txn: ReadTxn, number: int) -> str | None:
        """Return the name that has a number."""
        name = self._names.get(number)
        if name is None:
            found = txn.get(NAMES_BY_NUMBER, self._prefix + pack_number(number))
            if found is None:
                return None
            name = found.decode()
            self._keep(name, number)
        return name

    def check(self, name: str) -> None:
        """Refuse a name that cannot be stored.

        Raises:
            BadName: it is too long or not text that UTF-8 can carry.
        """
        if name in self._numbers:
            return
        try:
            size = len(name.encode())
        except UnicodeEncodeError:
            raise BadName("the name has code points that UTF-8 cannot carry", name=ascii(name)) from None
        if not 0 < size < NAME_SIZE_MAX:
            raise BadName(f"a name has 1 to {NAME_SIZE_MAX - 1} bytes", name=name[:64])

    def reserve(self, txn: ReadTxn, name: str) -> int:
        """Return the number of a name, choosing one if it has none; `ensure` stores it."""
        number = self.find(txn, name)
        if number is None:
            number = self._next
            if self.kind is NameKind.FORM and number > FORM_NUMBER_MAX:
                raise LimitExceeded("too many forms have nodes", name="form", limit=FORM_NUMBER_MAX)
            self._next += 1
            self._unsure[name] = number
            self._keep(name, number)
        return number

    def ensure(self, txn: WriteTxn, name: str) -> int:
        """Return the number of a name, storing it if need be."""
        number = self._numbers.get(name)
        if number is not None and not self._unsure:
            return number
        number = self.reserve(txn, name)
        if name in self._unsure:
            self._store(txn, name, number)
        return number

    def adopt(self, txn: WriteTxn, name: str, number: int) -> None:
        """Give a name the number it has elsewhere, as a replica does with those that nids contain.

        Raises:
            BadName: the name or the number is taken otherwise.
        """
        known = self.find(txn, name)
        if known is None:
            if self.name_of(txn, number) is not None:
                raise BadName(f"number {number} names something else", name=name)
            self._next = max(self._next, number + 1)
            self._unsure[name] = number
            self._keep(name, number)
        elif known != number:
            raise BadName(f"has number {known}, not {number}", name=name)
        if name in self._unsure:
            self._store(txn, name, number)

    def confirm(self, name: str) -> None:
        """Take it from a session that a name is durable: it stored it, and has synced."""
        self._unsure.pop(name, None)

    def forget(self, name: str) -> None:
        """Forget a name that a replica adopted in a transaction that was rolled back."""
        if self._unsure.pop(name, None) is not None:
            number = self._numbers.pop(name, None)
            if number is not None:
                self._names.pop(number, None)

    def _keep(self, name: str, number: int) -> int:
        self._numbers[name] = number
        self._names[number] = name
        return number

    def _store(self, txn: WriteTxn, name: str, number: int) -> None:
        key = self._prefix + name.encode()
        found = txn.get(NAMES, key)
        if found is None:
            txn.put(NAMES, key, pack_number(number))
            txn.put(NAMES_BY_NUMBER, self._prefix + pack_number(number), name.encode())
            self._tables.fresh.append((_RECORDED[self.kind], name, number))
        self._tables.stored.append((self, name))


class NameTables:
    """The names of every kind.

    Attributes:
        stored: Unsure names that the op now running has stored, or found stored.
        fresh: Those of them whose rows it has put, and that no change record tells of yet.
    """

    def __init__(self) -> None:
        self.stored: list[tuple[Names, str]] = []
        self.fresh: list[NameNumber] = []
        self.forms = Names(NameKind.FORM, self)
        self.props = Names(NameKind.PROP, self)
        self.tags = Names(NameKind.TAG, self)
        self.tag_props = Names(NameKind.TAG_PROP, self)
        self.verbs = Names(NameKind.VERB, self)
        self.data = Names(NameKind.DATA, self)
        self.all = (self.forms, self.props, self.tags, self.tag_props, self.verbs, self.data)
        self._recorded = {_RECORDED[names.kind]: names for names in self.all}

    def adopt(self, txn: WriteTxn, given: Iterable[NameNumber]) -> None:
        """Store names with the numbers that a change record gives them; raises BadName."""
        for kind, name, number in given:
            names = self._recorded.get(kind)
            if names is None:
                raise BadName("a change record gives a number to a name of an unknown kind", name=name)
            names.adopt(txn, name, number)

    def load(self, txn: ReadTxn) -> None:
        """Learn where the numbers of each kind go on."""
        for names in self.all:
            names.load(txn)

    def take_stored(self) -> list[tuple[Names, str]]:
        """Return the unsure names that the op now ending has stored, for its session to confirm later."""
        taken = self.stored
        if taken:
            self.stored = []
        return taken

    def take_fresh(self) -> list[NameNumber]:
        """Return the names that the change record now being written tells of."""
        taken, self.fresh = self.fresh, []
        return taken

    def drop_op(self) -> None:
        """Forget what the op now running has stored: it failed, and its transaction was rolled back."""
        self.stored.clear()
        self.fresh.clear()
