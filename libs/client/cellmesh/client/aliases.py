"""Names for URLs, kept in a file: `open("cortex-west")` in place of `open("grpcs://10.0.0.7:27493")`.

    # ~/.config/cellmesh/aliases.toml, or the file that $CELLMESH_ALIASES names
    [aliases]
    cortex-west = "grpcs://10.0.0.7:27493"

A name leads to a URL, not to another name. The file is read each time a name is used, so that a change holds at once.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cellmesh.client.urls import CellUrl, Scheme
from cellmesh.common.errors import BadConfValu, BadName, BadUrl, NoSuchName
from cellmesh.common.files import write_atomically

ALIASES_VARIABLE: Final = "CELLMESH_ALIASES"
ALIASES_FILE: Final = "~/.config/cellmesh/aliases.toml"
TABLE: Final = "aliases"

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What an alias may be called; no such name is a URL."""


def aliases_file() -> Path:
    """The file with the aliases of the person at the keyboard; it need not be there."""
    return Path(os.environ.get(ALIASES_VARIABLE) or ALIASES_FILE).expanduser()


def read_aliases(path: Path | None = None) -> dict[str, str]:
    """Read the aliases, by name; empty when there is no file.

    Raises:
        BadConfValu: the file cannot be read, or is no file of aliases.
    """
    path = path or aliases_file()
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BadConfValu(f"the aliases in {path} cannot be read: {error}", name=str(path)) from None
    found = told.get(TABLE, {})
    if not isinstance(found, dict):
        raise BadConfValu(f"{path} has no table [{TABLE}]", name=str(path))
    for name, url in found.items():
        if not isinstance(url, str) or not NAME.fullmatch(name):
            raise BadConfValu(f'{path}: the alias {name!r} is not of the form  name = "URL"', name=str(path))
    return {name: found[name] for name in sorted(found)}


def parse_url(text: str) -> CellUrl:
    """Read a URL, or an alias of one.

    Raises:
        BadUrl: it is neither; tells a near name if there is one.
        BadConfValu: the file of aliases cannot be read.
    """
    if not NAME.fullmatch(text):
        return CellUrl.parse(text)
    known = read_aliases()
    if text in known:
        return CellUrl.parse(known[text])
    near = difflib.get_close_matches(text, known, n=1)
    schemes = ", ".join(f"{kind.value}://" for kind in Scheme)
    raise BadUrl(
        f"{text!r} is no URL of a cell and no alias: a URL starts with one of {schemes}",
        url=text,
        hint=f"did you mean {near[0]}?" if near else f"`cellmesh alias set {text} URL` makes it an alias",
    )


def set_alias(name: str, url: str, path: Path | None = None) -> None:
    """Keep an alias, in place of the one of the same name.

    Raises:
        BadName: an alias cannot be called so.
        BadUrl: what it should lead to is no URL.
        BadConfValu: the file cannot be read.
    """
    if not NAME.fullmatch(name):
        raise BadName(
            f"{name!r} cannot be an alias: letters, digits, dots, dashes and underscores", name=name
        )
    CellUrl.parse(url)
    path = path or aliases_file()
    _write(path, {**read_aliases(path), name: url})


def remove_alias(name: str, path: Path | None = None) -> str:
    """Forget an alias; returns what it led to.

    Raises:
        NoSuchName: there is no such alias.
    """
    path = path or aliases_file()
    known = read_aliases(path)
    if name not in known:
        raise NoSuchName(f"there is no alias {name}", name=name)
    url = known.pop(name)
    _write(path, known)
    return url


def _write(path: Path, known: Mapping[str, str]) -> None:
    """Write the whole file. A URL may hold a password, so that only its owner may read it."""
    lines = [f"{_quote(name)} = {_quote(known[name])}" for name in sorted(known)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "\n".join([f"[{TABLE}]", *lines, ""]).encode(), mode=0o600)


def _quote(text: str) -> str:
    """Text as a basic string of TOML, which is JSON's but for one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
