"""Write `docs/reference/settings.md` from the config classes of the cells.

python tools/make_settings_docs.py           write it
python tools/make_settings_docs.py --check   say whether it is fresh, by exit status
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "reference" / "settings.md"

sys.path.insert(0, str(ROOT))

from cellmesh.common.config import CellConfig
from cellmesh.common.config.docs import own_settings, settings_table

from tools.made_pages import write_or_check

KINDS = ("aha", "axon", "cortex", "cryotank")

HEAD = """<!-- Written by tools/make_settings_docs.py from the config classes. Do not edit. -->

# Settings of cells

A setting comes from its default, from `DIR/cell.toml`, from the environment, or from a flag of `cellmesh KIND serve`; the last one wins. In the file
it has the name of the flag with `_` for `-` and without the dashes:

```toml
log_level = "debug"
space_min_bytes = 1_000_000_000
```

An unknown name is an error that says what was probably meant, and a value that cannot be used is told with where it came from. `cell.toml` cannot set
`dir`. A list is a repeated flag, a list in the file, and text with commas in the environment. Settings marked as secret are never shown, neither in
errors nor in logs. They are read once, at the start; the level of the log alone can be changed while a cell runs (`cellmesh log-level`).

What a cell *has* from its first start, users, roles and key-values, is told in a file of its own, `first_start`; see
[operations](../operations.md#first-start).
"""


def make() -> str:
    """The whole page."""
    lines = [HEAD, "## Every cell", ""]
    lines += ["`KIND` stands for the kind of cell: `CELLMESH_AXON_LISTEN`.", ""]
    lines += [settings_table(CellConfig).replace("`CELLMESH_CELL_", "`CELLMESH_KIND_"), ""]
    for kind in KINDS:
        config: type[CellConfig] = importlib.import_module(f"cellmesh.{kind}.main").CONFIG
        own = own_settings(config)
        lines += [f"## {kind.capitalize() if kind != 'aha' else 'AHA'}", ""]
        lines += ["Beside what every cell has:" if own else "What every cell has, and nothing else.", ""]
        lines += [settings_table(config, own), ""] if own else []
    return "\n".join(lines).replace("\n\n\n", "\n\n").rstrip() + "\n"


def main() -> int:
    """Write or check the page; 1 if the check finds it stale."""
    return write_or_check(OUT.parent, {OUT.name: make()})


if __name__ == "__main__":
    raise SystemExit(main())
