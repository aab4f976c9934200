"""The data model: types, forms, properties, edges."""

from __future__ import annotations

from cellmesh.common.errors.base import CellError, ErrorReason, StatusCode, describe


class NoSuchForm(CellError):
    """The model defines no form of this name."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_NO_SUCH_FORM
    field_docs = describe(name="the form")


class NoSuchProp(CellError):
    """The model defines no property of this name."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_NO_SUCH_PROP
    field_docs = describe(name="the property", form="the form it was looked for on, if any")


class NoSuchUniv(CellError):
    """The model defines no universal property of this name."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_NO_SUCH_UNIV
    field_docs = describe(name="the property")


class NoSuchTagProp(CellError):
    """The model defines no tag property of this name."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_NO_SUCH_TAG_PROP
    field_docs = describe(name="the tag property")


class NoSuchType(CellError):
    """The model defines no type of this name."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_NO_SUCH_TYPE
    field_docs = describe(name="the type")


class NoSuchEdge(CellError):
    """The model defines no such edge."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_NO_SUCH_EDGE
    field_docs = describe(
        n1form="the form the edge starts from", verb="the verb", n2form="the form the edge ends at"
    )


class NoSuchCmpr(CellError):
    """The type has no such comparison operator."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_NO_SUCH_CMPR
    field_docs = describe(cmpr="the operator", name="the type or property")


class BadCtorType(CellError):
    """A type's constructor does not make a type."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_CTOR_TYPE
    field_docs = describe(name="the type")


class BadEdgeDef(CellError):
    """An edge definition cannot be used."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_EDGE_DEF
    field_docs = describe(
        n1form="the form the edge starts from", verb="the verb", n2form="the form the edge ends at"
    )


class BadFormDef(CellError):
    """A form definition cannot be used."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_FORM_DEF
    field_docs = describe(form="the form", prop="the property at fault, if any")


class BadPropDef(CellError):
    """A property definition cannot be used."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_PROP_DEF
    field_docs = describe(name="the property", form="the form, if any")


class BadTypeDef(CellError):
    """A type definition cannot be used."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_TYPE_DEF
    field_docs = describe(name="the type")


class CantDelForm(CellError):
    """A form cannot be removed from the model while nodes or properties need it."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_CANT_DEL_FORM
    field_docs = describe(form="the form")


class CantDelProp(CellError):
    """A property cannot be removed from the model while nodes have it."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_CANT_DEL_PROP
    field_docs = describe(name="the property")


class CantDelType(CellError):
    """A type cannot be removed from the model while others build on it."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_CANT_DEL_TYPE
    field_docs = describe(name="the type")


class CantDelUniv(CellError):
    """A universal property cannot be removed while nodes have it."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_CANT_DEL_UNIV
    field_docs = describe(name="the property")


class DupEdgeType(CellError):
    """The model has this edge already."""

    code = StatusCode.ALREADY_EXISTS
    reason = ErrorReason.ERROR_REASON_DUP_EDGE_TYPE
    field_docs = describe(
        n1form="the form the edge starts from", verb="the verb", n2form="the form the edge ends at"
    )


class DupFormName(CellError):
    """The model has a form of this name already."""

    code = StatusCode.ALREADY_EXISTS
    reason = ErrorReason.ERROR_REASON_DUP_FORM_NAME
    field_docs = describe(name="the form")


class DupPropName(CellError):
    """The model has a property of this name already."""

    code = StatusCode.ALREADY_EXISTS
    reason = ErrorReason.ERROR_REASON_DUP_PROP_NAME
    field_docs = describe(name="the property")


class DupTagPropName(CellError):
    """The model has a tag property of this name already."""

    code = StatusCode.ALREADY_EXISTS
    reason = ErrorReason.ERROR_REASON_DUP_TAG_PROP_NAME
    field_docs = describe(name="the tag property")


class DupTypeName(CellError):
    """The model has a type of this name already."""

    code = StatusCode.ALREADY_EXISTS
    reason = ErrorReason.ERROR_REASON_DUP_TYPE_NAME
    field_docs = describe(name="the type")


class IsDeprLocked(CellError):
    """The form, type or property is deprecated and locked against new data."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_IS_DEPR_LOCKED
    field_docs = describe(name="what is locked")


class IsRuntForm(CellError):
    """Nodes of this form are made at run time and cannot be edited."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_IS_RUNT_FORM
    field_docs = describe(form="the form")


class ReadOnlyProp(CellError):
    """The property keeps its first value and cannot be set again."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_READ_ONLY_PROP
    field_docs = describe(name="the property", valu="the new value")


class ModAlreadyLoaded(CellError):
    """The model module is loaded already."""

    code = StatusCode.ALREADY_EXISTS
    reason = ErrorReason.ERROR_REASON_MOD_ALREADY_LOADED
    field_docs = describe(name="the module")
