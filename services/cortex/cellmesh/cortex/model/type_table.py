"""The types of a model, each compiled when it is first asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

from cellmesh.common.errors import BadTypeDef, NoSuchType
from cellmesh.cortex.model.definitions import ROOT, ModelDefs, TypeDef, TypeRef
from cellmesh.cortex.model.hints import hint_of
from cellmesh.cortex.model.types import FAMILIES
from cellmesh.cortex.model.types.base import BaseType, Resolver

CHAIN_LENGTH_MAX: Final = 32
"""Types from one to the root of its bases."""


class TypeTable:
    """Types by name, and as references with options of their own ask for them.

    Args:
        defs: What the model files and users define.
        model: What types look up other types, forms and properties in.
    """

    def __init__(self, defs: ModelDefs, model: Resolver) -> None:
        self._defs = defs
        self._model = model
        self._compiled: dict[str, BaseType] = {}
        self._derived: dict[tuple[str, str], BaseType] = {}

    def type(self, name: str) -> BaseType:
        """Return a type by name.

        Raises:
            NoSuchType: the model has no such type.
        """
        found = self._compiled.get(name)
        if found is None:
            definition = self._defs.types.get(name)
            if definition is None:
                raise NoSuchType(f"no type named {name}", name=name, **hint_of(name, self._defs.types))
            found = self._compiled[name] = self.compile(definition)
        return found

    def resolve(self, reference: TypeRef) -> BaseType:
        """Return the type a reference names, with the reference's options on top of its own."""
        if not reference.options:
            return self.type(reference.name)
        key = (reference.name, json.dumps(reference.options, sort_keys=True, default=str))
        found = self._derived.get(key)
        if found is None:
            base = self.type(reference.name)
            options = {**base.options, **reference.options}
            found = self._derived[key] = self._make(type(base), base.name, base.chain, options)
        return found

    def compile(self, definition: TypeDef) -> BaseType:
        """Make the type of a definition, which the model need not have.

        Raises:
            NoSuchType: a base does not exist.
            BadTypeDef: its bases form a circle, or its options cannot be used.
        """
        chain = [definition]
        while chain[-1].base != ROOT:
            base = self._defs.types.get(chain[-1].base)
            if base is None:
                raise NoSuchType(
                    f"{chain[-1].name} derives from {chain[-1].base}, which is no type", name=chain[-1].base
                )
            chain.append(base)
            if len(chain) > CHAIN_LENGTH_MAX:
                raise BadTypeDef("the bases of this type form a circle", name=definition.name)
        options: dict[str, object] = {}
        for step in reversed(chain):
            options.update(step.options)
        for step in chain:
            family = FAMILIES.get(step.name)
            if family is not None:
                return self._make(family, definition.name, tuple(item.name for item in chain), options)
        raise BadTypeDef(f"no code implements the type {chain[-1].name}", name=definition.name)

    def forget(self) -> None:
        """Drop what was compiled: it is compiled again when next asked for."""
        self._compiled = {}
        self._derived = {}

    def _make(
        self, family: Callable[..., BaseType], name: str, chain: tuple[str, ...], options: dict[str, object]
    ) -> BaseType:
        try:
            return family(name, chain, options, self._model)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, re.error) as error:
            # Options come from users, in any shape; each type reads its own.
            raise BadTypeDef(f"the options of the type {name} cannot be used: {error}", name=name) from error
