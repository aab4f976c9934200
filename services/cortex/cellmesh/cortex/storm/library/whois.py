"""`$lib.inet.whois`: idens of records of who owns addresses. Guids by properties are the newer way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.common import hashing
from cellmesh.common.errors import StormRuntimeError
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import toprim, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

NAMING_PROPS: Final[dict[str, tuple[str, ...]]] = {
    "ipcontact": ("contact", "asof", "id"),
    "ipquery": ("time", "fqdn", "url", "ipv4", "ipv6"),
    "iprec": ("net4", "net6", "asof", "id"),
}
"""What names a record, in this order, by the last part of its form."""

PROP_COUNT_MIN: Final = 2


def _guid(context: RunContext, props: Any, form: Any) -> str:
    context.warn("$lib.inet.whois.guid() is deprecated: make the node by its properties")
    name, known = tostr(form), toprim(props)
    if name not in NAMING_PROPS:
        raise StormRuntimeError(f"there are no idens for records of {name}", form=name)
    if not isinstance(known, dict):
        raise StormRuntimeError("props is a dictionary", name="props")
    values = [known[prop] for prop in NAMING_PROPS[name] if known.get(prop)]
    if len(values) < PROP_COUNT_MIN:
        context.warn(
            f"too few of the properties that name the record are given: {values}; its iden is random"
        )
        return hashing.guid()
    return hashing.guid(values)


LIBRARIES: Final = (
    LibrarySpec(
        ("inet", "whois"),
        "Records of who owns addresses.",
        (
            FunctionSpec(
                "guid",
                "The iden of a record by what names it. Deprecated: make the node by its properties.",
                _guid,
                (
                    ParameterSpec("props", type="dict", doc="The record's properties."),
                    ParameterSpec("form", type="str", doc="iprec, ipquery or ipcontact."),
                ),
                "str",
            ),
        ),
    ),
)
