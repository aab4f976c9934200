"""The real cell: automation starts with it, ends with it, and is there after a restart."""

from __future__ import annotations

import sys
from pathlib import Path

from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig

sys.path.insert(0, str(Path(__file__).parent))
from automation_kit import wait_until


def make(folder: Path) -> CortexCell:
    """Return a cell that is not started."""
    return CortexCell(load_config(CortexConfig, dir=folder, environ={}))


def test_all_of_it_outlives_a_restart(tmp_path: Path) -> None:
    with running(make(tmp_path)) as cell:
        cell.engine.call(
            '$lib.trigger.add(({"condition": "node:add", "form": "inet:asn", "storm": "[ +#t ]"}))'
            ' $lib.cron.at(query="[ inet:asn=1 ]", now=(true)) $lib.cron.add(query="inet:asn", hourly=15)'
            " $lib.dmon.add(${ [ it:dev:str=$lib.guid() ] $lib.time.sleep(600) })"
        )
        wait_until(lambda: cell.engine.count("inet:asn#t") == 1)
        wait_until(lambda: cell.engine.count("it:dev:str") == 1)
    with running(make(tmp_path)) as cell:
        wait_until(lambda: cell.engine.count("it:dev:str") == 2)
        cell.engine.call("[ inet:asn=2 ]")
        assert cell.engine.count("inet:asn#t") == 2
        starts = "$o=([]) for $c in $lib.cron.list() { $o.append($c.pack().startcount) } return($o)"
        assert cell.engine.call(starts) == [1, 0]
