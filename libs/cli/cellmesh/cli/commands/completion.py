"""`cellmesh completion`: what makes a shell complete commands and options."""

from __future__ import annotations

from typing import Final

import click

PROGRAM: Final = "cellmesh"
VARIABLE: Final = "_CELLMESH_COMPLETE"
SHELLS: Final = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print a script that makes a shell complete the commands and options of cellmesh.

    \b
    bash:  echo 'eval "$(cellmesh completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(cellmesh completion zsh)"' >> ~/.zshrc    (below compinit)
    fish:  cellmesh completion fish > ~/.config/fish/completions/cellmesh.fish

    bash has to be 4.4 or newer.
    """
    from cellmesh.cli.main import cli
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None, "click knows each of these"
    made = found(cli, {}, PROGRAM, VARIABLE)
    # Not made.source(): it asks the bash of this machine for its version, and the script may be for another one.
    click.echo(made.source_template % made.source_vars())
