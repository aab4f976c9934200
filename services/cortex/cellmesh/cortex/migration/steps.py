"""The numbered steps by which stored data follow the shipped model.

A version of the program that renames a form, a property or a tag property of the model, or gives a property another type,
adds a step at the end of `STEPS`; a step is never changed or removed once it was in a release. A new Cortex begins behind the
last one.

Steps say what properties were like before, as index entries made by the old type are found by it alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from cellmesh.cortex.model.definitions import TypeRef


@dataclass(frozen=True, slots=True)
class RenameProp:
    """A property of a form has another name. Where a node has both, the new one's value stays.

    Attributes:
        form: The form.
        old_name, new_name: The property before and after, relative to the form.
        old_type: Its type before.
    """

    form: str
    old_name: str
    new_name: str
    old_type: TypeRef


@dataclass(frozen=True, slots=True)
class RetypeProp:
    """A property of a form has another type.

    Attributes:
        form, name: The property.
        old_type: Its type before.
        convert: Makes of a value stored before something that the new type normalises; None: nothing, the property
            goes. It depends on the value alone, and gives the same for what it has made.
    """

    form: str
    name: str
    old_type: TypeRef
    convert: Callable[[Any], object | None]


@dataclass(frozen=True, slots=True)
class RenameForm:
    """A form has another name; its properties keep theirs. Where a layer has a node of both, what it says of the new one stays.

    The name from before is never used for another form.

    Attributes:
        old_name, new_name: The form before and after.
    """

    old_name: str
    new_name: str


@dataclass(frozen=True, slots=True)
class RenameTagProp:
    """A property of tags has another name, where users have made one. Where a tag of a node has both, the new one's value stays.

    Attributes:
        old_name, new_name: The property before and after.
        old_type: Its type before.
    """

    old_name: str
    new_name: str
    old_type: TypeRef


Change: TypeAlias = RenameProp | RetypeProp | RenameForm | RenameTagProp


@dataclass(frozen=True, slots=True)
class ModelStep:
    """One step.

    Attributes:
        number: Its number; the first is 1, and there are no gaps.
        doc: What changes, for the log.
        changes: Done one after another.
    """

    number: int
    doc: str
    changes: tuple[Change, ...]


STEPS: Final[tuple[ModelStep, ...]] = ()
"""All steps so far. The shipped model has not changed since the first release."""
