"""Cells, their configuration and life, and the links between them."""

from __future__ import annotations

from cellmesh.common.errors.base import CellError, ErrorReason, StatusCode, describe


class BadConfValu(CellError):
    """A setting has a value that cannot be used."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_CONF_VALU
    field_docs = describe(name="the setting", valu="the value as given", origin="where it was set")


class NeedConfValu(CellError):
    """A setting is needed and has no value."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_NEED_CONF_VALU
    field_docs = describe(name="the setting")


class BadState(CellError):
    """The operation does not fit the present state."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_BAD_STATE
    field_docs = describe(name="what has the state", state="the state")


class BackupAlreadyRunning(CellError):
    """A backup is being made already."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_BACKUP_ALREADY_RUNNING


class CliFini(CellError):
    """The command line was closed."""

    code = StatusCode.ABORTED
    reason = ErrorReason.ERROR_REASON_CLI_FINI


class FatalErr(CellError):
    """The cell cannot go on."""

    code = StatusCode.INTERNAL
    reason = ErrorReason.ERROR_REASON_FATAL_ERR


class Internal(FatalErr):
    """Something failed that should not have; the server's log has the details."""

    code = StatusCode.INTERNAL
    reason = ErrorReason.ERROR_REASON_INTERNAL
    field_docs = describe(type="the kind of failure")


class FeatureNotSupported(CellError):
    """The other side does not have this feature."""

    code = StatusCode.UNIMPLEMENTED
    reason = ErrorReason.ERROR_REASON_FEATURE_NOT_SUPPORTED
    field_docs = describe(name="the feature")


class HitLimit(CellError):
    """A limit was reached."""

    code = StatusCode.RESOURCE_EXHAUSTED
    reason = ErrorReason.ERROR_REASON_HIT_LIMIT
    field_docs = describe(name="the limit", limit="its value")


class LimitExceeded(HitLimit):
    """What was asked for is more than a named bound allows."""

    code = StatusCode.RESOURCE_EXHAUSTED
    reason = ErrorReason.ERROR_REASON_LIMIT_EXCEEDED
    field_docs = describe(name="the bound", limit="its value", size="what was asked for")


class ImapError(CellError):
    """A mail server refused or failed."""

    code = StatusCode.UNAVAILABLE
    reason = ErrorReason.ERROR_REASON_IMAP_ERROR
    field_docs = describe(mesg="what it answered")


class IsFini(CellError):
    """The object is closed."""

    code = StatusCode.UNAVAILABLE
    reason = ErrorReason.ERROR_REASON_IS_FINI
    field_docs = describe(name="the object")


class ShuttingDown(CellError):
    """The cell is shutting down."""

    code = StatusCode.UNAVAILABLE
    reason = ErrorReason.ERROR_REASON_SHUTTING_DOWN
    field_docs = describe(name="the cell")


class IsReadOnly(CellError):
    """The cell takes no writes."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_IS_READ_ONLY
    field_docs = describe(name="the cell")


class JsonRpcError(CellError):
    """A JSON-RPC server answered with an error."""

    code = StatusCode.UNAVAILABLE
    reason = ErrorReason.ERROR_REASON_JSON_RPC_ERROR
    field_docs = describe(rpccode="its error code")


class LinkErr(CellError):
    """The link to another cell failed."""

    code = StatusCode.UNAVAILABLE
    reason = ErrorReason.ERROR_REASON_LINK_ERR
    field_docs = describe(name="the cell", address="its address")


class LinkBadCert(LinkErr):
    """The other side's certificate was not accepted."""

    code = StatusCode.UNAVAILABLE
    reason = ErrorReason.ERROR_REASON_LINK_BAD_CERT
    field_docs = describe(name="the cell", address="its address")


class LinkShutDown(LinkErr):
    """The link was closed."""

    code = StatusCode.UNAVAILABLE
    reason = ErrorReason.ERROR_REASON_LINK_SHUT_DOWN
    field_docs = describe(name="the cell", address="its address")


class CellUnreachable(LinkErr):
    """A cell cannot be reached."""

    code = StatusCode.UNAVAILABLE
    reason = ErrorReason.ERROR_REASON_CELL_UNREACHABLE
    field_docs = describe(name="the cell", address="the address tried", hint="what to do")


class Retry(CellError):
    """The operation could not be done just now and may be tried again."""

    code = StatusCode.UNAVAILABLE
    reason = ErrorReason.ERROR_REASON_RETRY


class NotReady(Retry):
    """The cell is not ready yet."""

    code = StatusCode.UNAVAILABLE
    reason = ErrorReason.ERROR_REASON_NOT_READY
    field_docs = describe(name="the cell")


class NotLeader(Retry):
    """The cell follows another one, which takes the writes."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_NOT_LEADER
    field_docs = describe(
        name="the cell",
        leader="the leader's address, or its name where AHA answers",
        instance="the leader's name",
        term="the term it leads in",
        outcome='"unknown" when the change is stored here and may or may not last',
    )


class MirrorDiverged(CellError):
    """A follower has changes that its leader's history does not have."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_MIRROR_DIVERGED
    field_docs = describe(
        name="the follower", offset="the offset it is at", term="the term of its last change"
    )


class PromotionUnsafe(CellError):
    """A promotion by force could lose acknowledged changes."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_PROMOTION_UNSAFE
    field_docs = describe(name="the cell", missing="the instances that do not answer")


class SpawnExit(CellError):
    """A child process ended unexpectedly."""

    code = StatusCode.INTERNAL
    reason = ErrorReason.ERROR_REASON_SPAWN_EXIT
    field_docs = describe(name="the process", code="its exit status")


class StepTimeout(CellError):
    """A step of a longer operation took too long."""

    code = StatusCode.DEADLINE_EXCEEDED
    reason = ErrorReason.ERROR_REASON_STEP_TIMEOUT
    field_docs = describe(name="the step")


class TimeOut(CellError):
    """The time allowed is over."""

    code = StatusCode.DEADLINE_EXCEEDED
    reason = ErrorReason.ERROR_REASON_TIME_OUT
    field_docs = describe(timeout="the time allowed, in seconds")


class DeadlineExceeded(TimeOut):
    """The caller's deadline passed before the work was done."""

    code = StatusCode.DEADLINE_EXCEEDED
    reason = ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED
    field_docs = describe(method="the RPC method")


class Cancelled(CellError):
    """The caller went away or cancelled the call."""

    code = StatusCode.CANCELLED
    reason = ErrorReason.ERROR_REASON_CANCELLED
    field_docs = describe(method="the RPC method")


class AddressInUse(CellError):
    """Another program listens on this address."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_ADDRESS_IN_USE
    field_docs = describe(address="the address", name="the cell")
