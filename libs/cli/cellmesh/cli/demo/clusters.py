"""What each MISP galaxy cluster is in the data model, as one table.

A cluster type that is not listed becomes `meta:note`: its records are kept with their text, provenance and
relations, but the model has no form of its own for them (job tasks, diseases, frameworks and the like).
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Kind(Enum):
    """What the records of a cluster are."""

    ACTOR = "actor"
    SOFTWARE = "software"
    TECHNIQUE = "technique"
    MITIGATION = "mitigation"
    TACTIC = "tactic"
    CAMPAIGN = "campaign"
    INDUSTRY = "industry"
    COUNTRY = "country"
    REGION = "region"
    ORGANIZATION = "organization"
    REFERENCE = "reference"
    RULE = "rule"
    DATA_SOURCE = "data source"
    DATA_COMPONENT = "data component"
    THING = "thing"
    NOTE = "note"


KIND_OF: Final[dict[str, Kind]] = {
    # People and groups behind attacks.
    "threat-actor": Kind.ACTOR,
    "mitre-intrusion-set": Kind.ACTOR,
    "mitre-enterprise-attack-intrusion-set": Kind.ACTOR,
    "mitre-mobile-attack-intrusion-set": Kind.ACTOR,
    "mitre-pre-attack-intrusion-set": Kind.ACTOR,
    "mitre-ics-groups": Kind.ACTOR,
    "microsoft-activity-group": Kind.ACTOR,
    "360net-threat-actor": Kind.ACTOR,
    "groups": Kind.ACTOR,
    # Malware and tools.
    "malpedia": Kind.SOFTWARE,
    "ransomware": Kind.SOFTWARE,
    "software": Kind.SOFTWARE,
    "mitre-malware": Kind.SOFTWARE,
    "mitre-tool": Kind.SOFTWARE,
    "mitre-enterprise-attack-malware": Kind.SOFTWARE,
    "mitre-enterprise-attack-tool": Kind.SOFTWARE,
    "mitre-mobile-attack-malware": Kind.SOFTWARE,
    "mitre-mobile-attack-tool": Kind.SOFTWARE,
    "mitre-ics-software": Kind.SOFTWARE,
    "tool": Kind.SOFTWARE,
    "rat": Kind.SOFTWARE,
    "android": Kind.SOFTWARE,
    "banker": Kind.SOFTWARE,
    "botnet": Kind.SOFTWARE,
    "exploit-kit": Kind.SOFTWARE,
    "backdoor": Kind.SOFTWARE,
    "stealer": Kind.SOFTWARE,
    "cryptominers": Kind.SOFTWARE,
    "tds": Kind.SOFTWARE,
    # What they do, and what helps against it.
    "mitre-attack-pattern": Kind.TECHNIQUE,
    "mitre-enterprise-attack-attack-pattern": Kind.TECHNIQUE,
    "mitre-mobile-attack-attack-pattern": Kind.TECHNIQUE,
    "mitre-pre-attack-attack-pattern": Kind.TECHNIQUE,
    "mitre-ics-techniques": Kind.TECHNIQUE,
    "mitre-atlas-attack-pattern": Kind.TECHNIQUE,
    "cmtmf-attack-pattern": Kind.TECHNIQUE,
    "technique": Kind.TECHNIQUE,
    "disarm-techniques": Kind.TECHNIQUE,
    "amitt-misinformation-pattern": Kind.TECHNIQUE,
    "scor-space-shield-techniques": Kind.TECHNIQUE,
    "scor-sparta-techniques": Kind.TECHNIQUE,
    "atrm": Kind.TECHNIQUE,
    "bhadra-framework": Kind.TECHNIQUE,
    "gsma-motif": Kind.TECHNIQUE,
    "tmss": Kind.TECHNIQUE,
    "financial-fraud": Kind.TECHNIQUE,
    "cloud-security": Kind.TECHNIQUE,
    "social-dark-patterns": Kind.TECHNIQUE,
    "mitre-course-of-action": Kind.MITIGATION,
    "mitre-enterprise-attack-course-of-action": Kind.MITIGATION,
    "mitre-mobile-attack-course-of-action": Kind.MITIGATION,
    "mitre-atlas-course-of-action": Kind.MITIGATION,
    "mitre-d3fend": Kind.MITIGATION,
    "disarm-countermeasures": Kind.MITIGATION,
    "preventive-measure": Kind.MITIGATION,
    "scor-space-shield-mitigations": Kind.MITIGATION,
    "scor-sparta-mitigations": Kind.MITIGATION,
    "tactic": Kind.TACTIC,
    "mitre-ics-tactics": Kind.TACTIC,
    "mitre-data-source": Kind.DATA_SOURCE,
    "mitre-data-component": Kind.DATA_COMPONENT,
    "sigma-rules": Kind.RULE,
    "disarm-detections": Kind.RULE,
    "campaigns": Kind.CAMPAIGN,
    "references": Kind.REFERENCE,
    # Who and where.
    "sector": Kind.INDUSTRY,
    "naics": Kind.INDUSTRY,
    "NACE": Kind.INDUSTRY,
    "cert-eu-govsector": Kind.INDUSTRY,
    "country": Kind.COUNTRY,
    "target-information": Kind.COUNTRY,
    "region": Kind.REGION,
    "intelligence-agency": Kind.ORGANIZATION,
    "surveillance-vendor": Kind.ORGANIZATION,
    "producer": Kind.ORGANIZATION,
    "china-defence-universities": Kind.ORGANIZATION,
    # Things one can hold.
    "firearms": Kind.THING,
    "ammunitions": Kind.THING,
    "uavs": Kind.THING,
    "ukhsa-culture-collections": Kind.THING,
}


def kind_of(cluster_type: str) -> Kind:
    """Return what the records of a cluster are; NOTE when the model has no form for them."""
    return KIND_OF.get(cluster_type, Kind.NOTE)
