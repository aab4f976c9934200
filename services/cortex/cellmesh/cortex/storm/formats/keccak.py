"""Keccak-256 as Ethereum uses it: the hash function before SHA-3 changed its padding."""

from __future__ import annotations

from typing import Final

_RATE: Final = 136
_MASK: Final = (1 << 64) - 1
_ROUNDS: Final = 24


def _round_constants() -> list[int]:
    """Work out the constants of the rounds with the shift register that defines them."""
    found, register = [], 1
    for _ in range(_ROUNDS):
        constant = 0
        for place in range(7):
            if register & 1:
                constant |= 1 << ((1 << place) - 1)
            register = (register << 1) ^ (0x171 if register & 0x80 else 0)
        found.append(constant)
    return found


_CONSTANTS: Final = _round_constants()


def _turned(value: int, count: int) -> int:
    count %= 64
    return ((value << count) | (value >> (64 - count))) & _MASK


def _permuted(state: list[int]) -> list[int]:
    for constant in _CONSTANTS:
        columns = [state[x] ^ state[x + 5] ^ state[x + 10] ^ state[x + 15] ^ state[x + 20] for x in range(5)]
        change = [columns[(x + 4) % 5] ^ _turned(columns[(x + 1) % 5], 1) for x in range(5)]
        state = [lane ^ change[place % 5] for place, lane in enumerate(state)]
        x, y, moved = 1, 0, list(state)
        current = state[1]
        for step in range(_ROUNDS):
            x, y = y, (2 * x + 3 * y) % 5
            place = x + 5 * y
            current, moved[place] = state[place], _turned(current, (step + 1) * (step + 2) // 2)
        state = [
            moved[place]
            ^ (~moved[place // 5 * 5 + (place + 1) % 5] & moved[place // 5 * 5 + (place + 2) % 5])
            for place in range(25)
        ]
        state[0] ^= constant
    return [lane & _MASK for lane in state]


def keccak256(data: bytes) -> bytes:
    """Return the 32 bytes of the hash."""
    padded = bytearray(data) + b"\x01"
    padded += bytes(-len(padded) % _RATE)
    padded[-1] |= 0x80
    state = [0] * 25
    for start in range(0, len(padded), _RATE):
        for place in range(_RATE // 8):
            at = start + 8 * place
            state[place] ^= int.from_bytes(padded[at : at + 8], "little")
        state = _permuted(state)
    return b"".join(lane.to_bytes(8, "little") for lane in state[:4])


__all__ = ["keccak256"]
