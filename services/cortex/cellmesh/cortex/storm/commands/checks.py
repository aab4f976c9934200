"""Commands that count and check: index.count.prop, model.deprecated.check; and colorize."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg
from cellmesh.cortex.storm.commands.acting import doing, lib
from cellmesh.cortex.storm.objects.stacks import LayerObject, ViewObject
from cellmesh.cortex.storm.runtime.interface import UNDEF, Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.members import get_member
from cellmesh.cortex.storm.runtime.path import Path

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

_COLOR: Final = re.compile(r"#[0-9a-fA-F]{6}")
_COLORS: Final = (
    "aliceblue antiquewhite aqua aquamarine azure beige bisque black blanchedalmond blue blueviolet brown burlywood"
    " cadetblue chartreuse chocolate coral cornflowerblue cornsilk crimson cyan darkblue darkcyan darkgoldenrod darkgray"
    " darkgreen darkgrey darkkhaki darkmagenta darkolivegreen darkorange darkorchid darkred darksalmon darkseagreen"
    " darkslateblue darkslategray darkslategrey darkturquoise darkviolet deeppink deepskyblue dimgray dimgrey dodgerblue"
    " firebrick floralwhite forestgreen fuchsia gainsboro ghostwhite gold goldenrod gray green greenyellow grey honeydew"
    " hotpink indianred indigo ivory khaki lavender lavenderblush lawngreen lemonchiffon lightblue lightcoral lightcyan"
    " lightgoldenrodyellow lightgray lightgreen lightgrey lightpink lightsalmon lightseagreen lightskyblue lightslategray"
    " lightslategrey lightsteelblue lightyellow lime limegreen linen magenta maroon mediumaquamarine mediumblue"
    " mediumorchid mediumpurple mediumseagreen mediumslateblue mediumspringgreen mediumturquoise mediumvioletred"
    " midnightblue mintcream mistyrose moccasin navajowhite navy oldlace olive olivedrab orange orangered orchid"
    " palegoldenrod palegreen paleturquoise palevioletred papayawhip peachpuff peru pink plum powderblue purple"
    " rebeccapurple red rosybrown royalblue saddlebrown salmon sandybrown seagreen seashell sienna silver skyblue"
    " slateblue slategray slategrey snow springgreen steelblue tan teal thistle tomato turquoise violet wheat white"
    " whitesmoke yellow yellowgreen"
)
COLOR_NAMES: Final = frozenset(_COLORS.split())
"""The names of colors in CSS."""


def _count_prop(context: RunContext, arguments: Arguments) -> None:
    view = ViewObject(context.view)
    context.print(
        " Count        | Layer Iden                       | Layer Name \n"
        "==============|==================================|============"
    )
    total = 0
    for layer in view.layers:
        count = _count(context, layer, arguments.prop, arguments.value)
        total += count
        context.print(f" {count:<12} | {layer.layer.id!s:<32} | {layer.layer.name} ")
    context.print(f"Total: {total}")


def _count(context: RunContext, layer: LayerObject, prop: str, value: Any) -> int:
    found: int = context.call(get_member(context, layer, "getPropCount"), prop, valu=value)
    return found


def _deprecated(context: RunContext, arguments: Arguments) -> None:
    locks: dict[str, bool] = lib(context, "model.deprecated.locks")
    context.print("Checking deprecated model locks:")
    is_ready = True
    for name, is_locked in sorted(locks.items()):
        if is_locked:
            context.print(f"{name} is locked")
        else:
            is_ready = False
            context.warn(f"{name} is not yet locked")
    context.print("Checking for existence of deprecated model elements:")
    for name in sorted(locks):
        if context.model.prop(name) is None:
            continue
        for layer in context.session.graph.layers.values():
            context.tick()
            if _count(context, LayerObject(layer), name, UNDEF):
                is_ready = False
                context.warn(f"Layer {layer.id} still contains {name}")
    if is_ready:
        context.print("Congrats! No deprecated model element is in use, and all are locked.")
    else:
        context.print("Your cortex contains deprecated model elements.")


def _colorize(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    for path in rows:
        color = arguments.color.lower()
        if color not in COLOR_NAMES and not _COLOR.fullmatch(color):
            raise BadArg("a color is #rrggbb or the name of one in CSS", name="color", valu=arguments.color)
        path.meta = {**(path.meta or {}), "color": color}
        yield path


COMMANDS: Final = (
    CommandSpec(
        "colorize",
        """Say in which color the nodes are to be shown: $path.meta.color has it.

            inet:ipv4#bad | colorize red
        """,
        _colorize,
        (ArgumentSpec(("color",), "A color as #rrggbb, or the name of one in CSS."),),
    ),
    CommandSpec(
        "index.count.prop",
        """Print how many nodes of each layer of the view have a property, or one value of it.

            index.count.prop inet:fqdn:zone --value vertex.link
        """,
        doing(_count_prop),
        (
            ArgumentSpec(("prop",), "The full name of the property, or the form."),
            ArgumentSpec(("--value",), "Count only this value.", type="any", default=UNDEF),
        ),
    ),
    CommandSpec(
        "model.deprecated.check",
        "Check which deprecated names are not locked yet, and which are in use.",
        doing(_deprecated),
    ),
)
