"""Which queries may change something: told from the text, and held against what queries do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.storage import Slab
from cellmesh.cortex.automation import registry
from cellmesh.cortex.automation.part import Automation
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.model.registry import Model
from cellmesh.cortex.stores.stores import Stores
from cellmesh.cortex.storm import engine as engine_module
from cellmesh.cortex.storm.commands import COMMANDS
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.library import LIBRARIES
from cellmesh.cortex.storm.planner.changes import ITEMS_CHANGED
from cellmesh.cortex.storm.primitives import TYPES
from cellmesh.cortex.storm.runtime.messages import Error
from cellmesh.cortex.storm.runtime.options import QueryLimits, QueryOptions
from cellmesh.cortex.views.graph import Graph

CASES = Path(__file__).parents[5] / "tests" / "conformance"

READS = """
inet:fqdn
inet:fqdn | limit 10 | uniq
inet:fqdn -> inet:dns:a +:ipv4=1.2.3.4 -{ -> # } <- *
inet:ipv4 $name=$node.value() $lib.print(`{$name} is here`)
$x=$lib.time.now() return($x)
$d=({}) $d.x=5 return($d)
$a=$lib.str.join(x,([1])) $b=$a.upper() return($b)
$x=([1]) $x.append(2) return($x)
return(($lib.set(1)).size())
$lib.queue.list()
$node.data.get(x)
inet:ipv4 | tee { inet:fqdn } { -> * }
inet:ipv4 | tee --join { inet:fqdn }
inet:ipv4 | batch { $lib.print(x) } --size 10
view.exec $view { inet:ipv4 }
function f(a) { return($a) } return($f(1))
function f(a) { inet:fqdn=$a } yield $f(a.com)
$q=${ inet:ipv4 } yield $q.exec()
for $x in $lib.range(10) { $lib.print($x) }
inet:ipv4 $node.props.asn
$lib.user.name()
$path.vars.x=5
this does { not parse
"""

CHANGES = """
[ inet:fqdn=a.com ]
inet:fqdn [ +#foo ]
inet:fqdn | delnode
inet:ipv4 -> { [ +#foo ] }
if (0) { [ inet:fqdn=a.com ] }
$q=${ [ inet:fqdn=a.com ] }
inet:ipv4 | tee { inet:fqdn } { [ +#foo ] }
inet:ipv4 | tee $x
inet:ipv4 | batch $query
view.exec $view $query
runas root $query
storm.exec $text
macro.exec foo
merge
no.such.command
$node.props.asn=5
inet:ipv4 $p=$node.props $p.asn=5
inet:ipv4 $x=props $p=$node.$x $p.asn=5
$node.props.set(asn, 5)
$f=$node.props.set $f(asn, 5)
$node.$method(asn, 5)
$f=$lib.queue.add $f(x)
$x=$lib return(1)
$x=$lib.queue $x.add(y)
$lib.$name.add(y)
$lib.queue.get(x)
$lib.no.such()
$lib.storm.eval("1")
$lib.import(module)
$lib.gen.orgByName(vertex)
$lib.view.get().fork()
$node.difftags(([]), apply=$lib.true)
function f(cb) { return($cb()) } return($f($x))
$f=$x return($f())
$x.nosuchmethod()
$lib=$x
"""


class Bench:
    """An engine with all that a Cortex has, of which nothing runs by itself."""

    def __init__(self, folder: Path) -> None:
        self.slab = Slab.open(folder, CortexCell.databases, sync=False)
        self.graph = Graph.open(self.slab, Model.load())
        stores, automation = Stores.open(self.graph), Automation(self.graph)
        self.engine = Engine(
            self.graph,
            (*COMMANDS, *registry.COMMANDS),
            (*LIBRARIES, *registry.LIBRARIES),
            (*TYPES, *registry.TYPES),
            {**stores.capabilities(), **automation.capabilities},
            QueryLimits(time_max_s=0.5),
        )
        automation.load(self.engine)
        self.automation = automation

    def run(self, text: str, options: QueryOptions) -> list[str]:
        """Run a query; the names of its errors."""
        messages = self.engine.storm(text, options)
        return [message.error.name for message in messages if isinstance(message, Error)]

    def offset(self) -> int:
        """How many changes there are."""
        with self.slab.view() as txn:
            return self.graph.log.next_offset(txn)

    def close(self) -> None:
        assert self.automation.executor.stop(5)
        self.slab.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "slab")
    yield made
    made.close()


def lines(text: str) -> list[str]:
    return text.strip().split("\n")


def test_reads_are_known_as_reads(bench: Bench) -> None:
    assert [text for text in lines(READS) if bench.engine.may_change(text)] == []
    assert not bench.engine.may_change("a.com 1.2.3.4", "lookup")


def test_what_may_change_something_is_taken_for_a_change(bench: Bench) -> None:
    assert [text for text in lines(CHANGES) if not bench.engine.may_change(text)] == []
    assert bench.engine.may_change("a.com 1.2.3.4", "autoadd")
    assert bench.engine.may_change("inet:fqdn " + " " * 20_000)


def test_answers_are_kept_and_what_was_parsed_for_them_is_used_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []
    parse = engine_module.parse_source

    def counting(source: Any, mode: Any) -> Any:
        parsed.append(source.text)
        return parse(source, mode)

    monkeypatch.setattr(engine_module, "parse_source", counting)
    for text in ("inet:fqdn", "[ inet:fqdn=a.com ]", "inet:fqdn"):
        bench.engine.may_change(text)
    assert parsed == ["inet:fqdn", "[ inet:fqdn=a.com ]"]
    bench.run("inet:fqdn", QueryOptions())
    assert parsed == ["inet:fqdn", "[ inet:fqdn=a.com ]"]


def test_items_that_can_be_set_with_an_effect_are_known(bench: Bench) -> None:
    """The rule for `$x.name=value` holds for these types; another one that can be set needs a look at the rule."""
    settable = {spec.name for spec in bench.engine.types.all() if spec.set_item is not None}
    of_the_query = {"node:path:vars", "node:path:meta", "http:api:request"}
    outside = {"node:props", "auth:user:profile", "auth:user:vars", "pkg:vars", "vault:data", "http:api:vars"}
    # Only their attributes can be set.
    outside |= {"http:api", "http:api:methods"}
    assert settable == of_the_query | outside
    assert {"props", "vars", "profile", "secrets", "configs"} == ITEMS_CHANGED


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("$u=$lib.auth.users.byname(bob) $u.email='a@b.c'", True),
        ("$u=$lib.auth.users.byname(bob) $u.vars.x=1", True),
        ("$u=$lib.auth.users.byname(bob) $p=$u.profile $p.x=1", True),
        ("$d=({}) $d.x=1 return($d)", False),
        ("return($lib.auth.users.byname(bob).email)", False),
        ("$a=$lib.cortex.httpapi.get($iden) $a.perms.append((foo, bar))", True),
        ("$a=$lib.cortex.httpapi.get($iden) $a.methods.get=${ return(1) }", True),
        ("$a=$lib.cortex.httpapi.get($iden) $v=$a.vars $v.x=1", True),
        ("$a=$lib.cortex.httpapi.get($iden) return($a.perms)", False),
        ("$d=({}) $d.path=x $l=([]) $l.append($d) return($l)", False),
    ],
)
def test_attributes_of_users_can_be_set(bench: Bench, text: str, changes: bool) -> None:
    assert bench.engine.may_change(text) is changes


def queries_of_cases() -> Iterator[tuple[str, QueryOptions]]:
    """Every query of the conformance cases."""
    for path in sorted(CASES.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            case = json.loads(line)
            judged = {"storm": case.get("storm", case.get("call")), "opts": case.get("opts")}
            for entry in (*case["setup"], judged):
                step = entry if isinstance(entry, dict) else {"storm": entry}
                given = step.get("opts") or {}
                options = QueryOptions(
                    vars=given.get("vars", {}),
                    mode=given.get("mode", "storm"),
                    limit=given.get("limit"),
                    ndefs=tuple((form, value) for form, value in given.get("ndefs", ())),
                )
                yield step["storm"], options


def test_no_query_of_the_conformance_cases_changes_what_it_was_not_taken_for(bench: Bench) -> None:
    """One graph takes them all; what counts is whether the log grew."""
    counts = {"changed": 0, "predicted": 0, "reads": 0}
    for text, options in queries_of_cases():
        if "dmon" in text or "cron" in text:
            # They start what runs by itself.
            continue
        predicted = bench.engine.may_change(text, options.mode)
        before = bench.offset()
        errors = bench.run(text, options)
        changed = bench.offset() != before
        counts["changed"] += changed
        counts["predicted" if predicted else "reads"] += 1
        if not predicted:
            assert not changed, text
            assert "IsReadOnly" not in errors
            readonly = QueryOptions(vars=options.vars, mode=options.mode, readonly=True, ndefs=options.ndefs)
            assert "IsReadOnly" not in bench.run(text, readonly), text
    assert counts["changed"] > 400
    # Most of what reads is known to do so.
    assert counts["reads"] > 1000
