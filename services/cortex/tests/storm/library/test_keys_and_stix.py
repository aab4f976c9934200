"""Keys that sign, and STIX bundles."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.errors import CellError
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.formats.keccak import keccak256

sys.path.insert(0, str(Path(__file__).parents[1]))
from storm_kit import open_engine


@pytest.fixture(scope="module", name="engine")
def _engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One for all, as none keeps anything."""
    with open_engine(tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@pytest.mark.parametrize(
    ("make", "options"),
    [
        ("$lib.crypto.rsa.generate((1024))", "padding=pkcs1v15"),
        ("$lib.crypto.rsa.generate((1024))", "padding=pss, hashalgo=sha384"),
        ("$lib.crypto.ecc.generate()", "hashalgo=sha512"),
        ("$lib.crypto.ecc.generate(P-521)", ""),
    ],
)
def test_what_a_key_signs_it_verifies(engine: Engine, make: str, options: str) -> None:
    further = f", {options}" if options else ""
    kind = make.split(".")[2]
    found = engine.call(
        f"""
        $key={make} $data=("words").encode() $other=("others").encode()
        $signature=$key.sign($data{further})
        $public=$lib.crypto.{kind}.load($key.pubkey().encode(fmt=der))
        $same=$lib.crypto.{kind}.load($key.encode())
        return(($key.isPrivate, $public.isPrivate, $same.isPrivate, $public.verify($data, $signature{further}),
            $public.verify($other, $signature{further}), $same.pubkey().verify($data, $signature{further})))
        """
    )
    assert list(found) == [True, False, True, True, False, True]


@pytest.mark.parametrize(
    "text",
    [
        "$lib.crypto.rsa.generate((100))",
        "$lib.crypto.ecc.generate(secp256k1)",
        "$lib.crypto.rsa.load(words)",
        "$lib.crypto.rsa.load($lib.crypto.ecc.generate().encode())",
        "$lib.crypto.ecc.generate().encode(fmt=none)",
        "$lib.crypto.ecc.generate().pubkey().sign(('a').encode())",
        "$lib.crypto.ecc.generate().sign(('a').encode(), hashalgo=md5)",
        "$lib.crypto.ecc.generate().sign(words)",
    ],
)
def test_keys_that_cannot_be(engine: Engine, text: str) -> None:
    with pytest.raises(CellError) as caught:
        engine.call(text)
    assert caught.value.name == "BadArg"


def test_a_printed_key_tells_nothing(engine: Engine) -> None:
    texts = [
        getattr(message, "text", "") for message in engine.storm("$lib.print($lib.crypto.ecc.generate())")
    ]
    assert "crypto:ecc:key: private" in texts


def test_keccak_of_more_than_one_block() -> None:
    # Known answers: of nothing, and of the empty string behind Ethereum's checksums.
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert keccak256(b"abc").hex() == "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"
    assert len({keccak256(bytes(size)) for size in (135, 136, 137, 272)}) == 4


BUNDLE: dict[str, Any] = {"type": "bundle", "id": "bundle--00000000-0000-4000-8000-000000000000"}
DOMAIN: dict[str, Any] = {
    "type": "domain-name",
    "id": "domain-name--00000000-0000-4000-8000-000000000000",
    "value": "a.com",
}


@pytest.mark.parametrize(
    ("bundle", "is_good"),
    [
        (BUNDLE, True),
        ({**BUNDLE, "objects": [DOMAIN]}, True),
        ({"type": "bundle"}, False),
        ({**BUNDLE, "id": "bundle--1"}, False),
        ({**BUNDLE, "objects": 5}, False),
        ({**BUNDLE, "objects": [{**DOMAIN, "type": "url"}]}, False),
        ({**BUNDLE, "objects": [{**DOMAIN, "created": "2020"}]}, False),
        ({**BUNDLE, "objects": [{"type": "relationship", "id": DOMAIN["id"]}]}, False),
    ],
)
def test_bundles(engine: Engine, bundle: Any, is_good: bool) -> None:
    from cellmesh.cortex.storm.runtime.options import QueryOptions

    found = engine.call("return($lib.stix.validate($bundle))", QueryOptions(vars={"bundle": bundle}))
    assert (found["ok"], found["mesg"] == "") == (is_good, is_good)


def test_nodes_of_a_bundle(engine: Engine) -> None:
    found = engine.call(
        """
        [ inet:fqdn=a.com ] | spin |
        $ext="extension-definition--bdb6d88f-8c26-4d0b-b218-58925aaa5be0"
        $one=({}) $one.$ext=({"synapse_ndef": ["inet:fqdn", "a.com"]})
        $nodes=([]) for $n in $lib.stix.lift(({"objects": [{"extensions": $one}, {}]})) { $nodes.append($n.value()) }
        return($nodes)
        """
    )
    assert list(found) == ["a.com"]
    assert engine.call("return($lib.stix.export.timestamp((1577836800123)))") == "2020-01-01T00:00:00.123Z"
