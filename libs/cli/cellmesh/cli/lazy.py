"""Groups whose commands are imported when they are used, so that `cellmesh --help` answers at once."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import click
from click.shell_completion import CompletionItem


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command that is not imported yet.

    Attributes:
        source: "module:attribute", or a function that makes the command.
        help: One line for the list of commands.
    """

    source: str | Callable[[], click.Command]
    help: str

    def load(self) -> click.Command:
        """Import or make the command."""
        if not isinstance(self.source, str):
            return self.source()
        module, _, attribute = self.source.partition(":")
        return cast(click.Command, getattr(importlib.import_module(module), attribute))


class LazyGroup(click.Group):
    """A group that also has commands by name only.

    Args:
        lazy: Those commands, in the order in which they are listed, before the others.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, Lazy], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        return [*self._lazy, *(name for name in self.commands if name not in self._lazy)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by name, imported now."""
        found = self._lazy.get(cmd_name)
        return found.load() if found else super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """A command and its arguments. Of a name that is none, those that may be meant are told."""
        name = args[0]
        is_option = name.startswith("-")
        if not is_option and not ctx.resilient_parsing and self.get_command(ctx, name) is None:
            near = difflib.get_close_matches(name, self.list_commands(ctx))
            meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            ctx.fail(f"No such command {name!r}.{meant}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names of commands without importing them."""
        found = [
            CompletionItem(name, help=lazy.help)
            for name, lazy in self._lazy.items()
            if name.startswith(incomplete)
        ]
        seen = {item.value for item in found} | set(self._lazy)
        others = [
            CompletionItem(name, help=command.get_short_help_str())
            for name, command in self.commands.items()
            if name.startswith(incomplete) and name not in seen and not command.hidden
        ]
        # Of a command alone: options, as click has them.
        return [*found, *others, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        rows = []
        for name in self.list_commands(ctx):
            lazy = self._lazy.get(name)
            command = self.commands.get(name)
            rows.append((name, lazy.help if lazy else command.get_short_help_str(80) if command else ""))
        with formatter.section("Commands"):
            formatter.write_dl(rows)
