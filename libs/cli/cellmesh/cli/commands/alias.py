"""`cellmesh alias`: names for URLs, which every --url takes."""

from __future__ import annotations

import click
from cellmesh.cli.records import echo_records, json_option


@click.group()
def alias() -> None:
    """Names for URLs of cells, which every --url takes: list, set, remove.

    They are kept in ~/.config/cellmesh/aliases.toml, or the file that CELLMESH_ALIASES names.
    """


@alias.command("list")
@json_option
def list_aliases() -> None:
    """Print the aliases. Passwords in URLs are left out."""
    from cellmesh.cli.output import table
    from cellmesh.client import CellUrl
    from cellmesh.client.aliases import read_aliases

    rows = [(name, str(CellUrl.parse(url))) for name, url in read_aliases().items()]
    if echo_records({"alias": name, "url": url} for name, url in rows):
        return
    if rows:
        click.echo(table(("alias", "url"), rows))


@alias.command("set")
@click.argument("name")
@click.argument("url")
def set_one(name: str, url: str) -> None:
    """Let NAME stand for URL, in place of what it stood for."""
    from cellmesh.client.aliases import set_alias

    set_alias(name, url)


@alias.command("remove")
@click.argument("name")
def remove_one(name: str) -> None:
    """Forget NAME."""
    from cellmesh.client.aliases import remove_alias

    remove_alias(name)
