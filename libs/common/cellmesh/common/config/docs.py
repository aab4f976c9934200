"""A config class as a Markdown table."""

from __future__ import annotations

import typing
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from cellmesh.common.config.spec import CellConfig, environment_name, flag_name, is_secret
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined


def settings_table(config_class: type[CellConfig], names: Collection[str] | None = None) -> str:
    """Return settings of a cell as a Markdown table: flag, variable, type with bounds, default, meaning.

    Args:
        config_class: The cell's own.
        names: Only these settings; all when left out.
    """
    lines = ["| setting | environment | type | default | meaning |", "| --- | --- | --- | --- | --- |"]
    for name, field in config_class.model_fields.items():
        if names is not None and name not in names:
            continue
        told = default_text(config_class, name)
        kind = ", ".join(filter(None, (type_text(field.annotation), bounds_text(field))))
        cells = (
            f"`{flag_name(name)}`",
            f"`{environment_name(config_class, name)}`",
            kind + (" (secret)" if is_secret(config_class, name) else ""),
            f"`{told}`" if told else "",
            (field.description or "").replace("|", "\\|"),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def own_settings(config_class: type[CellConfig]) -> list[str]:
    """Names of the settings that not every cell has, or has otherwise: with another default or meaning."""
    common = CellConfig.model_fields
    found = []
    for name, field in config_class.model_fields.items():
        same = common.get(name)
        if same is None or (field.default, field.description) != (same.default, same.description):
            found.append(name)
    return found


def default_text(config_class: type[CellConfig], name: str) -> str:
    """The default of a setting as one would write it, empty when there is none to tell."""
    default = config_class.model_fields[name].default
    if default is PydanticUndefined or default is None or default in ("", (), []):
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return str(default)


def type_text(annotation: Any) -> str:
    """A type in words a reader of the settings knows."""
    if typing.get_origin(annotation) is Literal:
        return ", ".join(str(arg) for arg in typing.get_args(annotation))
    words = {bool: "true or false", int: "integer", float: "number", str: "text", Path: "path"}
    if annotation in words:
        return words[annotation]
    if typing.get_origin(annotation) in (list, tuple):
        return "list of " + type_text(typing.get_args(annotation)[0])
    for kind in typing.get_args(annotation):
        if kind in words:
            return words[kind]
    return "text"


def bounds_text(field: FieldInfo) -> str:
    """The bounds of a number, such as "1 to 300" or "0 or more"; empty when there are none."""
    least = most = None
    for item in field.metadata:
        least = getattr(item, "ge", least)
        most = getattr(item, "le", most)
    if least is None:
        return "" if most is None else f"up to {most}"
    return f"{least} or more" if most is None else f"{least} to {most}"
