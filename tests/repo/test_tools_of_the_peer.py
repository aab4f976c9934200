"""docs/from-synapse.md has each command-line tool of Synapse 2.256.0: what it is here, or why there is none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "from-synapse.md"

TOOLS: Final = """
    aha.clone aha.easycert aha.enroll aha.list aha.mirror aha.provision.service aha.provision.user
    axon.copy axon.dump axon.get axon.load axon.put
    cortex.csv cortex.feed cortex.layer.dump cortex.layer.load
    cryo.cat cryo.list docker.validate hive.load hive.save pkgs.gendocs
    service.apikey service.backup service.demote service.healthcheck service.livebackup service.modrole service.moduser
    service.promote service.reload service.shutdown service.snapshot
    storm storm.lint storm.pkg.doc storm.pkg.gen
    utils.autodoc utils.changelog utils.easycert utils.guid utils.json2mpk utils.rstorm
"""
"""Modules below synapse.tools that can be run."""

OLDER_NAMES: Final = """
    apikey autodoc axon2axon backup cellauth changelog cmdr csvtool demote easycert feed genpkg guid healthcheck json2mpk
    livebackup modrole moduser promote pullfile pushfile reload rstorm shutdown snapshot
"""
"""The same without a group; the page tells that those which end as a tool in a group are that tool."""

SERVERS: Final = ("aha", "axon", "cell", "cortex", "cryotank", "jsonstor", "stemcell")


def rows(*, behind: str, before: str) -> dict[str, str]:
    """The names in the first column of the tables in a part of the page, and what the second column says of each."""
    part = PAGE.read_text(encoding="utf-8").split(behind)[1].split(before)[0]
    found = re.findall(r"^\| (`.*?`) \| (.+) \|$", part, re.M)
    return {name: here for left, here in found for name in re.findall(r"`([^`]+)`", left)}


def test_every_tool_has_an_equivalent_or_a_reason() -> None:
    told = rows(behind="## Command-line tools", before="`python -m synapse.servers.`")
    endings = {name.rpartition(".")[2] for name in told}
    assert [name for name in TOOLS.split() if name not in told] == []
    assert [name for name in OLDER_NAMES.split() if name not in told and name not in endings] == []
    assert [name for name in told if name not in (TOOLS + OLDER_NAMES).split()] == []
    for name, here in told.items():
        is_named = "`cellmesh " in here
        assert is_named or re.match(r"none(?: is needed)?: \S", here), f"{name}: {here}"


def test_every_server_has_an_equivalent_or_a_reason() -> None:
    told = rows(behind="`python -m synapse.servers.`", before="## Python")
    assert sorted(told) == sorted(SERVERS)
    assert all("`cellmesh " in here or here.startswith("none: ") for here in told.values())
