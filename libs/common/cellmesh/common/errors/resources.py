"""Things that are, or are not, there: names, files, views, layers."""

from __future__ import annotations

from cellmesh.common.errors.base import CellError, ErrorReason, StatusCode, describe


class NoSuchName(CellError):
    """Nothing has this name."""

    code = StatusCode.NOT_FOUND
    reason = ErrorReason.ERROR_REASON_NO_SUCH_NAME
    field_docs = describe(name="the name")


class NoSuchIden(CellError):
    """Nothing has this iden."""

    code = StatusCode.NOT_FOUND
    reason = ErrorReason.ERROR_REASON_NO_SUCH_IDEN
    field_docs = describe(iden="the iden")


class NoSuchObj(CellError):
    """The object is not there."""

    code = StatusCode.NOT_FOUND
    reason = ErrorReason.ERROR_REASON_NO_SUCH_OBJ
    field_docs = describe(name="the object")


class NoSuchPath(CellError):
    """Nothing is at this path."""

    code = StatusCode.NOT_FOUND
    reason = ErrorReason.ERROR_REASON_NO_SUCH_PATH
    field_docs = describe(path="the path")


class NoSuchFile(CellError):
    """The file is not there."""

    code = StatusCode.NOT_FOUND
    reason = ErrorReason.ERROR_REASON_NO_SUCH_FILE
    field_docs = describe(name="the file", sha256="its hash, when files are named by hash")


class NoSuchDir(CellError):
    """The folder is not there."""

    code = StatusCode.NOT_FOUND
    reason = ErrorReason.ERROR_REASON_NO_SUCH_DIR
    field_docs = describe(name="the folder")


class NoSuchView(CellError):
    """No view has this iden."""

    code = StatusCode.NOT_FOUND
    reason = ErrorReason.ERROR_REASON_NO_SUCH_VIEW
    field_docs = describe(iden="the view")


class NoSuchLayer(CellError):
    """No layer has this iden."""

    code = StatusCode.NOT_FOUND
    reason = ErrorReason.ERROR_REASON_NO_SUCH_LAYER
    field_docs = describe(iden="the layer")


class NoSuchTank(NoSuchName):
    """No tank has this name."""

    code = StatusCode.NOT_FOUND
    reason = ErrorReason.ERROR_REASON_NO_SUCH_TANK
    field_docs = describe(name="the tank")


class NoSuchCell(NoSuchName):
    """No cell of this name is registered."""

    code = StatusCode.NOT_FOUND
    reason = ErrorReason.ERROR_REASON_NO_SUCH_CELL
    field_docs = describe(name="the cell")


class DupName(CellError):
    """Something has this name already."""

    code = StatusCode.ALREADY_EXISTS
    reason = ErrorReason.ERROR_REASON_DUP_NAME
    field_docs = describe(name="the name")


class DupIden(CellError):
    """Something has this iden already."""

    code = StatusCode.ALREADY_EXISTS
    reason = ErrorReason.ERROR_REASON_DUP_IDEN
    field_docs = describe(iden="the iden")


class DupFileName(CellError):
    """A file of this name was added already."""

    code = StatusCode.ALREADY_EXISTS
    reason = ErrorReason.ERROR_REASON_DUP_FILE_NAME
    field_docs = describe(name="the file")


class DataAlreadyExists(CellError):
    """The data is stored already."""

    code = StatusCode.ALREADY_EXISTS
    reason = ErrorReason.ERROR_REASON_DATA_ALREADY_EXISTS
    field_docs = describe(name="the data")


class FileExists(CellError):
    """A file is in the way."""

    code = StatusCode.ALREADY_EXISTS
    reason = ErrorReason.ERROR_REASON_FILE_EXISTS
    field_docs = describe(name="the file")


class PathExists(CellError):
    """Something is at this path already."""

    code = StatusCode.ALREADY_EXISTS
    reason = ErrorReason.ERROR_REASON_PATH_EXISTS
    field_docs = describe(path="the path")


class BadHivePath(CellError):
    """A path of settings cannot be used."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_HIVE_PATH
    field_docs = describe(path="the path")


class CantDelView(CellError):
    """A view cannot be deleted while others need it."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_CANT_DEL_VIEW
    field_docs = describe(iden="the view")


class CantMergeView(CellError):
    """A view cannot be merged into its parent as things are."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_CANT_MERGE_VIEW
    field_docs = describe(iden="the view")


class CantRevLayer(CellError):
    """A layer cannot be brought to the current version."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_CANT_REV_LAYER
    field_docs = describe(layer="the layer", curv="its version")


class LayerInUse(CellError):
    """A layer cannot be removed while a view has it."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_LAYER_IN_USE
    field_docs = describe(layer="the layer")


class ReadOnlyLayer(CellError):
    """The layer takes no edits."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_READ_ONLY_LAYER
    field_docs = describe(layer="the layer")
