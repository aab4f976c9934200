"""`$lib.model.migration`, `$lib.graph.activate` and `$lib.inet.whois`: what they make of nodes, as the peer does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.cortex.storm.engine import Engine

sys.path.insert(0, str(Path(__file__).parents[1]))
from storm_kit import Run, open_engine


@pytest.fixture(name="engine")
def _engine(tmp_path: Path) -> Iterator[Engine]:
    with open_engine(tmp_path / "graph") as engine:
        yield engine


def ok(engine: Engine, text: str) -> Run:
    run = Run(engine, text)
    assert run.error is None, run.message
    return run


def node(engine: Engine, lift: str) -> Any:
    return engine.call(f"{lift} return($node.pack())")[1]


PAIR = "inet:fqdn=b.com $d=$node | spin | inet:fqdn=a.com "


def test_copies(engine: Engine) -> None:
    ok(
        engine,
        "$lib.model.ext.addTagProp(score, (int, ({})), ({}))"
        " $lib.model.ext.addFormProp(inet:fqdn, _x, (int, ({})), ({}))"
        " $lib.model.ext.addFormProp(inet:ipv4, _x, (int, ({})), ({}))"
        " $lib.model.ext.addFormProp(inet:fqdn, _only, (int, ({})), ({}))",
    )
    ok(
        engine,
        "[ inet:fqdn=a.com :_x=5 :_only=1 +#foo=2020 +#bar:score=4"
        " <(seen)+ { [ meta:source=(a,) ] } +(refs)> { [ inet:ipv4=1.2.3.4 ] } ]"
        " $node.data.set(k, 1) $node.data.set(j, 2)",
    )
    ok(engine, "[ inet:fqdn=b.com +#foo=2021 +#bar:score=3 ] $node.data.set(k, 5)")
    ok(engine, PAIR + "$lib.model.migration.copyData($node, $d)")
    data = "inet:fqdn=b.com return($lib.dict.fromlist($node.data.list()))"
    assert engine.call(data) == {"k": "5", "j": "2"}
    ok(engine, PAIR + "$lib.model.migration.copyData($node, $d, overwrite=(true))")
    assert engine.call(data) == {"k": "1", "j": "2"}
    ok(engine, PAIR + "$lib.model.migration.copyTags($node, $d)")
    found = node(engine, "inet:fqdn=b.com")
    assert found["tags"]["foo"] == (1577836800000, 1609459200001)
    assert found["tagprops"] == {"bar": {"score": 3}}
    ok(engine, PAIR + "$lib.model.migration.copyTags($node, $d, overwrite=(true))")
    assert node(engine, "inet:fqdn=b.com")["tagprops"] == {"bar": {"score": 4}}
    ok(engine, PAIR + "$lib.model.migration.copyEdges($node, $d)")
    assert ok(engine, "inet:fqdn=b.com -(refs)> inet:ipv4").nodes == [0x01020304]
    assert len(ok(engine, "inet:fqdn=b.com <(seen)- meta:source").nodes) == 1
    ok(
        engine,
        "inet:ipv4=1.2.3.4 $d=$node | spin | inet:fqdn=a.com $lib.model.migration.copyExtProps($node, $d)",
    )
    props = node(engine, "inet:ipv4=1.2.3.4")["props"]
    assert props["_x"] == 5
    assert "_only" not in props


def test_two_nodes_become_one(engine: Engine) -> None:
    ok(
        engine,
        "[ ( ou:org=(a,) :name=aorg :desc=aa :founded=2020 .seen=2020 +#foo=2020 +#bar"
        " <(seen)+ { [ meta:source=(s,) ] } +(refs)> { [ inet:ipv4=1.2.3.4 ] } ) ] $node.data.set(k, 1)",
    )
    ok(engine, "[ ou:org=(b,) :name=borg +#foo=2022 ] $node.data.set(k, 2)")
    ok(
        engine,
        "[ ( ps:contact=(c,) :org=(a,) ) ( ou:campaign=(d,) :org=(a,) )"
        " ( risk:vulnerable=(e,) :node=(ou:org, (a,)) ) ( ou:org=(f,) :subs=((a,), (f,)) ) ]",
    )
    ok(engine, "ou:org=(b,) $d=$node | spin | ou:org=(a,) $lib.model.migration.fuse($node, $d)")
    assert ok(engine, "ou:org=(a,)").nodes == []
    found = node(engine, "ou:org=(b,)")
    props = {name: value for name, value in found["props"].items() if name != ".created"}
    assert (props["name"], props["desc"], props["founded"]) == ("borg", "aa", 1577836800000)
    assert set(found["tags"]) == {"foo", "bar"}
    assert engine.call("ou:org=(b,) return($node.data.get(k))") == "2"
    assert len(ok(engine, "ou:org=(b,) <(seen)- meta:source").nodes) == 1
    assert len(ok(engine, "ou:org=(b,) -(refs)> inet:ipv4").nodes) == 1
    org = engine.call("ou:org=(b,) return($node.value())")
    assert node(engine, "ps:contact=(c,)")["props"]["org"] == org
    assert node(engine, "ou:campaign=(d,)")["props"]["org"] == org
    assert node(engine, "risk:vulnerable=(e,)")["props"]["node"] == ("ou:org", org)
    assert org in node(engine, "ou:org=(f,)")["props"]["subs"]
    same = Run(engine, "ou:org=(b,) $lib.model.migration.fuse($node, $node)")
    assert same.error is None
    assert len(same.warns) == 1
    other = "[ inet:fqdn=x.com ] $d=$node | spin | ou:org=(b,) $lib.model.migration.fuse($node, $d)"
    assert Run(engine, other).error == "BadArg"


def test_every_view_is_gone_through(engine: Engine) -> None:
    ok(engine, "$v=$lib.view.get().fork()")
    show = "${ $lib.print($lib.view.get().iden) }"
    views = engine.call("$x=([]) for $v in $lib.view.list(deporder=(true)) { $x.append($v.iden) } return($x)")
    assert ok(engine, f"$lib.model.migration.loop({show})").prints == views
    assert ok(engine, f"$lib.model.migration.loop({show}, reverse=(true))").prints == views[::-1]
    assert (
        Run(engine, "$lib.model.migration.loop(${ [ inet:asn=1 ] }, readonly=(true))").error == "IsReadOnly"
    )
    ok(engine, "$lib.model.migration.loop(${ [ inet:asn=1 ] })")
    assert ok(engine, "inet:asn").nodes == [1]


def test_deprecated_forms(engine: Engine) -> None:
    ok(
        engine,
        "[ inet:service:instance=(i,) :id=ID :name=foo :platform={[ inet:service:platform=(p,) ]}"
        " :owner={[ inet:service:account=(o,) ]} .seen=2020 +#t ] $node.data.set(k, 1)",
    )
    ok(engine, "[ inet:service:channel=(c,) :instance=(i,) ]")
    made = engine.call(
        "inet:service:instance return($lib.model.migration.s.inetServiceInstanceToPlatform($node).pack())"
    )
    assert made[0] == ("inet:service:platform", "1bcf3a952d3dbb598fdbc25f12a1408c")
    assert made[1]["props"]["parent"] == "3d3591ccc3d2a0e1c807bff272346117"
    assert made[1]["props"]["id"] == "ID"
    assert "t" in made[1]["tags"]
    data = engine.call("inet:service:platform=(i,) return($lib.dict.fromlist($node.data.list()))")
    assert sorted(data) == ["k", "migration:inet:service:instance:owner"]
    props = node(engine, "inet:service:channel")["props"]
    assert props["platform"] == made[0][1]
    assert "instance" not in props

    ok(
        engine,
        "[ inet:service:message=(m,) :client:address=tcp://1.2.3.4:80 ]"
        " $lib.model.migration.s.inetServiceMessageClientAddress($node)",
    )
    props = node(engine, "inet:service:message")["props"]
    assert props["client"] == "tcp://1.2.3.4:80"
    assert "client:address" not in props

    query = (
        "[ inet:ssl:cert=(tcp://1.2.3.4:444, guid:28c33e2d61d6ac7e9c5a0c3f2a3a1e55) ]"
        " return($lib.model.migration.s.inetSslCertToTlsServerCert($node).value())"
    )
    assert engine.call(query) == ("tcp://1.2.3.4:444", "be9a638f30ebb70e6c1cc3b64a1174ab")
    ok(
        engine,
        "[ file:bytes=guid:af5cfb3e156f717b09e7d639beee28da"
        " :sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 ]",
    )
    query = (
        "[ inet:ssl:cert=(tcp://1.2.3.4:443, guid:af5cfb3e156f717b09e7d639beee28da) ]"
        " return($lib.model.migration.s.inetSslCertToTlsServerCert($node).value())"
    )
    assert engine.call(query)[1] == "08ee1de91d2c3341910550ae14ad6f4c"

    query = (
        "[ risk:hasvuln=(h,) :vuln={[ risk:vuln=(v,) ]} :person={[ ps:person=(p,) ]} ]"
        " return($lib.model.migration.s.riskHasVulnToVulnerable($node))"
    )
    assert engine.call(query) == ["8720abd0068100e26ce4568be448c1513d0d119465f8f2dcdd9e90d5ceceffb2"]
    assert node(engine, "risk:vulnerable")["props"]["node"] == (
        "ps:person",
        "3d3591ccc3d2a0e1c807bff272346117",
    )
    query = (
        "[ risk:hasvuln=(h2,) :vuln=(v,) :person=(p,) :org={[ ou:org=(o,) ]} :host={[ it:host=(hh,) ]} ]"
        " return($lib.model.migration.s.riskHasVulnToVulnerable($node))"
    )
    assert len(engine.call(query)) == 3
    none = "[ risk:hasvuln=(h3,) :person=(p,) ] return($lib.model.migration.s.riskHasVulnToVulnerable($node))"
    assert engine.call(none) == []


def test_a_projection_is_activated(engine: Engine) -> None:
    query = (
        "$g=$lib.graph.add(({'name': 'y', 'refs': true, 'degrees': 2})) $lib.graph.activate($g.iden)"
        " [ inet:dns:a=(foo.com, 1.2.3.4) ]"
    )
    found = ok(engine, query).nodes
    assert found == [["foo.com", 0x01020304], "foo.com", 0x01020304, "com"]


def test_idens_of_whois_records(engine: Engine) -> None:
    def guid(props: str, form: str) -> Any:
        return engine.call(f"return($lib.inet.whois.guid(({props}), {form}))")

    pair = "8864f122cafc603d35a79ec15cc4a8ec"
    assert guid('{"net4": "A", "id": "B", "status": "C"}', "iprec") == pair
    assert guid('{"contact": "A", "asof": "B", "asn": "C"}', "ipcontact") == pair
    four = '{"time": "A", "fqdn": "B", "url": "C", "ipv4": "D", "ipv6": "E", "rec": "F"}'
    assert guid(four, "ipquery") == "a00f8b0b31efeaa1318387399e1ba095"
    assert guid('{"net4": "A"}', "iprec") != guid('{"net4": "A"}', "iprec")
    assert Run(engine, "$lib.inet.whois.guid(({}), zork)").error == "StormRuntimeError"


def test_running_queries(engine: Engine) -> None:
    found = engine.call("return($lib.ps.list())")
    assert found[0]["info"]["query"] == "return($lib.ps.list())"
    query = "for $t in $lib.task.list() { return($t.user) }"
    assert engine.call(query) == "root"
    own = "for $t in $lib.task.list() { return($lib.task.kill($t.iden)) }"
    assert Run(engine, own + " [ inet:asn=1 ]").error in ("Cancelled", "StormRuntimeError")
