"""What objects of MITRE ATT&CK say in STIX beside their text: numbers, matrices, tactics.

Techniques name their tactics by short names. Which these are is part of ATT&CK and changes seldom; a tactic that is not
in the table is left out of the technique.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

SOURCES: Final = ("mitre-attack", "mitre-mobile-attack", "mitre-ics-attack")
"""What references to ATT&CK, and its kill chains, are named: one for each matrix."""

MATRICES: Final = {
    "enterprise-attack": "enterprise",
    "mobile-attack": "mobile",
    "ics-attack": "ics",
    "mitre-attack": "enterprise",
    "mitre-mobile-attack": "mobile",
    "mitre-ics-attack": "ics",
}
"""The matrix of a domain, and of a kill chain."""

TACTICS: Final[Mapping[str, Mapping[str, str]]] = {
    "mitre-attack": {
        "reconnaissance": "TA0043",
        "resource-development": "TA0042",
        "initial-access": "TA0001",
        "execution": "TA0002",
        "persistence": "TA0003",
        "privilege-escalation": "TA0004",
        "defense-evasion": "TA0005",
        "credential-access": "TA0006",
        "discovery": "TA0007",
        "lateral-movement": "TA0008",
        "collection": "TA0009",
        "exfiltration": "TA0010",
        "command-and-control": "TA0011",
        "impact": "TA0040",
    },
    "mitre-mobile-attack": {
        "initial-access": "TA0027",
        "execution": "TA0041",
        "persistence": "TA0028",
        "privilege-escalation": "TA0029",
        "defense-evasion": "TA0030",
        "credential-access": "TA0031",
        "discovery": "TA0032",
        "lateral-movement": "TA0033",
        "collection": "TA0035",
        "exfiltration": "TA0036",
        "command-and-control": "TA0037",
        "impact": "TA0034",
        "network-effects": "TA0038",
        "remote-service-effects": "TA0039",
    },
    "mitre-ics-attack": {
        "initial-access": "TA0108",
        "execution": "TA0104",
        "persistence": "TA0110",
        "privilege-escalation": "TA0111",
        "evasion": "TA0103",
        "discovery": "TA0102",
        "lateral-movement": "TA0109",
        "collection": "TA0100",
        "command-and-control": "TA0101",
        "inhibit-response-function": "TA0107",
        "impair-process-control": "TA0106",
        "impact": "TA0105",
    },
}
"""Numbers of tactics by kill chain and short name."""


def reference(item: Mapping[str, Any], name: str) -> str:
    """A field of an object's reference to ATT&CK, such as its external_id; empty if there is none."""
    for one in dicts(item.get("external_references")):
        if one.get("source_name") in SOURCES:
            return str(one.get(name) or "")
    return ""


def technique_props(item: Mapping[str, Any], number: str) -> dict[str, Any]:
    """Where a technique stands in ATT&CK: its matrix, tactics, and the technique that it is a form of."""
    tactics: list[str] = []
    matrix = next((MATRICES[one] for one in _texts(item.get("x_mitre_domains")) if one in MATRICES), None)
    for phase in dicts(item.get("kill_chain_phases")):
        chain = str(phase.get("kill_chain_name"))
        found = TACTICS.get(chain, {}).get(str(phase.get("phase_name")))
        if found is not None:
            tactics.append(found)
            matrix = matrix or MATRICES[chain]
    parent = number.partition(".")[0] if "." in number else None
    status = "deprecated" if item.get("x_mitre_deprecated") else None
    return {"matrix": matrix, "tactics": tactics, "parent": parent, "status": status}


def data_components(item: Mapping[str, Any]) -> list[str]:
    """The ids of the data components that an analytic looks at, each once."""
    found = [
        one.get("x_mitre_data_component_ref") for one in dicts(item.get("x_mitre_log_source_references"))
    ]
    return list(dict.fromkeys(one for one in found if isinstance(one, str) and one))


def dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; none if it is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
