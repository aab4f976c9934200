"""Values made of values: comp, array, ndef, edges between nodes, nodeprop, range and data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, cast

from cellmesh.common import hashing, msgpack
from cellmesh.common.errors import BadTypeDef, CellError, NoSuchForm, NoSuchProp
from cellmesh.cortex.model.definitions import TypeRef
from cellmesh.cortex.model.scans import Predicate
from cellmesh.cortex.model.types.base import BaseType, Normed, Type, shown, text_of

ARRAY_SIZE_MAX = 1_000_000


def reference_of(given: Any) -> TypeRef:
    """Return the reference that an option gives: a name, or a pair of name and options."""
    if isinstance(given, str):
        return TypeRef(given)
    name, options = given
    return TypeRef(name, options or {})


class CompositeType(BaseType):
    """What all values made of values share: an index of hashes, which answers equality and has no order.

    The hash is the buid of the value, 32 bytes however large the value, and its order that of Synapse's index.
    """

    regex_lift: ClassVar[bool] = True
    range_lift: ClassVar[bool] = False

    def compare_range(self, value: object) -> Predicate:
        low, high = self.range_of(value)

        def is_within(stored: Any) -> bool:
            try:
                return bool(tuple(low) <= tuple(stored) <= tuple(high))
            except TypeError:  # parts of kinds that have no order among each other
                return False

        return is_within

    def encode(self, value: Any) -> bytes:
        # The buid of None would be random, and data may be None.
        return hashlib.sha256(msgpack.encode(None)).digest() if value is None else hashing.buid(value)

    def equal_to(self, value: object) -> Predicate:
        # By hash, as parts may be lists where the operand's are tuples.
        wanted = self.encode(self.norm(value))
        encode = self.encode
        return lambda stored: encode(stored) == wanted

    def compare_in(self, value: object) -> Predicate:
        wanted = frozenset(self.encode(self.norm(item)) for item in self.operands(value))
        encode = self.encode
        return lambda stored: encode(stored) in wanted


class CompType(CompositeType):
    """A tuple of named fields, each with its type. Options: `fields`, and `sepr` to split text by."""

    def compile(self) -> None:
        fields = self.options.get("fields")
        if not fields and self.chain[0] != "comp":
            raise BadTypeDef(f"{self.name} has no fields", name=self.name)
        self.references = tuple((str(name), reference_of(given)) for name, given in fields or ())
        self.separator = self.options.get("sepr")
        self._fields: tuple[tuple[str, Type], ...] | None = None

    @property
    def fields(self) -> tuple[tuple[str, Type], ...]:
        if self._fields is None:
            self._fields = tuple((name, self.model.resolve(ref)) for name, ref in self.references)
        return self._fields

    def items_of(self, value: object) -> Sequence[object]:
        """Return the parts of a value, one a field."""
        if isinstance(value, str):
            if not self.separator:
                raise self.bad(f"needs {len(self.references)} values", value)
            value = [part.strip() for part in value.split(self.separator)]
        if not isinstance(value, (list, tuple)):
            raise self.bad_kind(value)
        if len(value) != len(self.references):
            names = ", ".join(name for name, _ in self.references)
            raise self.bad(f"needs {len(self.references)} values ({names}), not {len(value)}", value)
        return value

    def normalize(self, value: object) -> Normed:
        values: list[object] = []
        subs: list[tuple[str, object]] = []
        adds: list[tuple[str, object]] = []
        parts: dict[str, tuple[Type, Normed]] = {}
        for (name, type_), item in zip(self.fields, self.items_of(value), strict=True):
            normed = type_.normalize(item)
            parts[name] = (type_, normed)
            values.append(normed.value)
            subs.append((name, normed.value))
            if normed.subs:
                subs += [(f"{name}:{sub}", part) for sub, part in normed.subs]
            if self.model.is_form(type_.name):
                adds.append((type_.name, normed.value))
            adds += normed.adds
        return Normed(tuple(values), tuple(subs), tuple(adds), parts)

    def repr(self, value: Any) -> Any:
        texts = tuple(type_.repr(part) for (_, type_), part in zip(self.fields, value, strict=True))
        if self.separator:
            return self.separator.join(text_of(text) for text in texts)
        return texts


class ArrayType(CompositeType):
    """A list of values of one type.

    Options: `type` and `typeopts` of the elements; `uniq` drops repeated ones; `sorted` sorts them by value;
    `split` is the text between the elements when given as text.
    """

    def compile(self) -> None:
        given = self.options.get("type")
        if given is None:
            raise BadTypeDef("an array needs the type of its elements", name=self.name)
        reference = reference_of(given)
        if self.options.get("typeopts"):
            reference = TypeRef(reference.name, {**reference.options, **self.options["typeopts"]})
        if reference.name == "array":
            raise BadTypeDef("an array cannot hold arrays", name=self.name)
        self.reference = reference
        self.unique = bool(self.options.get("uniq"))
        self.sorted = bool(self.options.get("sorted"))
        self.separator = self.options.get("split")
        self._element: Type | None = None

    @property
    def is_array(self) -> bool:
        return True

    @property
    def element(self) -> Type:
        if self._element is None:
            self._element = self.model.resolve(self.reference)
        return self._element

    @property
    def element_name(self) -> str | None:
        return self.reference.name

    def items_of(self, value: object) -> Sequence[object]:
        """Return the elements of a value as given."""
        if isinstance(value, str):
            if not self.separator:
                raise self.bad("needs a list", value)
            return [part.strip() for part in value.split(self.separator)]
        if not isinstance(value, (list, tuple, set, frozenset)):
            raise self.bad_kind(value)
        if len(value) > ARRAY_SIZE_MAX:
            raise self.bad(f"at most {ARRAY_SIZE_MAX} elements", f"{len(value)} elements")
        return tuple(value)

    def normalize(self, value: object) -> Normed:
        element = self.element
        normed = [element.normalize(item) for item in self.items_of(value)]
        adds: list[tuple[str, object]] = []
        is_form = self.model.is_form(element.name)
        for item in normed:
            if is_form:
                adds.append((element.name, item.value))
            adds.extend(item.adds)
        return Normed(self.arrange(item.value for item in normed), (), tuple(adds))

    def arrange(self, values: Iterable[object]) -> tuple[object, ...]:
        """Drop repeated values and sort, as the options ask."""
        kept = list(values)
        if self.unique:
            seen: dict[object, object] = {}
            for value in kept:
                seen.setdefault(_hashable(value), value)
            kept = list(seen.values())
        if self.sorted:
            try:
                kept.sort(key=cast("Any", lambda value: value))
            except TypeError:
                kept.sort(key=lambda value: self.element.encode(value))
        return tuple(kept)

    def repr(self, value: Any) -> Any:
        texts = [self.element.repr(item) for item in value]
        if self.separator:
            return self.separator.join(text_of(text) for text in texts)
        return texts


class NdefType(CompositeType):
    """A reference to any node: (form, value).

    Options limit the form: `forms` lists those allowed, `interfaces` what it must carry. `interface` says what the
    nodes are meant to carry, and limits nothing: so it is in Synapse, and what was stored there may be stored here.
    """

    regex_lift: ClassVar[bool] = False

    def compile(self) -> None:
        forms = self.options.get("forms")
        self.forms = frozenset(forms) if forms else None
        self.interfaces = tuple(self.options.get("interfaces") or ())

    def normalize(self, value: object) -> Normed:
        form, given = self.pair_of(value)
        self.check_form(form, value)
        normed = self.model.form_type(form).normalize(given)
        pair = (form, normed.value)
        return Normed(pair, (("form", form),), (pair, *normed.adds))

    def pair_of(self, value: object) -> tuple[str, object]:
        """Return form and value of a pair, or of what has an `ndef()` such as a node."""
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise self.bad("needs a pair of form and value", value)
        form, given = value
        if not isinstance(form, str):
            raise NoSuchForm(f"no form is named by {shown(form)}, which is no text", name=shown(form))
        return form, given

    def check_form(self, form: str, value: object) -> None:
        """Refuse a form that does not exist or that the options do not allow."""
        if not self.model.is_form(form):
            raise NoSuchForm(f"no form named {form}", name=form)
        if self.forms is not None and form not in self.forms:
            raise self.bad(f"the form must be one of {', '.join(sorted(self.forms))}", value)
        if self.interfaces:
            carried = self.model.form_interfaces(form)
            for needed in self.interfaces:
                if needed not in carried:
                    raise self.bad(f"the form must carry the interface {needed}", value)

    def repr(self, value: Any) -> Any:
        form, part = value
        return (form, self.model.form_type(form).repr(part)) if self.model.is_form(form) else (form, part)


class EdgeType(CompositeType):
    """Two nodes, (form, value) each. Sub-values: `n1`, `n1:form`, `n2`, `n2:form`.

    Options: `n1:forms` and `n2:forms` list the forms allowed.
    """

    def compile(self) -> None:
        self.ends: tuple[Type, Type] | None = None

    @property
    def parts(self) -> tuple[Type, ...]:
        """The types of the parts, in order."""
        if self.ends is None:
            self.ends = (self._end("n1:forms"), self._end("n2:forms"))
        return self.ends

    def _end(self, option: str) -> Type:
        forms = self.options.get(option)
        return self.model.resolve(TypeRef("ndef", {"forms": list(forms)} if forms else {}))

    @property
    def part_names(self) -> tuple[str, ...]:
        """The names of the parts, in order."""
        return ("n1", "n2")

    @property
    def fields(self) -> tuple[tuple[str, Type], ...]:
        return tuple(zip(self.part_names, self.parts, strict=True))

    def normalize(self, value: object) -> Normed:
        names = self.part_names
        if not isinstance(value, (list, tuple)) or len(value) != len(names):
            raise self.bad(f"needs {len(names)} values: {', '.join(names)}", value)
        stored: list[object] = []
        subs: list[tuple[str, object]] = []
        adds: list[tuple[str, object]] = []
        for (name, type_), item in zip(self.fields, value, strict=True):
            normed = type_.normalize(item)
            stored.append(normed.value)
            subs.append((name, normed.value))
            subs.extend((f"{name}:{sub}", part) for sub, part in normed.subs)
            adds.extend(normed.adds)
        return Normed(tuple(stored), tuple(subs), tuple(adds))

    def repr(self, value: Any) -> Any:
        return tuple(type_.repr(part) for type_, part in zip(self.parts, value, strict=True))


class TimeEdgeType(EdgeType):
    """Two nodes and a time."""

    @property
    def parts(self) -> tuple[Type, ...]:
        return (*super().parts, self.model.type("time"))

    @property
    def part_names(self) -> tuple[str, ...]:
        return ("n1", "n2", "time")


class NodePropType(CompositeType):
    """A property and a value of it: (full name, value)."""

    def normalize(self, value: object) -> Normed:
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise self.bad("needs a pair of property and value", value)
        name, given = value
        if not isinstance(name, str):
            raise NoSuchProp(f"no property is named by {shown(name)}, which is no text", name=shown(name))
        normed = self.model.prop_type(name).normalize(given)
        return Normed((name, normed.value), (("prop", name),))

    def repr(self, value: Any) -> Any:
        return str(tuple(value))


class RangeType(CompositeType):
    """A lowest and a highest value of one type, both included. Option: `type`. Sub-values: `min`, `max`."""

    def compile(self) -> None:
        self.reference = reference_of(self.options.get("type") or "int")
        self._part: Type | None = None

    @property
    def part(self) -> Type:
        """The type of both ends."""
        if self._part is None:
            self._part = self.model.resolve(self.reference)
        return self._part

    @property
    def fields(self) -> tuple[tuple[str, Type], ...]:
        return (("min", self.part), ("max", self.part))

    def normalize(self, value: object) -> Normed:
        low, high = (self.part.normalize(item).value for item in self.ends_of(value))
        if self.part.encode(low) > self.part.encode(high):
            raise self.bad("the lowest is above the highest", value)
        return Normed((low, high), (("min", low), ("max", high)))

    def ends_of(self, value: object) -> Sequence[object]:
        """Return both ends of a value as given."""
        if isinstance(value, str):
            value = value.split("-", 1)
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise self.bad("needs a lowest and a highest value", value)
        return value

    def repr(self, value: Any) -> Any:
        return tuple(self.part.repr(part) for part in value)


class DataType(CompositeType):
    """Anything that JSON or msgpack holds. Option: `schema`, a JSON schema that values must meet."""

    def compile(self) -> None:
        schema = self.options.get("schema")
        self.check: Callable[[object], str | None] | None = None
        if schema is not None:
            self.check = self.compile_schema(schema)

    def compile_schema(self, schema: object) -> Callable[[object], str | None]:
        """Return what tells the first fault of a value, or None if it has none.

        Raises:
            BadTypeDef: this is no JSON schema.
        """
        # Few types have a schema, and the library takes a tenth of a second to import.
        import jsonschema

        schema = msgpack.decode(msgpack.encode_nearest(schema), use_list=True)
        if not isinstance(schema, dict):
            raise BadTypeDef("a schema is a dictionary", name=self.name)
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft7Validator)
        try:
            kind.check_schema(schema)
        except jsonschema.SchemaError as error:
            raise BadTypeDef(f"not a JSON schema: {error.message}", name=self.name) from error
        validator = kind(schema)

        def fault_of(value: Any) -> str | None:
            found = jsonschema.exceptions.best_match(validator.iter_errors(value))
            return None if found is None else f"{shown(found.message)} at {found.json_path}"

        return fault_of

    @property
    def is_mutable(self) -> bool:
        return True

    def normalize(self, value: object) -> Normed:
        try:
            encoded = msgpack.encode_nearest(value)
        except CellError as error:
            raise self.bad(error.message, value) from error
        # A copy, as the caller may go on to change what it gave.
        copied = msgpack.decode(encoded, use_list=True)
        if self.check is not None and (fault := self.check(copied)) is not None:
            raise self.bad(fault, value)
        return Normed(copied)

    def repr(self, value: Any) -> Any:
        return value if isinstance(value, str) else repr(_fixed(value))


def _fixed(value: Any) -> Any:
    """Return data with tuples for its lists, at any depth: what is kept does not change in place."""
    if isinstance(value, (list, tuple)):
        return tuple(_fixed(item) for item in value)
    if isinstance(value, dict):
        return {key: _fixed(item) for key, item in value.items()}
    return value


def _hashable(value: object) -> object:
    """Return what two equal values share, also for values that hold dicts or lists."""
    try:
        hash(value)
    except TypeError:
        return msgpack.encode(value)
    return value
