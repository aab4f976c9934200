"""Methods of values, and commands, as users of few rights: refused where Synapse refuses.

`storm/inventory/rights_methods.json` says what Synapse did: AuthDeny, another error, or none. The users have no rules, but for
those that the table's setup gives them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cellmesh.testing.conformance.cases import Step
from cellmesh.testing.conformance.cortex import fresh_cortex

PATH = Path(__file__).with_name("storm") / "inventory" / "rights_methods.json"
TABLES: list[dict[str, Any]] = json.loads(PATH.read_text())["tables"]

# What Synapse refuses and this does not, with the reason.
OPEN = (
    # One's own settings, which `$lib.user.profile` opens to their user there as well.
    "$u=$lib.auth.users.get($u) $x=$u.profile.",
    "$u=$lib.auth.users.get($u) $u.profile.",
    "$u=$lib.auth.users.get($u) for $i in $u.profile ",
    # Only triggers that the user may see are there to be called.
    "for $t in $lib.view.get().triggers {",
)
# What is refused here alone.
STRICTER = (
    # Asked before it is looked whether there is anything to do.
    "$v=$lib.view.get() $x=$v.setMerge",
    "$v=$lib.view.get() $x=$v.delMerge",
    # An error of another kind there, at the missing secrets.
    "vault.set.secrets ",
    # Edits that are asked about as all others are.
    ".difftags((x, y), apply=(true))",
    "| once x",
    "| scrape --refs",
    # The history of edits has a right of its own.
    "$l.edits(",
)


@pytest.mark.parametrize("table", TABLES, ids=[table["name"] for table in TABLES])
def test_they_are_refused_where_synapse_refuses(table: dict[str, Any]) -> None:
    wrong: list[str] = []
    with fresh_cortex() as client:
        for text in table["setup"]:
            answer = client.run(Step(text, {}, "root", is_call=False))
            assert answer.error is None, (text, answer.error)
        for user, text, wanted in table["rows"]:
            answer = client.run(Step(text, {}, user, is_call="return(" in text))
            found = None if answer.error is None else answer.error["name"]
            is_refused = found == "AuthDeny"
            if is_refused == (wanted == "AuthDeny"):
                continue
            if not any(part in text for part in (STRICTER if is_refused else OPEN)):
                wrong.append(f"{user}: {text}: {found}, not {wanted}")
    assert wrong == []
