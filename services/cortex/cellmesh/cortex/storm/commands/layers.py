"""Commands about layers: layer.*, pushes and pulls among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from cellmesh.cortex.storm.commands.acting import doing, lib, say
from cellmesh.cortex.storm.objects.stacks import LayerObject
from cellmesh.cortex.storm.runtime.context import RunContext
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.members import get_member


def _layer_get(context: RunContext, arguments: Arguments) -> None:
    say(context, lib(context, "layer.get", arguments.iden))


def _layer_list(context: RunContext, arguments: Arguments) -> None:
    context.print("Layers:")
    for layer in lib(context, "layer.list"):
        say(context, layer)


def _layer_add(context: RunContext, arguments: Arguments) -> None:
    facts = {"name": arguments.name, "readonly": arguments.readonly}
    say(context, lib(context, "layer.add", facts))
    context.print("Layer added.")


def _layer_del(context: RunContext, arguments: Arguments) -> None:
    lib(context, "layer.del", arguments.iden)
    context.print(f"Layer deleted: {arguments.iden}")


def _layer_set(context: RunContext, arguments: Arguments) -> None:
    layer = lib(context, "layer.get", arguments.iden)
    context.call(get_member(context, layer, "set"), arguments.name, arguments.valu)
    say(context, layer)
    context.print("Layer updated.")


def _add_sync(kind: str) -> Callable[[RunContext, Arguments], None]:
    name, method = ("push", "addPush") if kind == "pushs" else ("pull", "addPull")

    def act(context: RunContext, arguments: Arguments) -> None:
        layer = lib(context, "layer.get", arguments.layr)
        url = arguments.dest if kind == "pushs" else arguments.src
        made = context.call(get_member(context, layer, method), url, arguments.offset)
        context.print(f"Layer {name} added: {made['iden']}")

    return act


def _del_sync(name: str, method: str) -> Callable[[RunContext, Arguments], None]:
    def act(context: RunContext, arguments: Arguments) -> None:
        layer = lib(context, "layer.get", arguments.layr)
        context.call(get_member(context, layer, method), arguments.iden)
        context.print(f"Layer {name} deleted.")

    return act


def _list_syncs(kind: str) -> Callable[[RunContext, Arguments], None]:
    def act(context: RunContext, arguments: Arguments) -> None:
        layer: LayerObject = lib(context, "layer.get", arguments.layr)
        say(context, layer)
        known = layer.layer.facts.get(kind) or {}
        if not known:
            context.print("No pushes configured." if kind == "pushs" else "No pulls configured.")
            return
        syncing: Any = context.engine.capabilities.get("syncing")
        for iden, definition in known.items():
            state = "" if syncing is None else f" {syncing.state_of(iden)}"
            context.print(
                f"{'Push' if kind == 'pushs' else 'Pull'}: {iden} {shown_url(definition['url'])}{state}"
            )

    return act


def shown_url(url: str) -> str:
    """Return a URL without the password in it."""
    scheme, _, rest = url.partition("://")
    who, at, where = rest.rpartition("@")
    return f"{scheme}://{who.partition(':')[0]}:****@{where}" if at and ":" in who else url


_IDEN: Final = ArgumentSpec(("iden",), "The iden.")

_LAYER: Final = ArgumentSpec(("layr",), "The iden of the layer.")

_OFFSET: Final = ArgumentSpec(("--offset",), "The offset to begin at.", type="int", default=0)

_MAYBE_IDEN: Final = ArgumentSpec(("iden",), "The iden; that of the query when left out.", count="?")

_FACT: Final = (ArgumentSpec(("name",), "Which fact: name."), ArgumentSpec(("valu",), "What it shall be."))

COMMANDS: Final = (
    CommandSpec(
        "layer.add",
        "Make an empty layer.",
        doing(_layer_add),
        (
            ArgumentSpec(("--name",), "What to call it."),
            ArgumentSpec(("--readonly",), "Let it take no edits.", action="store_true"),
            ArgumentSpec(("--lockmemory",), "Without effect.", action="store_true"),
            ArgumentSpec(("--growsize",), "Without effect.", type="int"),
            ArgumentSpec(("--cache-size",), "Without effect.", type="int"),
            ArgumentSpec(("--mirror",), "Not here: Cortexes are mirrored whole.", type="str"),
            ArgumentSpec(("--upstream",), "Not here: see layer.pull.add."),
        ),
        changes_state=True,
    ),
    CommandSpec(
        "layer.del", "Remove a layer that no view has.", doing(_layer_del), (_IDEN,), changes_state=True
    ),
    CommandSpec("layer.get", "Print what is known of a layer.", doing(_layer_get), (_MAYBE_IDEN,)),
    CommandSpec("layer.list", "Print what is known of all layers.", doing(_layer_list)),
    CommandSpec(
        "layer.set", "Set a fact about a layer.", doing(_layer_set), (_IDEN, *_FACT), changes_state=True
    ),
    CommandSpec(
        "layer.pull.add",
        "Have a layer take the edits of a layer of another Cortex.",
        doing(_add_sync("pulls")),
        (
            _LAYER,
            ArgumentSpec(("src",), "The URL of the other Cortex, /layer/, the other layer's iden."),
            _OFFSET,
        ),
        changes_state=True,
    ),
    CommandSpec(
        "layer.pull.del",
        "Have a layer take no more edits of another.",
        doing(_del_sync("pull", "delPull")),
        (_LAYER, _IDEN),
        changes_state=True,
    ),
    CommandSpec(
        "layer.pull.list", "Print what a layer takes edits of.", doing(_list_syncs("pulls")), (_LAYER,)
    ),
    CommandSpec(
        "layer.push.add",
        "Have a layer send its edits to a layer of another Cortex.",
        doing(_add_sync("pushs")),
        (
            _LAYER,
            ArgumentSpec(("dest",), "The URL of the other Cortex, /layer/, the other layer's iden."),
            _OFFSET,
        ),
        changes_state=True,
    ),
    CommandSpec(
        "layer.push.del",
        "Have a layer send no more edits to another.",
        doing(_del_sync("push", "delPush")),
        (_LAYER, _IDEN),
        changes_state=True,
    ),
    CommandSpec(
        "layer.push.list", "Print what a layer sends edits to.", doing(_list_syncs("pushs")), (_LAYER,)
    ),
)
