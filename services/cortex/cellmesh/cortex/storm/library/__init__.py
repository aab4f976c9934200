"""The `$lib` namespaces of queries.

root.py        $lib itself: values, messages, control
variables.py   $lib.vars
text.py        $lib.str, $lib.regex
data.py        $lib.csv, $lib.dict, $lib.iters, $lib.json, $lib.math
binary.py      $lib.base64, $lib.basex, $lib.bytes, $lib.hex, $lib.pack
times.py       $lib.time
tokens.py      $lib.crypto.jwt
statistics.py  $lib.random, $lib.stats
digests.py     $lib.compression, $lib.crypto.hashes, $lib.crypto.hmac, $lib.inet
environment.py $lib.env, $lib.gis, $lib.log, $lib.mime.html
feeds.py       $lib.feed, $lib.export
gen.py         $lib.gen
graph.py       $lib.layer, $lib.lift, $lib.tags, $lib.user, $lib.view
model.py       $lib.model, $lib.model.ext
model_facts.py $lib.model.tags, $lib.model.deprecated, $lib.model.edge
queries.py     $lib.storm
scrape.py      $lib.scrape
axon.py        $lib.axon, contents of $lib.bytes
caching.py     $lib.cache, $lib.pipe, $lib.spooled, $lib.utils, $lib.version
http.py        $lib.inet.http
infosec.py     $lib.infosec.cvss
auth.py        $lib.auth, $lib.notifications
keys.py        $lib.crypto.rsa, $lib.crypto.ecc
kept.py        $lib.user.vars, $lib.user.profile, $lib.jsonstor, $lib.vault
packages.py    $lib.pkg, what $lib.import gives; package_rules.py what a package may look like
services.py    $lib.service
http_apis.py   $lib.cortex.httpapi
projections.py $lib.graph
projects.py    $lib.projects
mail.py        $lib.inet.smtp, $lib.inet.imap
markup.py      $lib.yaml, $lib.xml, $lib.json.schema, $lib.tabular
sockets.py     $lib.inet.http.connect
stix.py        $lib.stix
cell.py        $lib.cell, $lib.backup
mesh.py        $lib.aha, $lib.telepath
oauth.py       $lib.inet.http.oauth
migration.py   $lib.model.migration; migration_forms.py what is under .s
tasks.py       $lib.ps, $lib.task
whois.py       $lib.inet.whois
stored.py      $lib.globals, $lib.macro, $lib.queue

`LIBRARIES` lists them for the Engine; nothing is registered by being imported.
"""

from __future__ import annotations

from typing import Final

from cellmesh.cortex.storm.library import (
    auth,
    axon,
    binary,
    caching,
    cell,
    data,
    digests,
    environment,
    feeds,
    gen,
    graph,
    http,
    http_apis,
    infosec,
    kept,
    keys,
    mail,
    markup,
    mesh,
    migration,
    migration_forms,
    model,
    model_facts,
    oauth,
    packages,
    projections,
    projects,
    queries,
    root,
    scrape,
    services,
    sockets,
    statistics,
    stix,
    stored,
    tasks,
    text,
    times,
    tokens,
    variables,
    whois,
)
from cellmesh.cortex.storm.runtime.interface import LibrarySpec

LIBRARIES: Final[tuple[LibrarySpec, ...]] = (
    *root.LIBRARIES,
    *variables.LIBRARIES,
    *text.LIBRARIES,
    *data.LIBRARIES,
    *binary.LIBRARIES,
    *times.LIBRARIES,
    *statistics.LIBRARIES,
    *digests.LIBRARIES,
    *environment.LIBRARIES,
    *gen.LIBRARIES,
    *graph.LIBRARIES,
    *model.LIBRARIES,
    *model_facts.LIBRARIES,
    *queries.LIBRARIES,
    *scrape.LIBRARIES,
    *sockets.LIBRARIES,
    *stix.LIBRARIES,
    *stored.LIBRARIES,
    *axon.LIBRARIES,
    *feeds.LIBRARIES,
    *caching.LIBRARIES,
    *http.LIBRARIES,
    *infosec.LIBRARIES,
    *keys.LIBRARIES,
    *tokens.LIBRARIES,
    *kept.LIBRARIES,
    *auth.LIBRARIES,
    *mail.LIBRARIES,
    *markup.LIBRARIES,
    *packages.LIBRARIES,
    *services.LIBRARIES,
    *http_apis.LIBRARIES,
    *projections.LIBRARIES,
    *projects.LIBRARIES,
    *cell.LIBRARIES,
    *mesh.LIBRARIES,
    *oauth.LIBRARIES,
    *migration.LIBRARIES,
    *migration_forms.LIBRARIES,
    *tasks.LIBRARIES,
    *whois.LIBRARIES,
)
