"""Write `docs/reference/api-map.md` from `docs/reference/api-map.toml`.

python tools/make_api_map.py           write it
python tools/make_api_map.py --check   say whether it is fresh, by exit status
"""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "docs" / "reference"
DATA: Final = FOLDER / "api-map.toml"
OUT: Final = FOLDER / "api-map.md"

sys.path.insert(0, str(ROOT))

from tools.made_pages import write_or_check

KINDS: Final = ("rpc", "py", "storm", "cli", "to come", "gone")
NOTE: Final = " | "

HEAD: Final = """<!-- Written by tools/make_api_map.py from api-map.toml. Do not edit. -->

# What became of the names of Synapse's API

Every name that the documentation of Synapse 2.256 promises, class by class, and every method of its `CellApi`, of AHA and of its
hive, with what does the same here. A name is there, is to come, or is gone for a reason.

- **RPC**: any gRPC client can call it; `cellmesh.api.PACKAGE.v1` is left out of the names.
- **Python**: `module:name`, for code in this repository and its users.
- **Storm**: a function of `$lib`, a command or a form, over `cortex.StormService/Storm`.
- **Command**: of the program `cellmesh`.
"""


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that a name became.

    Attributes:
        kind: One of `KINDS`.
        text: The RPC, the Python name, the Storm name, the words of the command, or the key of the reason.
    """

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One name.

    Attributes:
        owner: The class or module of the peer.
        name: The name in it.
        targets: What it became; one if it is gone or to come.
        note: More, for readers.
    """

    owner: str
    name: str
    targets: tuple[Target, ...]
    note: str

    @property
    def is_there(self) -> bool:
        """Whether something here does the same."""
        return self.targets[0].kind not in ("to come", "gone")


@dataclass(frozen=True, slots=True)
class ApiMap:
    """The whole map.

    Attributes:
        entries: By class and name.
        reasons: What the keys of "to come" and "gone" say, by kind.
    """

    entries: tuple[Entry, ...]
    reasons: Mapping[str, Mapping[str, str]]


def read(path: Path = DATA) -> ApiMap:
    """Read the data. Raises ValueError for what is not as its head says."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    reasons = {"to come": data.pop("to_come"), "gone": data.pop("gone")}
    peer = data.pop("peer")
    if data:
        raise ValueError(f"unknown tables: {', '.join(data)}")
    entries = tuple(parse(owner, name, text) for owner, names in peer.items() for name, text in names.items())
    for entry in entries:
        for target in entry.targets:
            if target.kind in reasons and target.text not in reasons[target.kind]:
                raise ValueError(f"{entry.owner}.{entry.name}: there is no reason {target.text}")
        if len(entry.targets) > 1 and any(target.kind in reasons for target in entry.targets):
            raise ValueError(f"{entry.owner}.{entry.name}: what is gone or to come is nothing else")
    return ApiMap(entries, reasons)


def parse(owner: str, name: str, text: str) -> Entry:
    """Read one line. Raises ValueError."""
    targets_text, _, note = text.partition(NOTE)
    targets = []
    for part in targets_text.split(","):
        kind = next((kind for kind in KINDS if part.strip().startswith(f"{kind} ")), None)
        if kind is None:
            raise ValueError(f"{owner}.{name}: {part.strip()!r} begins with none of {', '.join(KINDS)}")
        targets.append(Target(kind, part.strip().removeprefix(kind).strip()))
    return Entry(owner, name, tuple(targets), note.strip())


def make(found: ApiMap) -> str:
    """The whole page."""
    count = Counter("there" if entry.is_there else entry.targets[0].kind for entry in found.entries)
    lines = [
        HEAD,
        f"Of {len(found.entries)} names {count['there']} are there, {count['to come']} are to come, {count['gone']} are gone.",
        "",
    ]
    for title, kind in (("What is to come", "to come"), ("What is gone, and why", "gone")):
        lines += [f"## {title}", "", "| key | |", "| --- | --- |"]
        lines += [f"| {key} | {text} |" for key, text in found.reasons[kind].items()]
        lines += [""]
    owners: dict[str, list[Entry]] = {}
    for entry in found.entries:
        owners.setdefault(entry.owner, []).append(entry)
    for owner, entries in owners.items():
        lines += [f"## {owner}", "", "| name | here |", "| --- | --- |"]
        lines += [f"| `{entry.name}` | {here(entry)} |" for entry in entries]
        lines += [""]
    return "\n".join(lines).rstrip() + "\n"


def here(entry: Entry) -> str:
    """What the page says of one name."""
    return "; ".join([*told(entry.targets), *([entry.note] if entry.note else [])])


def told(targets: Iterable[Target]) -> Iterable[str]:
    """What the page says of what a name became."""
    for target in targets:
        match target.kind:
            case "rpc":
                yield f"`{target.text}`"
            case "py":
                yield f"`{target.text}`"
            case "storm":
                yield f"Storm `{target.text}`"
            case "cli":
                yield f"`cellmesh {target.text}`"
            case kind:
                yield f"{kind}: {target.text}"


def main() -> int:
    """Write or check the page; 1 if the check finds it stale."""
    return write_or_check(FOLDER, {OUT.name: make(read())})


if __name__ == "__main__":
    raise SystemExit(main())
