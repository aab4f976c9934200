"""A config class as a Markdown table."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any, Literal

from cellmesh.common.config.spec import CellConfig, environment_name, flag_name, is_secret
from pydantic_core import PydanticUndefined


def settings_table(config_class: type[CellConfig]) -> str:
    """Return every setting of a cell as a Markdown table: flag, variable, type, default, meaning."""
    lines = ["| setting | environment | type | default | meaning |", "| --- | --- | --- | --- | --- |"]
    for name, field in config_class.model_fields.items():
        told = default_text(config_class, name)
        cells = (
            f"`{flag_name(name)}`",
            f"`{environment_name(config_class, name)}`",
            type_text(field.annotation) + (" (secret)" if is_secret(config_class, name) else ""),
            f"`{told}`" if told else "",
            (field.description or "").replace("|", "\\|"),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


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
    return "text"
