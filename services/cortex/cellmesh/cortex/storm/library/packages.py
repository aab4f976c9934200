"""`$lib.pkg` and what `$lib.import` gives: Storm packages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import (
    AuthDeny,
    BadArg,
    BadPkgDef,
    BadVersion,
    CellError,
    NoSuchName,
    SchemaViolation,
    StormPkgConflicts,
)
from cellmesh.cortex.storm.library.caching import LANGUAGE_VERSION, version_matches, version_numbers
from cellmesh.cortex.storm.library.graph import user_iden
from cellmesh.cortex.storm.library.package_rules import PACKAGE, check_shape, check_types
from cellmesh.cortex.storm.objects.packages import ModuleObject, PackageQueues, PackageVars, package_owner
from cellmesh.cortex.storm.packages import command_of, parsed
from cellmesh.cortex.storm.runtime.context import RunContext
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.signals import StormReturn
from cellmesh.cortex.storm.runtime.values import tobool, toprim, tostr

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cellmesh.cortex.model.registry import Model

_FACTS: Final = "facts"
"""The kind of values that tell of a package itself, beside its variables."""

_STORED_VERSION: Final = "storage:version"
"""The variable of a package that tells which of its steps were run."""

_VERSION: Final = re.compile(r"\d+\.\d+\.\d+[A-Za-z0-9.+-]*")


def checked_package(value: Any, model: Model) -> dict[str, Any]:
    """Return the definition of a package, with what it leaves out.

    Raises:
        SchemaViolation: it is none.
        NoSuchType: a setting of it is of a type that the model has not.
        BadSyntax: a module or command of it does not parse.
        BadVersion: it is for another version of the language.
    """
    found = deepcopy(toprim(value))
    if not isinstance(found, dict):
        raise SchemaViolation("a package is a dictionary", name="pkgdef")
    version = found.get("version")
    if isinstance(version, (list, tuple)):
        version = found["version"] = ".".join(tostr(part) for part in version)
    check_shape(found, PACKAGE, "package")
    if not isinstance(version, str) or _VERSION.fullmatch(version) is None:
        raise SchemaViolation(f"the version of a package cannot be {version!r}", name="version")
    check_types(found, model.has_type)
    name = found["name"]
    for module in found.get("modules") or ():
        parsed(module["storm"])
        settings = module.setdefault("modconf", {})
        settings["pkgmeta"] = {"modname": module["name"], "pkgname": name}
    for command in found.get("commands") or ():
        command["pkgname"] = name
        command.setdefault("cmdconf", {})
        command_of(command)
    for step in found.get("inits", {}).get("versions", ()):
        parsed(step["query"])
    if "onload" in found:
        parsed(found["onload"])
    wanted = found.get("synapse_version")
    oldest = found.get("synapse_minversion")
    if (wanted is not None and not version_matches(LANGUAGE_VERSION, tostr(wanted))) or (
        oldest is not None and version_numbers(oldest) > LANGUAGE_VERSION
    ):
        raise BadVersion(
            f"the package {name} is for another version of Storm", name=name, reqver=wanted or oldest
        )
    return found


def dependencies(
    known: Mapping[str, dict[str, Any]], definition: dict[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """Return what a package requires and conflicts with, and whether that is as it should be."""
    depends = definition.get("depends") or {}

    def told(item: dict[str, Any], *, is_wanted: bool) -> dict[str, Any]:
        other = known.get(item["name"])
        actual = None if other is None else other["version"]
        version = item.get("version")
        is_there = other is not None and (
            version is None or version_matches(version_numbers(_numbers(other["version"])), version)
        )
        return {
            "name": item["name"],
            "version": version,
            "desc": item.get("desc"),
            "ok": is_there == is_wanted,
            "actual": actual,
            **({"optional": item["optional"]} if "optional" in item else {}),
        }

    return {
        "requires": [told(item, is_wanted=True) for item in depends.get("requires", ())],
        "conflicts": [told(item, is_wanted=False) for item in depends.get("conflicts", ())],
    }


def _numbers(version: str) -> str:
    return ".".join(re.findall(r"\d+", version)[:3])


def _known(context: RunContext) -> dict[str, dict[str, Any]]:
    return dict(context.capability("packages").all(context.session))


def _add(context: RunContext, definition: Any, verify: Any) -> None:
    if tobool(verify):
        raise BadPkgDef("packages are not signed here, so none can be verified", name="verify")
    add_package(context, definition)


def add_package(context: RunContext, definition: Any, *, is_kept_if_same: bool = False) -> None:
    """Add a package and run what it wants run, without asking for the right to.

    Args:
        context: The query that does so.
        definition: The package.
        is_kept_if_same: Whether nothing is done when this very package is there.

    Raises:
        StormPkgConflicts: it cannot be beside a package that is there; also what `checked_package` raises.
    """
    found = checked_package(definition, context.model)
    name = found["name"]
    if is_kept_if_same and context.capability("packages").get(context.session, name) == found:
        return
    told = dependencies(_known(context), found)
    for item in told["conflicts"]:
        if not item["ok"]:
            raise StormPkgConflicts(f"the package {name} conflicts with {item['name']}", name=name)
    for item in told["requires"]:
        if not item["ok"] and item["actual"] is not None:
            context.warn(f"the package {name} is meant for another version of {item['name']}", name=name)
    store = context.capability("user.values")
    is_new = context.capability("packages").get(context.session, name) is None
    store.put(context.session, package_owner(name), _FACTS, "user", context.user)
    context.capability("packages").add(context.session, name, found)
    load_package(context, found, is_new=is_new)


def user_of_package(store: Any, access: Any, name: str) -> str | None:
    """Return the name of who added a package; None where that is not known."""
    found: str | None = store.get(access, package_owner(name), _FACTS, "user")
    return found


def load_package(context: RunContext, definition: dict[str, Any], *, is_new: bool = False) -> None:
    """Run what a package wants run when it comes: what is new in its versions once, and `onload`.

    Args:
        context: The query that does so.
        definition: The package.
        is_new: Whether it was not there before: then only the steps that are `inaugural` run, for there is nothing that
            the others could bring up to date.
    """
    inits = definition.get("inits") or {}
    store, owner = context.capability("user.values"), package_owner(definition["name"])
    done = store.get(context.session, owner, "vars", _STORED_VERSION, None)
    is_first, done = is_new and done is None, -1 if done is None else done
    try:
        for step in sorted(inits.get("versions", ()), key=lambda one: int(one["version"])):
            if step["version"] > done:
                if is_first and not step.get("inaugural"):
                    continue
                for _ in context.run_query(tostr(step["query"])):
                    context.tick()
                done = step["version"]
                store.put(context.session, owner, "vars", _STORED_VERSION, done)
        newest = max((int(step["version"]) for step in inits.get("versions", ())), default=-1)
        if newest > done:
            store.put(context.session, owner, "vars", _STORED_VERSION, newest)
        if "onload" in definition:
            for _ in context.run_query(tostr(definition["onload"])):
                context.tick()
    except CellError as error:
        # The package is there all the same.
        context.warn(f"the package {definition['name']} failed to load: {error}", name=definition["name"])


def _del(context: RunContext, name: Any) -> None:
    if not isinstance(name, str):
        raise BadArg("the name of a package is text", name="name")
    context.capability("packages").remove(context.session, tostr(name))


def _get(context: RunContext, name: Any) -> Any:
    return context.capability("packages").get(context.session, tostr(name))


def _has(context: RunContext, name: Any) -> bool:
    return _get(context, name) is not None


def _list(context: RunContext) -> Any:
    return list(_known(context).values())


def _deps(context: RunContext, definition: Any) -> Any:
    found = toprim(definition)
    if not isinstance(found, dict):
        raise SchemaViolation("a package is a dictionary", name="pkgdef")
    return dependencies(_known(context), found)


def _vars(context: RunContext, name: Any) -> PackageVars:
    return PackageVars(context.capability("user.values"), tostr(name))


def _queues(context: RunContext, name: Any) -> PackageQueues:
    return PackageQueues(tostr(name), user_iden(context))


def import_module(context: RunContext, name: Any, debug: Any, required: Any) -> Any:
    """Run a module of a package and give what it defines, or what it returns.

    Raises:
        AuthDeny: it may be imported only with a permission (`asroot:perms`) that the user has not.
        NoSuchName: no package has one of that name and version.
    """
    wanted = tostr(name)
    table = context.engine.capabilities.get("packages.table")
    found = getattr(table, "modules", {}).get(wanted)
    if found is None or (
        required is not None
        and required != ""
        and not version_matches(version_numbers(_numbers(found[0])), tostr(required))
    ):
        raise NoSuchName(f"no package has a module named {wanted}", name=wanted)
    _, settings, query, wanted_rights = found
    rights = context.run.rights
    if wanted_rights and rights is not None and not any(rights.allowed(path) for path in wanted_rights):
        words = " or ".join(".".join(path) for path in wanted_rights)
        raise AuthDeny(
            f"the module {wanted} needs the permission {words}",
            perm=words,
            user=rights.user_id,
            username=rights.user,
        )
    own: dict[str, Any] = {"modconf": deepcopy(settings)}
    compiled = context.engine.compile_query(query, own)
    scope = RunContext(context.run, own)
    budget = context.run.budget
    budget.enter()
    try:
        for _ in compiled.rows(scope, _NOTHING):
            context.tick()
    except StormReturn as returned:  # it gives something else than what it defines
        return returned.value
    finally:
        budget.leave()
    return ModuleObject(wanted, scope)


_NOTHING: Final[Iterator[Any]] = iter(())
_PACKAGE: Final = ParameterSpec("name", type="str", doc="The name of the package.")
_DEFINITION: Final = ParameterSpec("pkgdef", type="dict", doc="The definition of the package.")

LIBRARIES: Final = (
    LibrarySpec(
        ("pkg",),
        "Storm packages: modules and commands that come together.",
        (
            FunctionSpec(
                "add",
                "Add a package, or another version of it, and run what it wants run then.",
                _add,
                (
                    _DEFINITION,
                    ParameterSpec(
                        "verify", False, "bool", "Refused when true: packages are not signed here."
                    ),
                ),
                changes_state=True,
            ),
            FunctionSpec("del", "Remove a package.", _del, (_PACKAGE,), changes_state=True),
            FunctionSpec(
                "deps",
                "What a package requires and conflicts with, and whether that holds.",
                _deps,
                (_DEFINITION,),
                "dict",
            ),
            FunctionSpec(
                "get", "The definition of a package; null if there is none.", _get, (_PACKAGE,), "dict"
            ),
            FunctionSpec("has", "Whether there is such a package.", _has, (_PACKAGE,), "bool"),
            FunctionSpec("list", "The definitions of all packages.", _list, (), "list"),
            # What is taken from them may change them.
            FunctionSpec(
                "queues", "The queues of a package.", _queues, (_PACKAGE,), "pkg:queues", may_change=True
            ),
            FunctionSpec(
                "vars", "The variables of a package.", _vars, (_PACKAGE,), "pkg:vars", may_change=True
            ),
        ),
    ),
)
