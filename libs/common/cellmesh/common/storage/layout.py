"""The version of what is stored, kept in the slab itself, and the way from older versions.

The database `meta` holds `layout.name` and `layout.version`. A new slab gets the newest version. An older
one is brought up step by step, each step in one transaction with its new version number, so that a crash
in between repeats at most an unfinished step. A newer one, a foreign one, or one older than the first step
is refused untouched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cellmesh.common.errors import BadStorageVersion
from cellmesh.common.storage.subdb import SubDb
from cellmesh.common.storage.transactions import ReadTxn, WriteTxn

META = SubDb("meta", "name of a fact about the slab -> its value", local=True)

NAME_KEY = b"layout.name"
VERSION_KEY = b"layout.version"
PROBE_KEY = b"probe"
"""Written to find out whether there is room for writes; holds nothing."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step between two versions.

    Attributes:
        to_version: The version that holds afterwards; the step starts from the one below.
        doc: What changes, for the log.
        run: Does it, in one transaction.
    """

    to_version: int
    doc: str
    run: Callable[[WriteTxn], None]


@dataclass(frozen=True, slots=True)
class Layout:
    """What a program expects to find.

    Attributes:
        name: Which kind of cell the slab belongs to.
        version: The newest version, which the program reads and writes; at least 1.
        migrations: Steps from older versions, in order, ending at `version`.
    """

    name: str
    version: int
    migrations: tuple[Migration, ...] = ()

    def __post_init__(self) -> None:
        steps = [step.to_version for step in self.migrations]
        assert steps == list(range(self.version - len(steps) + 1, self.version + 1)), "steps have a gap"


DEFAULT_LAYOUT = Layout("slab", 1)


def stored_version(txn: ReadTxn, layout: Layout, where: str) -> int | None:
    """The version found, None in a new slab.

    Raises:
        BadStorageVersion: the slab belongs to another kind of cell, or no way leads from its version.
    """
    name = txn.get(META, NAME_KEY)
    if name is None:
        return None
    version = int(txn.get(META, VERSION_KEY) or b"0")
    if name.decode() != layout.name:
        raise BadStorageVersion(
            f"{where} holds the data of {name.decode()!r}, not of {layout.name!r}",
            curv=version,
            reqv=layout.version,
            hint="start the program on its own folder",
        )
    if version > layout.version:
        raise BadStorageVersion(
            f"{where} has storage layout {version}; this program knows layouts up to {layout.version}",
            curv=version,
            reqv=layout.version,
            hint="start the newer program that wrote it",
        )
    if version < layout.version - len(layout.migrations):
        raise BadStorageVersion(
            f"{where} has storage layout {version}; this program migrates from layout "
            f"{layout.version - len(layout.migrations)} on",
            curv=version,
            reqv=layout.version,
            hint="start a version between the two first",
        )
    return version


def stamp(txn: WriteTxn, layout: Layout, version: int) -> None:
    """Note name and version."""
    txn.put(META, NAME_KEY, layout.name.encode())
    txn.put(META, VERSION_KEY, str(version).encode())
