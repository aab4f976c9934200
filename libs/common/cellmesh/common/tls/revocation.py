"""Which certificates are not to be trusted any more, as AHA tells it. Kept beside the identity, so that a cell that
starts while AHA is away knows it.

    FOLDER/revoked.json   serial numbers, with whom they were issued to and when they end

A revocation is never taken back: whoever was revoked by mistake enrols anew. It is forgotten long after the certificate
has ended by itself, when no connection that was made with it can be open any more.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cellmesh.common.errors import BadCertBytes
from cellmesh.common.files import write_atomically

REVOKED_FILE: Final = "revoked.json"
KEEP_MS: Final = 400 * 86_400_000
"""For how long after its end a revoked certificate is remembered."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """One certificate that is not to be trusted any more.

    Attributes:
        serial: Its serial number, hexadecimal, lower case.
        subject: To whom it was issued, as a URI.
        revoke_ms: When it was revoked, in milliseconds since 1970.
        expire_ms: When it ends by itself.
        reason: Why.
    """

    serial: str
    subject: str
    revoke_ms: int
    expire_ms: int
    reason: str = ""


class RevocationList:
    """What is revoked. Looked at for every call, so a look is one into a dictionary; changed in the event loop.

    Args:
        folder: The identity folder in which it is kept; None keeps it in memory.

    Attributes:
        revision: AHA's revision up to which it is whole.
        listeners: Called with each serial that is new, in the event loop.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.revision = 0
        self.listeners: list[Callable[[frozenset[str]], object]] = []
        self._path = None if folder is None else folder / REVOKED_FILE
        self._by_serial: dict[str, Revocation] = {}

    @classmethod
    def load(cls, folder: Path) -> RevocationList:
        """Read what was kept. Raises BadCertBytes when it cannot be read."""
        found = cls(folder)
        try:
            told = json.loads((folder / REVOKED_FILE).read_bytes())
            found._by_serial = {
                str(item["serial"]): Revocation(
                    str(item["serial"]),
                    str(item["subject"]),
                    int(item["revoke_ms"]),
                    int(item["expire_ms"]),
                    str(item.get("reason", "")),
                )
                for item in told["revoked"]
            }
            # Of AHA as it was: after a failover another one is asked, so everything is asked for anew at a start.
        except FileNotFoundError:
            return found
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadCertBytes(
                f"{folder / REVOKED_FILE} cannot be read: {error}",
                name=REVOKED_FILE,
                hint="remove it; it is fetched from AHA again",
            ) from error
        return found

    def __contains__(self, serial: object) -> bool:
        return serial in self._by_serial

    def __len__(self) -> int:
        return len(self._by_serial)

    def get(self, serial: str) -> Revocation | None:
        """What is known of a revoked certificate; None when it is not revoked."""
        return self._by_serial.get(serial)

    def all(self) -> list[Revocation]:
        """Everything, by serial number."""
        return [self._by_serial[serial] for serial in sorted(self._by_serial)]

    def add(self, revocations: Iterable[Revocation]) -> bool:
        """Take in revocations and tell the listeners; whether any was new. `save` keeps them."""
        new = {item.serial: item for item in revocations if item.serial not in self._by_serial}
        if not new:
            return False
        self._by_serial = {**self._by_serial, **new}
        for listener in self.listeners:
            listener(frozenset(new))
        return True

    def save(self, now_ms: int | None = None) -> None:
        """Write it down, without those that ended long ago. Blocks."""
        now_ms = now_ms if now_ms is not None else time.time_ns() // 1_000_000
        kept = [item for item in self.all() if item.expire_ms + KEEP_MS > now_ms]
        told = {
            "revoked": [
                {
                    "serial": item.serial,
                    "subject": item.subject,
                    "revoke_ms": item.revoke_ms,
                    "expire_ms": item.expire_ms,
                    "reason": item.reason,
                }
                for item in kept
            ]
        }
        if self._path is not None:
            write_atomically(self._path, (json.dumps(told, indent=1) + "\n").encode())
