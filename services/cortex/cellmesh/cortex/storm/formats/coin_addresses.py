"""Finds addresses of crypto-currencies in text, and checks the sums that they carry.

Each kind begins with something rare, so that a pattern stops at few places of a text, and takes its characters without
giving any back: a text is gone through in linear time. What looks like an address counts only if its checksum fits.

    btc   Base58Check beginning with 1 or 3; Bech32 and Bech32m (BIP 173, BIP 350) for the three Bitcoin networks
    eth   40 hexadecimal digits behind 0x; letters of both cases are a checksum (EIP-55)
    bch   CashAddr with its prefix
    xrp   classic addresses (Base58Check in the alphabet of XRP) and X-addresses (XLS-5)
    dot   SS58 for Polkadot, and ksm for Kusama
    ada   Byron (Base58 of CBOR with a CRC) and Shelley (Bech32, CIP-19)
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Final

from cellmesh.cortex.storm.formats.keccak import keccak256

_BITCOIN_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_RIPPLE_ALPHABET: Final = "rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz"
_BECH32_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_VALUES: Final = {character: value for value, character in enumerate(_BECH32_ALPHABET)}

_BECH32: Final = 1
_BECH32M: Final = 0x2BC830A3
_BECH32_GENERATORS: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CASHADDR_GENERATORS: Final = (0x98F2BC8E61, 0x79B76D99E2, 0xF33E5FB3C4, 0xAE2EABE2A8, 0x1E4F43E470)

_WORD: Final = "0-9A-Za-z"
_BECH32_CLASS: Final = "02-9ac-hj-np-zAC-HJ-NP-Z"
_BEFORE: Final = rf"(?<![{_WORD}].)"
"""Behind the first character of an address: no letter or digit before it.

The lookbehind stands behind a character so that the search can skip to that character first, which is ten times faster.
"""
_AFTER: Final = rf"(?![{_WORD}])"
_HUMAN_PART: Final = re.compile(rf"[{_WORD}]+\Z")
_HUMAN_PART_LENGTH_MAX: Final = len("bitcoincash")


@dataclass(frozen=True, slots=True)
class CoinAddress:
    """An address that was found.

    Attributes:
        coin: The short name of its currency.
        address: The address as its currency writes it.
        match: The text as it stands.
        offset: Where it stands, in characters.
    """

    coin: str
    address: str
    match: str
    offset: int


def _base58_bytes(text: str, alphabet: str) -> bytes | None:
    number = 0
    for character in text:
        digit = alphabet.find(character)
        if digit < 0:
            return None
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip(alphabet[0]))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _base58check_payload(text: str, alphabet: str) -> bytes | None:
    """Return what the text stands for without its checksum, or None if that is wrong."""
    data = _base58_bytes(text, alphabet)
    if data is None or len(data) < 5:
        return None
    payload, checksum = data[:-4], data[-4:]
    return payload if sha256(sha256(payload).digest()).digest()[:4] == checksum else None


def _remainder(values: Sequence[int], generators: tuple[int, ...], width: int) -> int:
    """Divide a polynomial over GF(32), as Bech32 and CashAddr do; `width` is the size of the remainder in bits."""
    found, low = 1, (1 << (width - 5)) - 1
    for value in values:
        top = found >> (width - 5)
        found = (found & low) << 5 ^ value
        for place, generator in enumerate(generators):
            if top >> place & 1:
                found ^= generator
    return found


def _bytes_of_fives(values: Sequence[int]) -> bytes | None:
    """Put groups of five bits together; None if the rest is a whole group or not zero."""
    number = 0
    for value in values:
        number = number << 5 | value
    rest = len(values) * 5 % 8
    if rest >= 5 or number & ((1 << rest) - 1):
        return None
    return (number >> rest).to_bytes(len(values) * 5 // 8, "big")


def _fives(text: str) -> list[int] | None:
    """Return the values of a Bech32 text, or None if it has letters of both cases or other characters."""
    if text != text.lower() and text != text.upper():
        return None
    found = [_BECH32_VALUES.get(character, -1) for character in text.lower()]
    return None if -1 in found else found


def _bech32(human: str, text: str) -> tuple[list[int], int] | None:
    """Return the values between the human part and the checksum, and which constant the checksum has."""
    values = _fives(text)
    if values is None or len(values) < 6:
        return None
    expanded = [ord(character) >> 5 for character in human]
    expanded += [0, *(ord(character) & 31 for character in human)]
    return values[:-6], _remainder(expanded + values, _BECH32_GENERATORS, 30)


def bitcoin_base58(text: str) -> str | None:
    """Return the address if its checksum fits, else None."""
    return text if _base58check_payload(text, _BITCOIN_ALPHABET) is not None else None


def bitcoin_segwit(human: str, text: str) -> str | None:
    """Return the address of a witness program in small letters, or None if it is none.

    Later versions than 0 may carry either checksum: addresses with that of BIP 173 were in use before BIP 350.

    Args:
        human: What stands before the 1: bc, tb or bcrt.
        text: What stands behind it.
    """
    checked = _bech32(human, text)
    if checked is None or len(human) + 1 + len(text) > 90:
        return None
    values, constant = checked
    if (
        not values
        or values[0] > 16
        or constant not in ((_BECH32,) if values[0] == 0 else (_BECH32, _BECH32M))
    ):
        return None
    program = _bytes_of_fives(values[1:])
    if program is None or not 2 <= len(program) <= 40 or (values[0] == 0 and len(program) not in (20, 32)):
        return None
    return f"{human}1{text.lower()}"


def ethereum_checksum(digits: str) -> str:
    """Return 40 hexadecimal digits with the cases that make the checksum of EIP-55, behind 0x."""
    digits = digits.lower()
    sums = keccak256(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(place, 16) > 7 else digit for digit, place in zip(digits, sums, strict=False)
    )


def ethereum(text: str) -> str | None:
    """Return the address with its checksum; None if it has letters of both cases that are another."""
    digits = text[2:]
    checked = ethereum_checksum(digits)
    return checked if digits in (digits.lower(), digits.upper()) or text == checked else None


def bitcoin_cash(human: str, text: str) -> str | None:
    """Return the CashAddr in small letters, or None if it is none.

    Args:
        human: The prefix, in small letters.
        text: What stands behind the colon.
    """
    values = _fives(text)
    if values is None:
        return None
    expanded = [*(ord(character) & 31 for character in human), 0, *values]
    if _remainder(expanded, _CASHADDR_GENERATORS, 40) != 1:
        return None
    payload = _bytes_of_fives(values[:-8])
    # The first byte tells the kind, to a key or to a script, and that the hash has 20 bytes.
    if payload is None or len(payload) != 21 or payload[0] not in (0x00, 0x08):
        return None
    return f"{human}:{text.lower()}"


def ripple(text: str) -> str | None:
    """Return the address, classic or X, if its checksum fits, else None."""
    payload = _base58check_payload(text, _RIPPLE_ALPHABET)
    if payload is None:
        return None
    if text[0] == "X":
        # Two bytes of prefix, the account, a flag, eight bytes of tag that are zero if the flag says there is none.
        if len(payload) != 31 or payload[:2] != b"\x05\x44" or payload[22] > 1:
            return None
        if payload[22] == 0 and any(payload[23:]):
            return None
    return text


_SS58_COINS: Final = {0: "dot", 2: "ksm"}


def substrate(text: str) -> str | None:
    """Return the currency of an address that is SS58 of an account of 32 bytes, else None."""
    data = _base58_bytes(text, _BITCOIN_ALPHABET)
    if data is None or len(data) != 35 or data[0] not in _SS58_COINS:
        return None
    checksum = blake2b(b"SS58PRE" + data[:-2], digest_size=64).digest()[:2]
    return _SS58_COINS[data[0]] if data[-2:] == checksum else None


def cardano_byron(text: str) -> str | None:
    """Return the address if it is CBOR with the right CRC, else None.

    It is a list of two: bytes under tag 24, and their CRC-32 as a number of four bytes.
    """
    data = _base58_bytes(text, _BITCOIN_ALPHABET)
    if data is None or len(data) < 10 or data[:4] != b"\x82\xd8\x18\x58":
        return None
    end = 5 + data[4]
    if len(data) != end + 5 or data[end] != 0x1A:
        return None
    return text if zlib.crc32(data[5:end]) == int.from_bytes(data[end + 1 :], "big") else None


def cardano_shelley(text: str) -> str | None:
    """Return whether what stands behind `addr1` is an address: itself, or None."""
    checked = _bech32("addr", text)
    if checked is None or checked[1] != _BECH32:
        return None
    payload = _bytes_of_fives(checked[0])
    return text if payload is not None and len(payload) >= 29 else None


def _human_part(text: str, end: int) -> str:
    """Return the letters and digits before a place, as far as any human part may reach, and one more."""
    found = _HUMAN_PART.search(text[max(0, end - _HUMAN_PART_LENGTH_MAX - 1) : end])
    return found[0] if found else ""


def _same_case(human: str, text: str) -> bool:
    both = human + text
    return both in (both.lower(), both.upper())


_Ranked = tuple[int, CoinAddress]

_BASE58_PATTERN: Final = re.compile(
    rf"[13ACDEFGHJXr]{_BEFORE}[1-9A-HJ-NP-Za-km-z]{{25,110}}+{_AFTER}", re.DOTALL
)
_BECH32_PATTERN: Final = re.compile(rf"1[{_BECH32_CLASS}]{{11,200}}+{_AFTER}")
_ETHEREUM_PATTERN: Final = re.compile(rf"0{_BEFORE}[xX][0-9a-fA-F]{{40}}{_AFTER}", re.DOTALL)
_CASHADDR_PATTERN: Final = re.compile(rf":[qpQP][{_BECH32_CLASS}]{{41}}{_AFTER}")


def _bitcoin_or_none(text: str) -> tuple[str, str] | None:
    address = bitcoin_base58(text)
    return None if address is None else ("btc", address)


def _ripple_or_none(text: str) -> tuple[str, str] | None:
    address = ripple(text)
    return None if address is None else ("xrp", address)


def _substrate_or_none(text: str) -> tuple[str, str] | None:
    coin = substrate(text)
    return None if coin is None else (coin, text)


def _byron_or_none(text: str) -> tuple[str, str] | None:
    address = cardano_byron(text)
    return None if address is None else ("ada", address)


_BASE58_KINDS: Final[tuple[tuple[int, str, int, int, Callable[[str], tuple[str, str] | None]], ...]] = (
    (0, "13", 26, 40, _bitcoin_or_none),
    (4, "r", 26, 47, _ripple_or_none),
    (4, "X", 47, 47, _ripple_or_none),
    (5, "1CDEFGHJ", 46, 48, _substrate_or_none),
    (6, "AD", 55, 110, _byron_or_none),
)
"""Rank in the order of finds, first characters, least and greatest length, and what checks it."""


def _base58_finds(text: str) -> Iterator[_Ranked]:
    for match in _BASE58_PATTERN.finditer(text):
        word = match[0]
        for rank, first, length_min, length_max, check in _BASE58_KINDS:
            if word[0] in first and length_min <= len(word) <= length_max:
                found = check(word)
                if found is not None:
                    yield rank, CoinAddress(*found, word, match.start())


def _bech32_finds(text: str) -> Iterator[_Ranked]:
    for match in _BECH32_PATTERN.finditer(text):
        human = _human_part(text, match.start())
        rest = match[0][1:]
        if human == "" or not _same_case(human, rest):
            continue
        start, whole = match.start() - len(human), human + match[0]
        if human.lower() in ("bc", "tb", "bcrt"):
            address = bitcoin_segwit(human.lower(), rest)
            if address is not None:
                yield 1, CoinAddress("btc", address, whole, start)
        elif human.lower() == "addr" and cardano_shelley(rest) is not None:
            yield 7, CoinAddress("ada", whole, whole, start)


def _ethereum_finds(text: str) -> Iterator[_Ranked]:
    for match in _ETHEREUM_PATTERN.finditer(text):
        address = ethereum(match[0])
        if address is not None:
            yield 2, CoinAddress("eth", address, match[0], match.start())


def _cashaddr_finds(text: str) -> Iterator[_Ranked]:
    for match in _CASHADDR_PATTERN.finditer(text):
        human = _human_part(text, match.start())
        rest = match[0][1:]
        if human.lower() in ("bitcoincash", "bchtest") and _same_case(human, rest):
            address = bitcoin_cash(human.lower(), rest)
            if address is not None:
                yield 3, CoinAddress("bch", address, human + match[0], match.start() - len(human))


def find_addresses(text: str) -> list[CoinAddress]:
    """Return the addresses in a text, kind by kind in the order of the module's table, then as they stand."""
    found = [
        *_base58_finds(text),
        *_bech32_finds(text),
        *_ethereum_finds(text),
        *_cashaddr_finds(text),
    ]
    found.sort(key=lambda ranked: (ranked[0], ranked[1].offset))
    return [address for _, address in found]


__all__ = [
    "CoinAddress",
    "bitcoin_base58",
    "bitcoin_cash",
    "bitcoin_segwit",
    "cardano_byron",
    "cardano_shelley",
    "ethereum",
    "ethereum_checksum",
    "find_addresses",
    "ripple",
    "substrate",
]
