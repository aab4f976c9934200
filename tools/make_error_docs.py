"""Write `docs/reference/errors.md` from the error classes.

python tools/make_error_docs.py           write it
python tools/make_error_docs.py --check   say whether it is fresh, by exit status
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "reference" / "errors.md"

sys.path.insert(0, str(ROOT))

from cellmesh.common.errors import CellError, status
from cellmesh.common.errors.reasons import CLASS_BY_CODE, TOPICS, classes_of

from tools.made_pages import write_or_check

HEAD = f"""<!-- Written by tools/make_error_docs.py from the classes in cellmesh.common.errors. Do not edit. -->

# Errors

Every error has a class, a gRPC status code and a reason that never changes its meaning. A failed call
ends with a `google.rpc.Status` that carries

- `google.rpc.ErrorInfo`: the reason, the domain `{status.DOMAIN}` and short fields as text, for any client;
- `cellmesh.api.common.v1.ErrorDetail`: class, message, hint and all fields with their types.

The Python client raises the same class again. `error.get("name")` returns a field, `error.items()` all
of them, `error.get("mesg")` the message, `error.hint` what to do. Fields that are too large for a status
are cut, and `cut_fields` names them. An error may have more fields than those listed here.

A reason that a client does not know becomes the class that stands for its code:
"""


def make() -> str:
    """The whole page."""
    lines = [HEAD, "| code | class |", "| --- | --- |"]
    lines += [
        f"| {code.name} | [{cls.__name__}](#{cls.__name__.lower()}) |" for code, cls in CLASS_BY_CODE.items()
    ]
    lines += ["", "## The root", "", *entry(CellError)]
    for topic in TOPICS:
        lines += [f"## {(topic.__doc__ or '').strip().splitlines()[0].rstrip('.')}", ""]
        for cls in classes_of(topic):
            lines += entry(cls)
    return "\n".join(lines).rstrip() + "\n"


def entry(cls: type[CellError]) -> list[str]:
    """What the page says of one class."""
    summary = f"{cls.summary()}."
    facts = f"`{cls.reason_name()}` · {cls.code.name}"
    parent = cls.__mro__[1]
    if parent is not CellError and issubclass(parent, CellError):
        facts += f" · a kind of [{parent.__name__}](#{parent.__name__.lower()})"
    fields = [f"- `{name}`: {text}" for name, text in cls.field_docs.items()]
    return [f"### {cls.__name__}", "", summary, "", facts, "", *([*fields, ""] if fields else [])]


def main() -> int:
    """Write or check the page; 1 if the check finds it stale."""
    return write_or_check(OUT.parent, {OUT.name: make()})


if __name__ == "__main__":
    raise SystemExit(main())
