"""Which node a uuid or a name stands for: the first pass of a load over its records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cellmesh.cli.demo import attack, misp
from cellmesh.cli.demo.items import Ndef, Reject, Unusable, texts
from cellmesh.cli.demo.records import RawRecord
from cellmesh.common.hashing import guid


class Index:
    """What a record may refer to.

    A uuid that stands in two records keeps the node of the first; how many did is in `shared_uuid_count`.
    """

    def __init__(self) -> None:
        self.shared_uuid_count = 0
        self.rejects: list[Reject] = []
        self._by_uuid: dict[str, Ndef] = {}
        self._by_stix: dict[str, Ndef] = {}
        self._countries: dict[str, str] = {}
        self._tactics: dict[str, str] = {}

    @classmethod
    def over(cls, records: Iterable[RawRecord]) -> Index:
        """Make the index of all records of a load."""
        index = cls()
        for record in records:
            index.add(record)
        return index

    def add(self, record: RawRecord) -> None:
        """Take in one record. A record that stands for no node becomes a reject."""
        family = misp if record.family == "misp" else attack
        try:
            ndef = family.identify(record)
        except Unusable as problem:
            self.rejects.append(Reject(record.file, family.name_of(record), "record", str(problem)))
            return
        if ndef is None:
            return
        if record.family == "attack":
            self._add_attack(record, ndef)
            return
        uuid = str(record.body["uuid"]).lower()
        if uuid in self._by_uuid:
            self.shared_uuid_count += 1
        self._by_uuid.setdefault(uuid, ndef)
        if ndef[0] == "pol:country":
            self._add_country(record.body)

    def _add_attack(self, record: RawRecord, ndef: Ndef) -> None:
        stix = record.body["stix_id"]
        self._by_stix[stix] = ndef
        self._by_uuid.setdefault(stix.split("--", 1)[1], ndef)
        if record.kind == "tactics":
            self._tactics[record.body["shortname"]] = record.body["external_id"]

    def _add_country(self, body: dict[str, Any]) -> None:
        code = misp.country_code(body)
        if code is None:
            return
        meta = body.get("meta") or {}
        for name in [
            *texts(body.get("value")),
            *texts(body.get("description")),
            *texts(meta.get("synonyms")),
        ]:
            self._countries.setdefault(name.lower(), code)

    def by_uuid(self, uuid: str) -> Ndef | None:
        """The node of a MISP uuid."""
        return self._by_uuid.get(uuid.lower())

    def by_stix(self, stix_id: str) -> Ndef | None:
        """The node of a STIX identifier."""
        return self._by_stix.get(stix_id)

    def tactic(self, shortname: str) -> str | None:
        """The ATT&CK number of a tactic, such as "TA0001"."""
        return self._tactics.get(shortname)

    def place(self, name: str) -> Ndef:
        """The country of that name or two-letter code, or a place where no country has it."""
        code = self._countries.get(name.lower())
        if code is None and len(name) == 2 and name.isascii() and name.isalpha():
            code = name.lower()
        if code is not None:
            return misp.country_ndef(code)
        return ("geo:place", guid(("geo:place", name.lower())))
