"""`cellmesh help`."""

from __future__ import annotations

import click


@click.command()
@click.argument("words", nargs=-1, metavar="[COMMAND]...")
@click.pass_context
def help_command(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Explain a command, such as `cellmesh help axon put`; without one, list all."""
    here = ctx.find_root()
    for word in words:
        if not isinstance(here.command, click.Group):
            here.fail(f"{here.command_path} has no commands of its own.")
        name, command, _ = here.command.resolve_command(here, [word])
        assert command is not None, "what is none was told of"
        here = click.Context(command, info_name=name, parent=here)
    click.echo(here.get_help())
