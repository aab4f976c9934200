"""Parts of the data model as values: `$lib.model.form()`, `prop()`, `tagprop()` and `type()`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.cortex.model.registry import Form, Prop, TagProp
from cellmesh.cortex.model.types.base import BaseType, Normed
from cellmesh.cortex.storm.objects.storage_form import type_number
from cellmesh.cortex.storm.runtime.interface import AttributeSpec, FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.values import tostr
from cellmesh.cortex.storm.runtime.valuing import plain_value

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


class ModelType:
    """A type of the model."""

    __slots__ = ("type",)

    def __init__(self, type: BaseType) -> None:
        self.type = type

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelType) and self.storm_plain() == other.storm_plain()

    def __hash__(self) -> int:
        return hash(self.type.name)

    def storm_plain(self) -> Any:
        """Return its name, its base with the options, and further facts."""
        definition = self.type.model.defs.types.get(self.type.name)  # type: ignore[attr-defined]
        facts: dict[str, Any] = {
            "bases": ["base", *reversed([name for name in self.type.chain[1:] if name != "base"])],
            "stortype": type_number(self.type),
        }
        if definition is not None and definition.doc:
            facts["doc"] = definition.doc
        base = self.type.chain[1] if len(self.type.chain) > 1 else "base"
        return (self.type.name, (base, dict(self.type.options)), facts)

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"model:type: {self.storm_plain()}"


class ModelProp:
    """A property of the model, or a form's own value seen as one."""

    __slots__ = ("prop",)

    def __init__(self, prop: Prop) -> None:
        self.prop = prop

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelProp) and self.storm_plain() == other.storm_plain()

    def __hash__(self) -> int:
        return hash(self.prop.full_name)

    @property
    def name(self) -> str:
        """Its name without the form; of a form's own value, the form."""
        return self.prop.name or self.prop.full_name

    def storm_plain(self) -> dict[str, Any]:
        """Return what the model says of it."""
        reference = self.prop.definition.type
        facts: dict[str, Any] = {
            "name": self.name,
            "full": self.prop.full_name,
            "type": (reference.name, dict(reference.options)),
        }
        facts["stortype"] = type_number(self.prop.type)
        if self.prop.read_only and self.prop.name:
            facts["ro"] = True
        if self.prop.doc:
            facts["doc"] = self.prop.doc
        return facts

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"model:property: {self.storm_plain()}"


class ModelForm:
    """A form of the model."""

    __slots__ = ("form",)

    def __init__(self, form: Form) -> None:
        self.form = form

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelForm) and self.storm_plain() == other.storm_plain()

    def __hash__(self) -> int:
        return hash(self.form.name)

    def storm_plain(self) -> dict[str, Any]:
        """Return its name and properties."""
        return {
            "name": self.form.name,
            "props": {name: ModelProp(prop).storm_plain() for name, prop in self.form.props.items()},
        }

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"model:form: {self.storm_plain()}"


class ModelTagProp:
    """A property that tags may have."""

    __slots__ = ("tag_prop",)

    def __init__(self, tag_prop: TagProp) -> None:
        self.tag_prop = tag_prop

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelTagProp) and self.storm_plain() == other.storm_plain()

    def __hash__(self) -> int:
        return hash(self.tag_prop.name)

    def storm_plain(self) -> dict[str, Any]:
        """Return its name and type."""
        reference = self.tag_prop.definition.type
        info = {"doc": self.tag_prop.doc} if self.tag_prop.doc else {}
        return {
            "name": self.tag_prop.name,
            "info": info,
            "stortype": type_number(self.tag_prop.type),
            "type": (reference.name, dict(reference.options)),
        }

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"model:tagprop: {self.storm_plain()}"


def _norm(context: RunContext, self: ModelType, value: Any) -> tuple[Any, dict[str, Any]]:
    normed = self.type.normalize(plain_value(value))
    return (normed.value, _facts_of(self.type, normed))


def _facts_of(type_: BaseType, normed: Normed) -> dict[str, Any]:
    """Return what normalising told beside the value: `subs`, `adds` with the facts of each, and parts of tags.

    What a name's zone is follows from other nodes, so it is no part of the name as Storm sees it.
    """
    facts: dict[str, Any] = {}
    subs = dict(normed.subs)
    for name in [name for name in subs if name.rpartition(":")[2] == "iszone"]:
        start = name.removesuffix("iszone")
        for derived in ("iszone", "zone"):
            subs.pop(start + derived, None)
        if not subs.get(f"{start}issuffix"):
            subs.pop(f"{start}issuffix", None)
    if subs:
        facts["subs"] = subs
    if not _NO_ADDS.intersection(type_.chain):
        adds = [(form, value, _facts_of_node(type_.model, form, value)) for form, value in normed.adds]
        if adds or not _HAVE_ADDS.isdisjoint(type_.chain):
            facts["adds"] = adds
    if "syn:tag" in type_.chain:
        facts["toks"] = str(normed.value).split(".")
    return facts


def _facts_of_node(model: Any, form: str, value: Any) -> dict[str, Any]:
    type_ = model.form_type(form)
    return _facts_of(type_, type_.normalize(value))


def _repr(context: RunContext, self: ModelType, value: Any) -> Any:
    return self.type.repr(self.type.normalize(plain_value(value)).value)


def _form_prop(context: RunContext, self: ModelForm, name: Any) -> ModelProp | None:
    prop = self.form.props.get(tostr(name))
    return None if prop is None else ModelProp(prop)


def _prop_form(context: RunContext, self: ModelProp) -> ModelForm | None:
    return None if self.prop.form is None else ModelForm(self.prop.form)


_NO_ADDS: Final = frozenset({"edge", "timeedge"})
_HAVE_ADDS: Final = frozenset({"array", "comp"})
_VALUE: Final = ParameterSpec("valu", type="any", doc="The value.")

TYPES: Final = (
    TypeSpec(
        "model:form",
        ModelForm,
        "A form.",
        (
            FunctionSpec(
                "prop",
                "One of its properties, or null.",
                _form_prop,
                (ParameterSpec("name", type="str", doc="The property, without the form."),),
                "model:property",
            ),
        ),
        (
            AttributeSpec("name", "Its name.", lambda c, s: s.form.name, "str"),
            AttributeSpec(
                "type", "The type of its values.", lambda c, s: ModelType(s.form.type), "model:type"
            ),
        ),
    ),
    TypeSpec(
        "model:property",
        ModelProp,
        "A property.",
        (),
        (
            AttributeSpec("form", "Its form; null for one that all forms have.", _prop_form, "model:form"),
            AttributeSpec("full", "Its name with the form.", lambda c, s: s.prop.full_name, "str"),
            AttributeSpec("name", "Its name without the form.", lambda c, s: s.name, "str"),
            AttributeSpec(
                "type", "The type of its values.", lambda c, s: ModelType(s.prop.type), "model:type"
            ),
        ),
    ),
    TypeSpec(
        "model:tagprop",
        ModelTagProp,
        "A property of tags.",
        (),
        (
            AttributeSpec("name", "Its name.", lambda c, s: s.tag_prop.name, "str"),
            AttributeSpec(
                "type", "The type of its values.", lambda c, s: ModelType(s.tag_prop.type), "model:type"
            ),
        ),
    ),
    TypeSpec(
        "model:type",
        ModelType,
        "A type.",
        (
            FunctionSpec(
                "norm", "A value as it is stored, and what else follows from it.", _norm, (_VALUE,), "pair"
            ),
            FunctionSpec("repr", "The human text of a value.", _repr, (_VALUE,), "str"),
        ),
        (
            AttributeSpec(
                "mutable", "Whether values can change in place.", lambda c, s: s.type.is_mutable, "bool"
            ),
            AttributeSpec("name", "Its name.", lambda c, s: s.type.name, "str"),
            AttributeSpec("opts", "Its options.", lambda c, s: dict(s.type.options), "dict"),
            AttributeSpec(
                "stortype",
                "The number of how its values are stored.",
                lambda c, s: type_number(s.type),
                "int",
            ),
        ),
    ),
)
