"""Values that cannot be used: types, times, encodings, formats."""

from __future__ import annotations

from cellmesh.common.errors.base import CellError, ErrorReason, StatusCode, describe


class BadTypeValu(CellError):
    """A value does not fit its type."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_TYPE_VALU
    field_docs = describe(
        name="the type or property",
        valu="the value as given",
        form="the form being set, if any",
        prop="the property being set, if any",
    )


class BadArg(CellError):
    """An argument of a call is missing or wrong."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_ARG
    field_docs = describe(name="the argument", valu="the value as given")


class BadCast(CellError):
    """A value cannot be turned into the kind asked for."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_CAST
    field_docs = describe(name="the kind asked for", valu="the value as given")


class BadDataValu(CellError):
    """Data handed over has a shape or value that cannot be used."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_DATA_VALU
    field_docs = describe(name="what the data is for", valu="the offending value")


class BadIndxValu(CellError):
    """A value cannot be made into an index key."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_INDX_VALU
    field_docs = describe(name="the property", valu="the value as given")


class BadLiftValu(CellError):
    """A value cannot be used to lift nodes."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_LIFT_VALU
    field_docs = describe(name="the property or type", valu="the value as given")


class BadCmprValu(CellError):
    """The right side of a comparison does not fit its operator."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_CMPR_VALU
    field_docs = describe(cmpr="the operator", valu="the value as given")


class BadCmprType(CellError):
    """Two values of these kinds cannot be compared."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_CMPR_TYPE
    field_docs = describe(cmpr="the operator", name="the type")


class NotANumberCompared(CellError):
    """A comparison of size was given something that is no number."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_NOT_A_NUMBER_COMPARED
    field_docs = describe(valu="the value as given")


class BadTime(CellError):
    """Text is no time, or the time lies outside the range kept."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_TIME
    field_docs = describe(valu="the text or number as given")


class BadName(CellError):
    """A name breaks the rules for names of its kind."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_NAME
    field_docs = describe(name="the name as given")


class BadTag(CellError):
    """Text is no valid tag."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_TAG
    field_docs = describe(tag="the tag as given")


class BadUrl(CellError):
    """Text is no URL that can be used here."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_URL
    field_docs = describe(url="the URL as given, without its password")


class BadJsonText(CellError):
    """Text is no valid JSON."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_JSON_TEXT
    field_docs = describe(valu="the start of the text")


class BadMesgFormat(CellError):
    """A message is not laid out as its reader expects."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_MESG_FORMAT
    field_docs = describe(name="the kind of message")


class BadMesgVers(CellError):
    """A message has a version that this program does not read."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_MESG_VERS
    field_docs = describe(vers="the version found")


class BadVersion(CellError):
    """A version lies outside the range that is accepted."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_BAD_VERSION
    field_docs = describe(name="what has the version", vers="the version found", reqs="the range accepted")


class BadFileExt(CellError):
    """A file name does not end as required."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_FILE_EXT
    field_docs = describe(name="the file name")


class MustBeJsonSafe(CellError):
    """A value has parts that JSON cannot hold."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_MUST_BE_JSON_SAFE
    field_docs = describe(name="where the value was to go")


class NotMsgpackSafe(CellError):
    """A value has parts that msgpack cannot hold."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_NOT_MSGPACK_SAFE
    field_docs = describe(name="where the value was to go", type="the Python type that does not fit")


class SchemaViolation(CellError):
    """Data breaks the schema it has to follow."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_SCHEMA_VIOLATION
    field_docs = describe(name="the place in the data", valu="the offending value")


class TypeMismatch(CellError):
    """A value is of another type than the one required."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_TYPE_MISMATCH
    field_docs = describe(name="what was given", expected="the type required")


class UploadMoved(CellError):
    """An upload goes on at another offset than the one that was named; at 0 when nothing of it is kept."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_UPLOAD_MOVED
    field_docs = describe(name="the upload's id", offset="where it goes on, in bytes")


class NoSuchDecoder(CellError):
    """No decoder has this name."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_NO_SUCH_DECODER
    field_docs = describe(name="the decoder")


class NoSuchEncoder(CellError):
    """No encoder has this name."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_NO_SUCH_ENCODER
    field_docs = describe(name="the encoder")


class HashMismatch(BadDataValu):
    """Bytes received do not have the hash that was announced."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_HASH_MISMATCH
    field_docs = describe(name="the hash algorithm", expected="the hash announced", valu="the hash found")
