"""Write `docs/reference/storm/` from the declarations of commands, `$lib` and types, and from their examples.

python tools/make_storm_docs.py           write it
python tools/make_storm_docs.py --check   say whether it is fresh, by exit status

What examples give, and which rights they ask for, is in `docs/reference/storm/examples/results.json`; see
tools/storm_examples.py, which runs them.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "reference" / "storm"
FOLDERS = ("commands", "library", "types")

sys.path.insert(0, str(ROOT))

from cellmesh.cortex.automation import registry as automation
from cellmesh.cortex.storm.commands import COMMANDS as OTHER_COMMANDS
from cellmesh.cortex.storm.library import LIBRARIES as OTHER_LIBRARIES
from cellmesh.cortex.storm.primitives import TYPES as OTHER_TYPES
from cellmesh.cortex.storm.runtime.interface import (
    REQUIRED,
    UNDEF,
    ArgumentSpec,
    AttributeSpec,
    CommandSpec,
    FunctionSpec,
    LibrarySpec,
    ParameterSpec,
    TypeSpec,
)
from cellmesh.cortex.storm.runtime.values import torepr

from tools.made_pages import write_or_check
from tools.storm_example_files import GRAPH, Example, examples, results

COMMANDS = (*OTHER_COMMANDS, *automation.COMMANDS)
LIBRARIES = (*OTHER_LIBRARIES, *automation.LIBRARIES)
TYPES = tuple(kind for kind in (*OTHER_TYPES, *automation.TYPES) if kind.python_type is not tuple)

NOTE = "<!-- Written by tools/make_storm_docs.py from the declarations and the examples. Do not edit. -->\n"
GENERAL = "general"
GROUP_SIZE_MIN = 3
"""Commands with a common first word, such as `auth.`, which get a page of their own."""


class Examples:
    """Examples of commands, of the library or of types by the names they show; each is told once on a page.

    Args:
        kind: "commands", "library" or "types".
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._by_name: dict[str, Example] = {}
        for one in examples():
            if one.kind == kind:
                for name in one.names:
                    self._by_name.setdefault(name, one)
        kept = results()
        self._given: dict[str, list[str]] = kept["given"]
        self._rights: dict[str, list[str]] = kept["rights"]

    def rights(self, name: str) -> Iterator[str]:
        """The line about the rights that a name asks for."""
        found = self._rights.get(f"{self._kind} {name}")
        if found:
            asked = (one if one.startswith("(") else f"`{one}`" for one in found)
            yield f"Rights that its example asks for: {', '.join(asked)}.\n"

    def lines(self, name: str) -> Iterator[str]:
        """The example of a name, and what it gives."""
        example = self._by_name.get(name)
        if example is None:
            return
        first = example.names[0]
        if name != first and first.rpartition(".")[0] == name.rpartition(".")[0]:
            yield f"Example: see [{first}](#{anchor(first)}).\n"
            return
        yield f"```storm\n{example.query}\n```\n"
        if example.key in self._given:
            yield "```\n" + "\n".join(self._given[example.key]) + "\n```\n"


def anchor(heading: str) -> str:
    """What a heading is linked by."""
    return re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-"))


def value_text(value: Any) -> str:
    """A default value as the language writes it."""
    if value is UNDEF:
        return "$lib.undef"
    if isinstance(value, (str, int, float, Decimal, list, tuple, dict, bool)) or value is None:
        return '""' if value == "" else torepr(value)
    return "left out"


def signature(function: FunctionSpec) -> str:
    """The arguments of a function, in brackets."""
    parts = [
        one.name if one.default is REQUIRED else f"{one.name}={value_text(one.default)}"
        for one in function.parameters
    ]
    parts += [f"*{function.rest}"] if function.rest else []
    parts += [f"**{function.keywords}"] if function.keywords else []
    return f"({', '.join(parts)})"


def parameter_line(parameter: ParameterSpec) -> str:
    """A parameter of a list."""
    default = "" if parameter.default is REQUIRED else f", {value_text(parameter.default)} if left out"
    return f"- `{parameter.name}` ({parameter.type}{default}): {parameter.doc}"


def function_lines(name: str, function: FunctionSpec, shown: Examples) -> Iterator[str]:
    """The section of a function or method."""
    yield f"### {name}\n"
    yield f"`{name}{signature(function)}`\n"
    yield f"{function.doc}\n"
    if function.parameters:
        yield "\n".join(parameter_line(one) for one in function.parameters) + "\n"
    if function.is_generator:
        yield f"Gives {function.returns}, one after another.\n"
    elif function.returns != "null":
        yield f"Returns: {function.returns}.\n"
    if function.changes_state:
        yield "It changes something: read-only queries cannot use it.\n"
    yield from shown.rights(name)
    yield from shown.lines(name)


def attribute_lines(name: str, attribute: AttributeSpec, shown: Examples) -> Iterator[str]:
    """The section of an attribute."""
    yield f"### {name}\n"
    kind = f"{attribute.returns}, can be set" if attribute.set is not None else attribute.returns
    yield f"{attribute.doc} ({kind})\n"
    yield from shown.rights(name)
    yield from shown.lines(name)


def argument_line(argument: ArgumentSpec) -> str:
    """An argument of a command in a list."""
    flags = ", ".join(f"`{flag}`" for flag in argument.flags)
    facts = [] if argument.action.startswith("store_") else [argument.type]
    facts += {"*": ["any number"], "+": ["one or more"], "?": ["may be left out"]}.get(
        str(argument.count), []
    )
    facts += [f"{argument.count} values"] if isinstance(argument.count, int) else []
    facts += ["can be given again"] if argument.action == "append" else []
    facts += ["required"] if argument.is_option and argument.is_required else []
    if (
        argument.is_option
        and isinstance(argument.default, (int, str))
        and not isinstance(argument.default, bool)
    ):
        facts.append(f"{value_text(argument.default)} if left out")
    facts += [f"one of {', '.join(str(one) for one in argument.choices)}"] if argument.choices else []
    told = f" ({', '.join(facts)})" if facts else ""
    return f"- {flags}{told}: {argument.help}"


def command_lines(command: CommandSpec, shown: Examples) -> Iterator[str]:
    """The section of a command."""
    yield f"### {command.name}\n"
    first, _, rest = command.doc.strip().partition("\n")
    yield f"{first}\n"
    for part in re.split(r"\n\s*\n", rest.strip("\n")):
        if not part.strip():
            continue
        lines = [line.strip() for line in part.strip("\n").split("\n")]
        is_code = part.startswith(" " * 12) or any(line.startswith(command.name) for line in lines)
        yield ("```storm\n" + "\n".join(lines) + "\n```\n") if is_code else "\n".join(lines) + "\n"
    if command.arguments:
        yield "\n".join(argument_line(one) for one in command.arguments) + "\n"
    if command.changes_state:
        yield "It changes something: read-only queries cannot use it.\n"
    yield from shown.rights(command.name)
    yield from shown.lines(command.name)


def _name(one: FunctionSpec | AttributeSpec) -> str:
    return one.name


def library_lines(library: LibrarySpec, shown: Examples) -> Iterator[str]:
    """The sections of what one declaration adds to a namespace."""
    path = ".".join(("$lib", *library.path))
    yield f"## {path}\n"
    yield f"{library.doc}\n"
    for function in sorted(library.functions, key=_name):
        yield from function_lines(f"{path}.{function.name}", function, shown)
    for attribute in sorted(library.attributes, key=_name):
        yield from attribute_lines(f"{path}.{attribute.name}", attribute, shown)
    for name, value in constants(library):
        yield f"### {path}.{name}\n"
        yield f"Always `{value_text(value)}`.\n"
        yield from shown.lines(f"{path}.{name}")


def constants(library: LibrarySpec) -> Iterator[tuple[str, Any]]:
    """The constants of a namespace, those of dictionaries one by one."""
    for name, value in sorted(library.constants.items()):
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", value[inner]) for inner in sorted(value))
        else:
            yield name, value


def type_lines(kind: TypeSpec, shown: Examples) -> Iterator[str]:
    """The sections of a type."""
    yield f"## {kind.name}\n"
    yield f"{kind.doc}\n"
    if kind.iterate is not None:
        yield "A `for` can go through it.\n"
    if kind.set_item is not None:
        yield "Members that are not declared can be set.\n"
    for method in sorted(kind.methods, key=lambda one: one.name):
        yield from function_lines(f"{kind.name}.{method.name}", method, shown)
    for attribute in sorted(kind.attributes, key=lambda one: one.name):
        yield from attribute_lines(f"{kind.name}.{attribute.name}", attribute, shown)


def command_groups() -> dict[str, list[CommandSpec]]:
    """Commands by page."""
    by_word: dict[str, list[CommandSpec]] = defaultdict(list)
    for command in sorted(COMMANDS, key=lambda one: one.name):
        by_word[command.name.partition(".")[0]].append(command)
    found: dict[str, list[CommandSpec]] = {GENERAL: []}
    for word, some in by_word.items():
        found.setdefault(word if len(some) >= GROUP_SIZE_MIN else GENERAL, []).extend(some)
    return found


def names() -> Iterator[tuple[str, str]]:
    """Every name that the reference tells of, behind its kind."""
    yield from (("commands", command.name) for command in COMMANDS)
    for library in LIBRARIES:
        path = ".".join(("$lib", *library.path))
        yield from (("library", f"{path}.{one.name}") for one in library.functions)
        yield from (("library", f"{path}.{one.name}") for one in library.attributes)
        yield from (("library", f"{path}.{name}") for name, _ in constants(library))
    for kind in TYPES:
        yield from (("types", f"{kind.name}.{one.name}") for one in kind.methods)
        yield from (("types", f"{kind.name}.{one.name}") for one in kind.attributes)


def pages() -> dict[str, str]:
    """All pages, by their paths below `OUT`."""
    shown = Examples("commands")
    found: dict[str, str] = {}
    for word, some in command_groups().items():
        title = "Commands" if word == GENERAL else f"Commands: {word}"
        lines = [line for command in some for line in command_lines(command, shown)]
        found[f"commands/{word}.md"] = page(title, lines)
    shown = Examples("library")
    by_word: dict[str, list[LibrarySpec]] = defaultdict(list)
    for library in sorted(LIBRARIES, key=lambda one: one.path):
        by_word[library.path[0] if library.path else "lib"].append(library)
    for word, libraries in by_word.items():
        title = "$lib" if word == "lib" else f"$lib.{word}"
        lines = [line for library in libraries for line in library_lines(library, shown)]
        found[f"library/{word}.md"] = page(title, lines)
    shown = Examples("types")
    by_type: dict[str, list[TypeSpec]] = defaultdict(list)
    for kind in TYPES:
        by_type[kind.name.partition(":")[0]].append(kind)
    for word, kinds in by_type.items():
        found[f"types/{word}.md"] = page(
            f"Types: {word}", [line for one in kinds for line in type_lines(one, shown)]
        )
    found["README.md"] = index(found)
    return found


def page(title: str, lines: list[str]) -> str:
    """A page."""
    return "\n".join([NOTE, f"# {title}\n", *lines]).rstrip() + "\n"


def index(found: dict[str, str]) -> str:
    """The page that leads to the others."""
    lines = [
        "Every command, function, method and attribute of Storm, made from their declarations. In a query, `help`,",
        "`help $lib.str` and `NAME --help` tell the same.\n",
        "Each has an example that a test runs (`tools/storm_examples.py`), in a fork of a view with this in it:\n",
        f"```storm\n{GRAPH.strip()}\n```\n",
        "`$web`, `$socket_url`, `$imap_port`, `$smtp_port`, `$service_url` and `$cell_url` are addresses of servers. What an",
        "example gives is shown where it is always the same: nodes as `form=value`, what is printed, and what is returned as",
        "JSON. Rights are those that were asked of the user when the example ran, beside reading the view; see",
        "[users.md](../../users.md).\n",
    ]
    for folder, title in zip(FOLDERS, ("Commands", "Library", "Types")):
        own = sorted(path for path in found if path.startswith(folder))
        links = ", ".join(f"[{Path(path).stem}]({path})" for path in own)
        lines += [f"## {title}\n", f"{links}\n"]
    return page("Storm reference", lines)


def main() -> int:
    """Write or check the pages; 1 if the check finds one stale."""
    return write_or_check(OUT, pages(), [f"{folder}/*.md" for folder in FOLDERS])


if __name__ == "__main__":
    raise SystemExit(main())
