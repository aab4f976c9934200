"""Extensions of the model that name forms or tag properties which are called otherwise now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def with_current_names(
    dump: Mapping[str, Any], forms: Mapping[str, str], tag_props: Mapping[str, str]
) -> dict[str, Any]:
    """Return what users added to the model, as `Extensions.dump` gives it, with the names of today.

    Args:
        dump: What is stored; it may be from before the names changed.
        forms, tag_props: The names from before, each with that of today.
    """
    found = dict(dump)
    if not forms and not tag_props:
        return found

    def named(value: Any) -> Any:
        if isinstance(value, str):
            return forms.get(value, value)
        if isinstance(value, dict):
            return {key: named(item) for key, item in value.items()}
        return [named(item) for item in value] if isinstance(value, list | tuple) else value

    for key in ("types", "forms"):
        found[key] = [[row[0], named(row[1]), named(row[2]), *row[3:]] for row in dump.get(key, ())]
    found["props"] = [[named(row[0]), row[1], named(row[2]), *row[3:]] for row in dump.get("props", ())]
    found["univs"] = [[row[0], named(row[1]), *row[2:]] for row in dump.get("univs", ())]
    known = {row[0] for row in dump.get("tagprops", ())}
    found["tagprops"] = [
        [tag_props.get(row[0], row[0]), named(row[1]), *row[2:]]
        for row in dump.get("tagprops", ())
        # Where both are there the newer one stays.
        if tag_props.get(row[0]) not in known
    ]
    found["edges"] = [
        [[named(source), verb, named(target)], info] for (source, verb, target), info in dump.get("edges", ())
    ]
    return found
