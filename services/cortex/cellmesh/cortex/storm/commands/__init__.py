"""The commands of queries: `inet:ipv4 | limit 10`.

acting.py   what commands are made of
rows.py     count, limit, max, min, once, sleep, spin, uniq
nested.py   batch, divert, intersect, parallel, storm.exec, tee, tree
edits.py    delnode, edges.del, iden, lift.byverb, movetag, tag.prune
checks.py   colorize, index.count.prop, model.deprecated.check
tasks.py    task.*, ps.*, uptime
reports.py  help, reindex, stats.countby, version
feeds.py    feed.list, nodes.import, wget
gen.py      gen.*, note.add
graph.py    graph
movenodes.py movenodes
scrape.py   scrape
stored.py   macro.*, queue.*, model.edge.*, model.deprecated.*
auth.py     auth.*
vaults.py   vault.*
packages.py pkg.*
services.py service.*
http_apis.py cortex.httpapi.*
mesh.py     aha.*
views.py    view.*, quorum.merge.list
layers.py   layer.*
forks.py    diff, merge
elsewhere.py copyto, runas, view.exec

`COMMANDS` lists them for the Engine; nothing is registered by being imported.
"""

from __future__ import annotations

from typing import Final

from cellmesh.cortex.storm.commands import (
    auth,
    checks,
    edits,
    elsewhere,
    feeds,
    forks,
    gen,
    graph,
    http_apis,
    layers,
    mesh,
    movenodes,
    nested,
    packages,
    reports,
    rows,
    scrape,
    services,
    stored,
    tasks,
    vaults,
    views,
)
from cellmesh.cortex.storm.runtime.interface import CommandSpec

COMMANDS: Final[tuple[CommandSpec, ...]] = (
    *rows.COMMANDS,
    *nested.COMMANDS,
    *edits.COMMANDS,
    *reports.COMMANDS,
    *feeds.COMMANDS,
    *gen.COMMANDS,
    *graph.COMMANDS,
    *movenodes.COMMANDS,
    *scrape.COMMANDS,
    *checks.COMMANDS,
    *tasks.COMMANDS,
    *stored.COMMANDS,
    *auth.COMMANDS,
    *vaults.COMMANDS,
    *packages.COMMANDS,
    *services.COMMANDS,
    *http_apis.COMMANDS,
    *mesh.COMMANDS,
    *views.COMMANDS,
    *layers.COMMANDS,
    *forks.COMMANDS,
    *elsewhere.COMMANDS,
)
