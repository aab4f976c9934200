"""A config class as options of a click command, so that `--help` tells every setting."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import click
from cellmesh.common.config.docs import bounds_text, default_text, own_settings
from cellmesh.common.config.spec import CellConfig, environment_name, flag_name, is_list, is_secret
from pydantic.fields import FieldInfo

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


def config_options(config_class: type[CellConfig]) -> Callable[[CommandT], CommandT]:
    """Decorate a click command with one option a setting.

    The command gets each as a keyword argument named like the setting, None where the flag was not given,
    ready for `load_config(config_class, flags=kwargs)`. No default is handed to click: a default there would
    hide what the file and the environment say.
    """

    def decorate(command: CommandT) -> CommandT:
        # click shows options in the order in which decorators were applied, last one first.
        for name, field in reversed(list(config_class.model_fields.items())):
            command = _option(config_class, name, field)(command)
        return command

    return decorate


class SettingsCommand(click.Command):
    """A command whose options are the settings of a cell: its own first, then those that every cell has.

    Attributes:
        config_class: Whose they are. Set by the subclass that `settings_command` makes.
    """

    config_class: type[CellConfig]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options under two headings."""
        own_names = {*own_settings(self.config_class), "dir"}
        own: list[tuple[str, str]] = []
        common: list[tuple[str, str]] = []
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx)
            if record is not None:
                (own if option.name in own_names else common).append(record)
        for title, rows in (
            (f"Settings of the {self.config_class.kind}", own),
            ("Settings of every cell", common),
        ):
            with formatter.section(title):
                formatter.write_dl(rows)


def settings_command(config_class: type[CellConfig]) -> type[SettingsCommand]:
    """The class of a command for `click.command(cls=...)`, which shows these settings."""
    return type("SettingsCommand", (SettingsCommand,), {"config_class": config_class})


def _option(config_class: type[CellConfig], name: str, field: FieldInfo) -> Callable[[CommandT], CommandT]:
    flag = flag_name(name)
    variable = environment_name(config_class, name)
    told = default_text(config_class, name)
    facts = [variable, bounds_text(field), f"default {told}" if told else ""]
    help_text = f"{field.description or ''} [{'; '.join(filter(None, facts))}]"
    if field.is_required():
        help_text += "  [required]"
    kind = _plain_type(field.annotation)
    attributes: dict[str, Any] = {"default": None, "help": help_text, "show_envvar": False}
    if kind is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, **attributes)
    if is_list(config_class, name):
        return click.option(flag, name, multiple=True, type=str, **attributes)
    if typing.get_origin(kind) is Literal:
        return click.option(
            flag, name, type=click.Choice([str(arg) for arg in typing.get_args(kind)]), **attributes
        )
    if kind in (int, float):
        return click.option(flag, name, type=kind, **attributes)
    if kind is Path:
        return click.option(flag, name, type=click.Path(path_type=Path), **attributes)
    metavar = "SECRET" if is_secret(config_class, name) else "TEXT"
    return click.option(flag, name, type=str, metavar=metavar, **attributes)


def _plain_type(annotation: Any) -> Any:
    """The type without `| None`."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        kept = [arg for arg in typing.get_args(annotation) if arg is not types.NoneType]
        return kept[0] if len(kept) == 1 else str
    return annotation
