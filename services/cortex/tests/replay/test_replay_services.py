"""Storm services and endpoints of the extended HTTP API on a follower."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from replay_kit import differences, following, leading


def test_services_and_endpoints_are_replayed(tmp_path: Path) -> None:
    with leading(tmp_path / "a") as leader, following(leader, tmp_path / "b") as follower:
        with leader.graph.begin() as session:
            for name in ("one", "two"):
                leader.stores.services.add(session, name, f"aha://{name}", "root")
        assert leader.run("$lib.cortex.httpapi.add(a, name=a) $lib.cortex.httpapi.add(b, name=b)") == []
        assert leader.run("$b=$lib.cortex.httpapi.getByPath(b) $b.methods.get=${ $x=1 } $b.vars.v=(1)") == []
        assert leader.run("$b=$lib.cortex.httpapi.getByPath(b) $lib.cortex.httpapi.index($b.iden, 0)") == []
        records = leader.records(0, 1000)
        follower.cortex.replay.apply(records)
        assert differences(leader.slab, follower.cortex.slab) == []
        # What a link follows is in memory as well.
        assert follower.cortex.stores.services.known == leader.stores.services.known
        names = (
            "for $a in $lib.cortex.httpapi.list() { $lib.print(`{$a.name} {$a.methods.get} {$a.vars.v}`) }"
        )
        assert follower.cortex.run(names) == ["b $x=1 1", "a $lib.null $lib.null"]
        one = leader.stores.services.find("one")["iden"]
        with leader.graph.begin() as session:
            leader.stores.services.remove(session, one)
        follower.cortex.replay.apply(leader.records(len(records), 1000))
        assert [row["name"] for row in follower.cortex.stores.services.known.values()] == ["two"]
