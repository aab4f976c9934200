"""The root command, and how errors reach people: one line that says what is wrong and what to do."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

import click
from cellmesh.cli.lazy import Lazy, LazyGroup

DEBUG_VARIABLE: Final = "CELLMESH_DEBUG"

UNKNOWN_METHOD: Final = "Method not found!"
"""How a gRPC server says that none of its services has the method."""

EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130

_COMMANDS: Final = {
    "up": Lazy("cellmesh.cli.commands.mesh:up", "Start the four cells under a folder."),
    "down": Lazy("cellmesh.cli.commands.mesh:down", "Stop the cells under a folder."),
    "status": Lazy("cellmesh.cli.commands.mesh:status", "Show how the cells do."),
    "storm": Lazy("cellmesh.cli.commands.storm:storm", "Run a Storm query, or a shell."),
    "model": Lazy("cellmesh.cli.commands.model:model", "Show forms, properties, types and edges."),
    "import": Lazy(
        "cellmesh.cli.commands.importing:import_files",
        "Import STIX, MISP, CSV, JSON Lines or .nodes into the graph.",
    ),
    "export": Lazy(
        "cellmesh.cli.commands.exporting:export",
        "Export the nodes of a query: nodes, jsonl, csv, stix, graphml, dot.",
    ),
    "demo": Lazy("cellmesh.cli.demo.command:demo", "Do the main job on real data."),
    "aha": Lazy(
        "cellmesh.cli.commands.aha:aha",
        "The registry and certificate authority: who is there, who may join.",
    ),
    "axon": Lazy(
        "cellmesh.cli.commands.axon:axon", "The blob store: contents in and out, deleted, verified, copied."
    ),
    "cryotank": Lazy(
        "cellmesh.cli.commands.cryotank:cryotank", "The record tanks: records in and out, consumers, limits."
    ),
    "cortex": Lazy(
        "cellmesh.cli.commands.cortex:cortex",
        "The hypergraph: serve it. Ask it with storm, model, import, export.",
    ),
    "backup": Lazy(
        "cellmesh.cli.commands.backup:backup", "Copies of a cell's data: create, list, delete, fetch."
    ),
    "restore": Lazy("cellmesh.cli.commands.backup:restore", "Make a cell's folder out of a backup."),
    "layer": Lazy(
        "cellmesh.cli.commands.layer:layer", "The layers of a Cortex: list, verify, repair, export, import."
    ),
    "storage": Lazy("cellmesh.cli.commands.storage:storage", "Show what a cell's database file holds."),
    "compact": Lazy("cellmesh.cli.commands.storage:compact", "Give back the disk of deleted data."),
    "trim": Lazy("cellmesh.cli.commands.storage:trim", "Remove the oldest records of a cell's change log."),
    "mirror": Lazy(
        "cellmesh.cli.commands.mirror:mirror", "Leader and followers of a service: status, promote, check."
    ),
    "changes": Lazy("cellmesh.cli.commands.changes:changes", "Print a cell's change log, or follow it."),
    "auth": Lazy(
        "cellmesh.cli.commands.auth:auth", "The users of a cell: user, role, rule, key, check, audit."
    ),
    "alias": Lazy("cellmesh.cli.commands.alias:alias", "Names for URLs of cells: list, set, remove."),
    "kv": Lazy("cellmesh.cli.commands.kv:kv", "Key-values of a cell: get, set, pop, list, watch."),
    "tasks": Lazy("cellmesh.cli.commands.tasks:tasks", "The calls a cell is serving: list, cancel."),
    "log-level": Lazy(
        "cellmesh.cli.commands.log_level:log_level", "Show or set the level of a running cell's log."
    ),
    "cert": Lazy(
        "cellmesh.cli.commands.cert:cert", "Certificates without an AHA: init, issue, renew, revoke, verify."
    ),
    "enroll": Lazy("cellmesh.cli.commands.enroll:enroll", "Join a mesh with a one-time URL."),
    "doctor": Lazy(
        "cellmesh.cli.commands.doctor:doctor", "Check cells and this machine, and say what to do."
    ),
    "completion": Lazy(
        "cellmesh.cli.commands.completion:completion", "Make bash, zsh or fish complete commands."
    ),
    "version": Lazy("cellmesh.cli.commands.version:version", "Print the version."),
    "help": Lazy("cellmesh.cli.commands.help:help_command", "Explain a command."),
}


def _print_version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    """What `cellmesh version` prints, for who types --version."""
    if wanted and not ctx.resilient_parsing:
        from cellmesh.cli.commands.version import version

        ctx.invoke(version)
        ctx.exit()


@click.group(
    cls=LazyGroup,
    lazy=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version.",
)
def cli(debug: bool) -> None:
    """Cellmesh: an intelligence-analysis platform as a mesh of cells.

    \b
    cellmesh up --dir DIR                         start AHA, Axon, Cryotank and Cortex
    cellmesh storm --dir DIR 'inet:fqdn | limit 3'
    cellmesh down --dir DIR                       stop them
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments or bool(os.environ.get(DEBUG_VARIABLE))
    sys.exit(run(arguments, debug=debug))


def run(arguments: Sequence[str], *, debug: bool = False) -> int:
    """Run the command line; returns the exit code. Errors are printed."""
    try:
        code = cli.main(list(arguments), prog_name="cellmesh", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        if debug:
            traceback.print_exc()
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Who read the output has enough. Nothing more can be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except Exception as error:  # noqa: BLE001  the last place where it can be told
        if debug:
            traceback.print_exc()
        else:
            click.echo(f"cellmesh: {describe(error)}", err=True)
        return EXIT_FAILED


def describe(error: Exception) -> str:
    """One line for people."""
    from cellmesh.cli.output import error_line
    from cellmesh.common.errors import CellError, FeatureNotSupported

    if isinstance(error, FeatureNotSupported) and error.message == UNKNOWN_METHOD:
        called = error.get("cell") or "the cell that was called"
        return f"{called} has no such method: it is another kind of cell than this command calls, or older"
    if isinstance(error, CellError):
        return error_line(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error} (a mistake of the program: `cellmesh --debug ...` shows where)"


if __name__ == "__main__":
    main()
