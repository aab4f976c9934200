"""Queries made of parts of other queries: most of them wrong, in all the ways in which queries come to be wrong."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Final

CHANGES_MAX: Final = 4
RUN_MAX: Final = 8
_PARTS: Final = re.compile(r"\s+|[\w:.]+|.", re.DOTALL)


class TextMaker:
    """Makes texts from a corpus.

    Args:
        texts: The corpus.
        seed: The same seed gives the same texts.
    """

    def __init__(self, texts: list[str], seed: int) -> None:
        self._texts = [_PARTS.findall(text) for text in texts if text]
        self._pool = sorted({part for parts in self._texts for part in parts})
        self._random = random.Random(seed)

    def text(self) -> str:
        """A query of the corpus, changed in a few places: parts left out, put in, exchanged, taken from others."""
        choose = self._random
        parts = list(choose.choice(self._texts))
        for _ in range(choose.randrange(1, CHANGES_MAX)):
            at = choose.randrange(len(parts) + 1)
            match choose.randrange(7):
                case 0:
                    parts[at : at + 1] = [choose.choice(self._pool)]
                case 1:
                    del parts[at : at + choose.randrange(1, 3)]
                case 2:
                    parts.insert(at, choose.choice(self._pool))
                case 3:
                    parts[at : at + choose.randrange(3)] = self._run()
                case 4 if parts:
                    other, at = choose.randrange(len(parts)), min(at, len(parts) - 1)
                    parts[at], parts[other] = parts[other], parts[at]
                case 5:
                    parts[at : at + 1] = parts[at : at + 1] * choose.randrange(2, 6)
                case _:
                    parts.insert(at, chr(choose.randrange(1, 0x250)))
        return "".join(parts)

    def _run(self) -> list[str]:
        parts = self._random.choice(self._texts)
        start = self._random.randrange(len(parts))
        return parts[start : start + self._random.randrange(1, RUN_MAX)]


def conformance_texts(folder: Path) -> list[str]:
    """The queries of the conformance cases in a folder."""
    texts: set[str] = set()
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            case = json.loads(line)
            texts.add(case.get("storm") or case["call"])
            texts.update(step for step in case["setup"] if isinstance(step, str))
    return sorted(texts)


__all__ = ["TextMaker", "conformance_texts"]
