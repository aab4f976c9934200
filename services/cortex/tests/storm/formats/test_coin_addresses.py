"""Addresses of crypto-currencies in text: the vectors that the currencies publish, and changed ones."""

from __future__ import annotations

import time
from hashlib import blake2b

import pytest
from cellmesh.cortex.storm.formats.coin_addresses import ethereum_checksum, find_addresses
from hypothesis import given
from hypothesis import strategies as st

ADDRESSES = [
    ("btc", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"),
    ("btc", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy"),
    ("btc", "1111111111111111111114oLvT2"),
    ("btc", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"),
    ("btc", "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7"),
    ("btc", "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y"),
    ("btc", "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"),
    ("eth", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"),
    ("eth", "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"),
    ("eth", "0x52908400098527886E0F7030069857D2E4169EE7"),
    ("eth", "0xde709f2102306220921060314715629080e2fb77"),
    ("bch", "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a"),
    ("bch", "bitcoincash:ppm2qsznhks23z7629mms6s4cwef74vcwvn0h829pq"),
    ("bch", "bchtest:pr6m7j9njldwwzlg9v7v53unlr4jkmx6eyvwc0uz5t"),
    ("xrp", "rG2ZJRab3EGBmpoxUyiF2guB3GoQTwMGEC"),
    ("xrp", "rHb9CJAWyB4rj91VRWn96DkukG4bwdtyTh"),
    ("xrp", "X7AcgcsBL6XDcUb289X4mJ8djcdyKaB5hJDWMArnXr61cqZ"),
    ("dot", "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5"),
    ("ksm", "HNZata7iMYWmk5RvZRTiAsSDhV8366zq2YGb3tLH5Upf74F"),
    ("ada", "Ae2tdPwUPEZFRbyhz3cpfC2CumGzNkFBN2L42rcUc2yjQpEkxDbkPodpMAi"),
    (
        "ada",
        "DdzFFzCqrhtC3C4UY8YFaEyDALJmFAwhx4Kggk3eae3BT9PhymMjzCVYhQE753BH1Rp3LXfVkVaD1FHT4joSBq7Y8rcXbbVWoxkqB7gy",
    ),
    ("ada", "addr1vx2fxv2umyhttkxyxp8x0dlpdt3k6cwng5pxj3jhsydzers66hrl8"),
    ("ada", "addr1gx2fxv2umyhttkxyxp8x0dlpdt3k6cwng5pxj3jhsydzer5pnz75xxcrzqf96k"),
    (
        "ada",
        "addr1qx2fxv2umyhttkxyxp8x0dlpdt3k6cwng5pxj3jhsydzer3n0d3vllmyqwsx5wktcd8cc3sq835lu7drv2xwl2wywfgse35a3x",
    ),
]
ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def found(text: str) -> list[tuple[str, str]]:
    return [(one.coin, one.address) for one in find_addresses(text)]


@pytest.mark.parametrize(("coin", "address"), ADDRESSES)
@pytest.mark.parametrize("around", ["{}", "pay {}, now", "({})", "_{}_", "\n{}\n", "é{}é", "a:{}:"])
def test_published_addresses_are_found(coin: str, address: str, around: str) -> None:
    text = around.format(address)
    (one,) = find_addresses(text)
    assert (one.coin, one.address, one.match) == (coin, address, address)
    assert one.offset == text.index(address)


@pytest.mark.parametrize(("coin", "address"), ADDRESSES)
@pytest.mark.parametrize("character", ["a", "Z", "0"])
def test_part_of_a_longer_word_is_none(coin: str, address: str, character: str) -> None:
    assert found(character + address) == []
    assert found(address + character) == []


@given(st.sampled_from(ADDRESSES), st.data())
def test_one_changed_character_is_refused(known: tuple[str, str], data: st.DataObject) -> None:
    coin, address = known
    place = data.draw(st.integers(0, len(address) - 1))
    character = data.draw(st.sampled_from(ALPHABET + "0l"))
    changed = address[:place] + character + address[place + 1 :]
    if changed == address:
        return
    if coin == "eth":
        # Without letters of both cases there is no checksum, and a changed digit is another address.
        assert changed == "0x" + changed[2:].lower() or found(changed) != [(coin, address)]
        assert found(changed) in ([], [(coin, ethereum_checksum(changed[2:]))])
        return
    assert found(changed) == []


def test_wrong_cases_of_an_ethereum_address_are_refused() -> None:
    address = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    assert found("0x" + address[2:].swapcase()) == []
    assert found(address.replace("eAed", "eaed")) == []


@pytest.mark.parametrize(
    ("text", "coin", "address"),
    [
        ("0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", "eth", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"),
        ("0X5AAEB6053F3E94C9B9A09F33669435E7EF1BEAED", "eth", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"),
        ("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", "btc", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
        (
            "BITCOINCASH:QPM2QSZNHKS23Z7629MMS6S4CWEF74VCWVY22GDX6A",
            "bch",
            "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a",
        ),
    ],
)
def test_addresses_of_one_case_are_brought_into_form(text: str, coin: str, address: str) -> None:
    (one,) = find_addresses("see " + text)
    assert (one.coin, one.address, one.match, one.offset) == (coin, address, text, 4)


@pytest.mark.parametrize(
    "text",
    [
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",  # BIP 173: checksum
        "bc1zw508d6qejxtdg4y5r3zarvaryvqyzf3du",  # BIP 173: of a program one bit away
        "bc10w508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kw5rljs90",  # too long
        "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P",  # version 0 with 16 bytes
        "bc1gmk9yu",  # no program
        "tb1q0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq24jc47",  # BIP 350: Bech32m for version 0
        "BC13W508D6QEJXTDG4Y5R3ZARVARY0C5XW7KN40WF2",  # version 17
        "bc1qar0srrr7xfkvy5l643LYDNW9RE59GTZZWF5MDQ",  # letters of both cases
        "BITCOINCASH:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a",
        "qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a",  # no prefix
        "bchreg:555555555555555555555555555555555555555555555udxmlmrz",
        "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",  # SS58 of no network in particular
        "LaMT348PWRnrqeeWArpwQPbuanpXDZGEUz",
        "stake1uyehkck0lajq8gr28t9uxnuvgcqrc6070x3k9r8048z8y5gh6ffgw",
        "d41d8cd98f00b204e9800998ecf8427e",
    ],
)
def test_not_found(text: str) -> None:
    assert found(text) == []


def _ss58(network: int, account: bytes) -> str:
    data = bytes([network]) + account
    data += blake2b(b"SS58PRE" + data, digest_size=64).digest()[:2]
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = ALPHABET[digit] + text
    return ALPHABET[0] * (len(data) - len(data.lstrip(b"\0"))) + text


@given(
    st.integers(0, 63), st.binary(min_size=32, max_size=32).filter(lambda account: account[:2] > b"\0\xff")
)
def test_ss58_of_two_networks(network: int, account: bytes) -> None:
    address = _ss58(network, account)
    coin = {0: "dot", 2: "ksm"}.get(network)
    assert found(address) == ([(coin, address)] if coin else [])


def test_order_is_by_kind_then_by_place() -> None:
    text = " ".join(address for _, address in reversed(ADDRESSES))
    offsets = {one.address: one.offset for one in find_addresses(text)}
    assert offsets == {address: text.index(address) for _, address in ADDRESSES}
    coins = [coin for coin, _ in found(text)]
    assert coins[:7] == ["btc"] * 7
    assert list(dict.fromkeys(coins)) == ["btc", "eth", "bch", "xrp", "ksm", "dot", "ada"]


@given(st.text(alphabet="01abcxXr3:_ ADH", max_size=300))
def test_any_text_is_gone_through(text: str) -> None:
    for one in find_addresses(text):
        assert text[one.offset : one.offset + len(one.match)] == one.match


@pytest.mark.parametrize(
    "piece", ["1", "r", "bc1", "0x", ":q", "1q", "A ", "bc1q" + "q" * 40 + " ", "3" * 30 + " "]
)
def test_time_grows_with_the_size(piece: str) -> None:
    started = time.thread_time()
    find_addresses(piece * (100_000 // len(piece)))
    assert time.thread_time() - started < 20
