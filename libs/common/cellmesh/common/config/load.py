"""Reads settings: defaults, then DIR/cell.toml, then CELLMESH_<KIND>_<NAME>, then flags; the last one wins."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from cellmesh.common.config.spec import (
    CONFIG_FILE_NAME,
    ENVIRONMENT_PREFIX,
    SECRET_SHOWN,
    CellConfig,
    environment_name,
    flag_name,
    is_list,
    is_secret,
)
from cellmesh.common.errors import BadConfValu, NeedConfValu
from pydantic import ValidationError

ConfigT = TypeVar("ConfigT", bound=CellConfig)


def load_config(
    config_class: type[ConfigT],
    *,
    dir: Path | str | None = None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> ConfigT:
    """Make the settings of a cell from all sources.

    Args:
        config_class: The cell's own config class.
        dir: The cell's folder; short for `flags={"dir": ...}`.
        flags: Setting name -> value from the command line. None values mean "not given".
        environ: The environment; os.environ when left out.

    Returns:
        The frozen settings, which know where each value came from.

    Raises:
        NeedConfValu: no source names the folder, or another setting that has no default.
        BadConfValu: an unknown name (with a near match), or a value that cannot be used.
    """
    environ = os.environ if environ is None else environ
    given = {name: value for name, value in (flags or {}).items() if value is not None and value != ()}
    if dir is not None:
        given["dir"] = dir
    from_flags = _checked_names(config_class, given, lambda name: f"flag {flag_name(name)}")
    from_environment = _read_environment(config_class, environ)
    folder = from_flags.get("dir", from_environment.get("dir"))
    if folder is None:
        raise NeedConfValu(
            "the cell's folder is not given",
            name="dir",
            hint=f"use --dir DIR or set {environment_name(config_class, 'dir')}",
        )
    from_file = _read_file(config_class, Path(folder[0]).expanduser() / CONFIG_FILE_NAME)
    merged = {**from_file, **from_environment, **from_flags}
    origins = {name: origin for name, (_, origin) in merged.items()}
    values = {name: value for name, (value, _) in merged.items()}
    values["dir"] = Path(values["dir"]).expanduser().absolute()
    return build_config(config_class, values, origins)


def build_config(config_class: type[ConfigT], values: dict[str, Any], origins: dict[str, str]) -> ConfigT:
    """Validate merged values. Errors are raised as `load_config` says."""
    try:
        config = config_class(**values)
    except ValidationError as error:
        raise _as_cell_error(config_class, error, origins) from None
    config._origins.update(origins)
    return config


_Found = dict[str, tuple[Any, str]]


def _read_file(config_class: type[CellConfig], path: Path) -> _Found:
    try:
        text = path.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfValu(f"the settings file cannot be read: {error}", origin=str(path)) from error
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadConfValu(f"the settings file {path} is not TOML: {error}", origin=str(path)) from error
    if "dir" in found:
        raise BadConfValu(
            "the settings file cannot set the folder it lies in", name="dir", origin=f"file {path}"
        )
    return _checked_names(config_class, found, lambda name: f"file {path}")


def _read_environment(config_class: type[CellConfig], environ: Mapping[str, str]) -> _Found:
    prefix = f"{ENVIRONMENT_PREFIX}_{config_class.kind}_".upper()
    raw: dict[str, Any] = {}
    for key, value in environ.items():
        if key.startswith(prefix):
            name = key[len(prefix) :].lower()
            if name in config_class.model_fields and is_list(config_class, name):
                raw[name] = [part.strip() for part in value.split(",") if part.strip()]
            else:
                raw[name] = value
    return _checked_names(config_class, raw, lambda name: f"environment {prefix}{name.upper()}")


def _checked_names(config_class: type[CellConfig], values: Mapping[str, Any], origin_of: Any) -> _Found:
    known = config_class.model_fields
    found: _Found = {}
    for name, value in values.items():
        origin = origin_of(name)
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
            raise BadConfValu(
                f"{config_class.kind} has no setting {name!r} ({origin})", name=name, origin=origin, hint=hint
            )
        found[name] = (value, origin)
    return found


def _as_cell_error(
    config_class: type[CellConfig], error: ValidationError, origins: Mapping[str, str]
) -> BadConfValu | NeedConfValu:
    """The first thing wrong, in our words; pydantic's own text would show secrets."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "missing":
        return NeedConfValu(
            f"the setting {name} is needed",
            name=name,
            hint=f"use {flag_name(name)} or set {environment_name(config_class, name)}",
        )
    origin = origins.get(name, "default")
    secret = name in config_class.model_fields and is_secret(config_class, name)
    shown = SECRET_SHOWN if secret else first.get("input")
    why = "the value cannot be used" if secret else first["msg"]
    return BadConfValu(
        f"the setting {name} cannot be {shown!r} ({origin}): {why}", name=name, valu=str(shown), origin=origin
    )
