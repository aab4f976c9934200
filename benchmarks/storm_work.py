"""Queries that compute, and queries to be parsed. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator

LOOP_COUNT = 100_000
CALL_COUNT = 20_000
PARSE_COUNT = 600

LOOP_QUERY = f"$x=(0) for $i in $lib.range({LOOP_COUNT}) {{ $x = ($x + $i) }} $lib.print($x)"
CALL_QUERY = f"function add(a, b) {{ return(($a + $b)) }} $x=(0) for $i in $lib.range({CALL_COUNT}) {{ $x = $add($x, $i) }} $lib.print($x)"

_REALISTIC = (
    "inet:ipv4={n} -> inet:dns:a -> inet:fqdn +:zone | uniq | limit 100",
    "inet:fqdn=host{n}.example.com [ +#cno.threat.t{n}=(2020, 2021) ] -> inet:dns:a +.seen@=('2020', '2022') -> inet:ipv4 +:asn>{n}",
    "[ inet:dns:a=(host{n}.example.com, 1.2.3.4) .seen=(2019, 2020) +#foo.bar ] {{ -> inet:ipv4 [ :asn={n} :loc=us.ca ] }}",
    "for $row in $rows {{ [ inet:ipv4=$row.ip :asn=$row.asn :loc=$row.loc +#bench.tag{n} ] }} | spin",
    "#cno.threat.t{n}.own +inet:fqdn -> inet:dns:request -> inet:flow +:src:ipv4!=10.0.0.{n} | uniq",
    "ou:org:name^=acme{n} -> ps:contact -> (inet:email, tel:phone) +{{ -> ps:contact }}>=2 -(refs)> *",
    "function f{n}(a, b=(1)) {{ if ($a > $b) {{ return(($a - $b)) }} else {{ return(($b ** 2)) }} }} return($f{n}(3, b=(5)))",
    "inet:ipv4:asn={n} -+> inet:dns:a +{{ :fqdn -> inet:fqdn +:issuffix=0 }} <(seen)- meta:source +:name='feed {n}'",
    "$l=([1, 2, {n}]) $d=({{'a': 1, 'b': [2, 3], 'c': {{'x': {n}}}}}) for ($k, $v) in $d {{ $l.append(`{{$k}}:{{$v}}`) }} return($l)",
    "file:bytes#mal.fam{n} +:size>=1024 +:mime=application/pdf -> file:filepath +:path:base~='inv[0-9]+{n}' | limit 20",
    "try {{ inet:asn=x{n} }} catch BadTypeValu as err {{ $lib.print($err.mesg) }} catch * as err {{ $lib.warn(`other {{$err.name}}`) }}",
    "switch $kind {{ 'a{n}': {{ [ +#kind.a ] }} ('b', 'c'): {{ [ +#kind.bc ] }} *: {{ [ -#kind ] }} }}",
    "it:prod:soft:name=tool{n} -> it:prod:softver +:semver>=1.{n}.0 -> it:exec:proc :path -> file:path -> file:base",
    "inet:url=http://host{n}.example.com/path/one -> inet:fqdn <- * +(inet:dns:a or inet:dns:aaaa) -:fqdn=x{n}.com",
    "reverse(inet:flow:time*range=(2020, 2021)) +:dst:port*in=(80, 443, {n}) | limit 10 | [ +#seen.flow ]",
)  # fmt: skip


def realistic(first: int) -> Iterator[str]:
    """Queries as people write them, no text twice: each shape anew with another number, some two to a text.

    Args:
        first: The first number; workloads far from each other, since servers keep what they have parsed.
    """
    number = first
    while True:
        for at, shape in enumerate(_REALISTIC):
            text = shape.format(n=number % 250)
            other = _REALISTIC[(at + number) % len(_REALISTIC)].format(n=number % 199) if at % 2 else ""
            yield f"{text} // {number}" if not other else f"{{ {text} }} {other} // {number}"
            number += 1
