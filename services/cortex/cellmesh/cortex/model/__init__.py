"""What a graph may say: types, forms, properties and edges, from model files to compiled look-ups.

Model files go in, a `Model` comes out, which the editor, the layers and the query engine ask.

definitions  what files and users define, as plain values
loader       model files to definitions
catalog/     the shipped model files, one a domain
types/       the types that code implements, one file a family
encoding     index bytes that sort as the values do
scans        how an index answers a comparison
entries      what look-ups give: forms, properties, tag properties
type_table   types, compiled when first asked for
forms        how a form is compiled, with the properties of its interfaces
uses         who holds values of a type
hints        names near to one that there is not
registry     the compiled model: look-ups
changes      changes of it at run time
locks        deprecated names that may not be used any more
extensions   what users add: rules for names, the definitions as plain data
runtime      the nodes of runtime forms such as syn:form, made from the model itself
"""

from __future__ import annotations

from cellmesh.cortex.model.extensions import Extensions
from cellmesh.cortex.model.locks import DeprecationLocks
from cellmesh.cortex.model.registry import Form, Model, Prop, TagProp, TypeUse
from cellmesh.cortex.model.runtime import RuntimeNode
from cellmesh.cortex.model.scans import Exact, Filtered, IndexScan, Predicate, Prefix, Range
from cellmesh.cortex.model.types.base import BaseType, Normed, Type

__all__ = [
    "BaseType",
    "DeprecationLocks",
    "Exact",
    "Extensions",
    "Filtered",
    "Form",
    "IndexScan",
    "Model",
    "Normed",
    "Predicate",
    "Prefix",
    "Prop",
    "Range",
    "RuntimeNode",
    "TagProp",
    "Type",
    "TypeUse",
]
