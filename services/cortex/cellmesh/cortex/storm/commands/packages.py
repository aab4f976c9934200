"""Commands about packages: pkg.*."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.cortex.storm.commands.acting import doing, lib
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.values import torepr
from cellmesh.cortex.storm.text_tools import parsed_json

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

NAME_SIZE: Final = 41
VERSION_SIZE: Final = 11
TIME_SIZE: Final = 21
HTTP_OK: Final = 200


def _packages(context: RunContext) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sorted(lib(context, "pkg.list"), key=lambda known: str(known["name"]))
    return found


def _named(context: RunContext, prefix: str) -> list[dict[str, Any]]:
    """Return the packages whose names begin so; the one of just this name if there is one."""
    found = [known for known in _packages(context) if str(known["name"]).startswith(prefix)]
    return [known for known in found if known["name"] == prefix] or found


def _version(known: dict[str, Any]) -> str:
    version = known.get("version")
    return ".".join(map(str, version)) if isinstance(version, (list, tuple)) else str(version)


def _list(context: RunContext, arguments: Arguments) -> None:
    packages = _packages(context)
    if not packages:
        context.print("No storm packages installed.")
        return
    context.print("Loaded storm packages:")
    more = f" {'time':<{TIME_SIZE}}" if arguments.verbose else ""
    head = f" {'name':<{NAME_SIZE}} {'vers':<{VERSION_SIZE}}{more}"
    context.print(head)
    context.print("#" * len(head))
    for known in packages:
        made = (known.get("build") or {}).get("time") or "not available"
        more = f" {made!s:<{TIME_SIZE}}" if arguments.verbose else ""
        context.print(f" {known['name']:<{NAME_SIZE}} {_version(known):<{VERSION_SIZE}}{more}")


def _del(context: RunContext, arguments: Arguments) -> None:
    found = _named(context, arguments.name)
    if not found:
        context.print(f'No package names match "{arguments.name}". Aborting.')
    elif len(found) > 1:
        context.print(f'Multiple package names match "{arguments.name}". Aborting.')
    else:
        name = found[0]["name"]
        context.print(f"Removing package: {name}")
        lib(context, "pkg.del", name)


def _one(context: RunContext, prefix: str) -> dict[str, Any] | None:
    found = _named(context, prefix)
    if len(found) == 1:
        return found[0]
    context.warn(f"Package ({prefix}) not found!" if not found else f"Several packages begin with {prefix}.")
    return None


def _load(context: RunContext, arguments: Arguments) -> None:
    url = arguments.url
    answer = lib(context, "inet.http.get", url, ssl_verify=not arguments.ssl_noverify).answer
    if answer.code != HTTP_OK:
        context.warn(f"pkg.load got HTTP code: {answer.code} for URL: {url}")
        return
    definition = parsed_json(answer.body.decode(errors="replace"))
    if not arguments.raw:
        told = definition if isinstance(definition, dict) else {}
        if told.get("status") != "ok":
            context.warn(f"pkg.load got JSON error: {torepr(told.get('code'))} for URL: {url}")
            return
        definition = told.get("result")
    lib(context, "pkg.add", definition, verify=arguments.verify)
    context.print(f"Loaded Package: {definition['name']} @{_version(definition)}")


def _docs(context: RunContext, arguments: Arguments) -> None:
    known = _one(context, arguments.name)
    if known is None:
        return
    docs = known.get("docs") or ()
    if not docs:
        context.print(f"Package ({known['name']}) contains no documentation.")
    for doc in docs:
        context.print(str(doc.get("content", "")))


def _permissions(context: RunContext, arguments: Arguments) -> None:
    known = _one(context, arguments.name)
    if known is None:
        return
    permissions = known.get("perms") or ()
    if not permissions:
        context.print(f"Package ({known['name']}) contains no permissions definitions.")
        return
    context.print(f"Package ({known['name']}) defines the following permissions:")
    for permission in permissions:
        default = "true" if permission.get("default") else "false"
        name = ".".join(permission["perm"])
        context.print(f"{name:<32} : {permission.get('desc', '')} ( default: {default} )")


_NAME: Final = ArgumentSpec(("name",), "The name of the package, or what it begins with.")

COMMANDS: Final = (
    CommandSpec("pkg.del", "Remove a package.", doing(_del), (_NAME,), changes_state=True),
    CommandSpec("pkg.docs", "Print the documentation that a package has with it.", doing(_docs), (_NAME,)),
    CommandSpec(
        "pkg.list",
        "Print the packages there are.",
        doing(_list),
        (ArgumentSpec(("--verbose",), "Print when each was built.", action="store_true"),),
    ),
    CommandSpec(
        "pkg.load",
        """Add a package that a web server gives as JSON.

            pkg.load https://packages.example.com/whois.json --raw
        """,
        doing(_load),
        (
            ArgumentSpec(("url",), "Where the package is."),
            ArgumentSpec(
                ("--raw",),
                "The package is all of the answer, and not its result beside a status.",
                action="store_true",
            ),
            ArgumentSpec(("--verify",), "Refused: packages are not signed here.", action="store_true"),
            ArgumentSpec(
                ("--ssl-noverify",), "Do not check the certificate of the server.", action="store_true"
            ),
        ),
        changes_state=True,
    ),
    CommandSpec(
        "pkg.perms.list", "Print the permissions that a package declares.", doing(_permissions), (_NAME,)
    ),
)
