"""Who may do what."""

from __future__ import annotations

from cellmesh.common.errors.base import CellError, ErrorReason, StatusCode, describe


class AuthDeny(CellError):
    """The user may not do this."""

    code = StatusCode.PERMISSION_DENIED
    reason = ErrorReason.ERROR_REASON_AUTH_DENY
    field_docs = describe(perm="the permission needed", user="the user's iden", username="the user's name")


class Unauthenticated(AuthDeny):
    """The caller did not prove who it is."""

    code = StatusCode.UNAUTHENTICATED
    reason = ErrorReason.ERROR_REASON_UNAUTHENTICATED
    field_docs = describe(username="the name tried, if any")


class CertRevoked(AuthDeny):
    """The caller's certificate was revoked, or ran out while its connection was open."""

    code = StatusCode.PERMISSION_DENIED
    reason = ErrorReason.ERROR_REASON_CERT_REVOKED
    field_docs = describe(username="the name in the certificate", serial="its serial number, hexadecimal")


class PermissionRowMissing(AuthDeny):
    """The method states no permission, so nobody may call it."""

    code = StatusCode.PERMISSION_DENIED
    reason = ErrorReason.ERROR_REASON_PERMISSION_ROW_MISSING
    field_docs = describe(method="the full RPC method name")


class DupUserName(CellError):
    """A user of this name exists already."""

    code = StatusCode.ALREADY_EXISTS
    reason = ErrorReason.ERROR_REASON_DUP_USER_NAME
    field_docs = describe(name="the name")


class DupUserEmail(CellError):
    """A user with this email exists already."""

    code = StatusCode.ALREADY_EXISTS
    reason = ErrorReason.ERROR_REASON_DUP_USER_EMAIL
    field_docs = describe(email="the email")


class DupRoleName(CellError):
    """A role of this name exists already."""

    code = StatusCode.ALREADY_EXISTS
    reason = ErrorReason.ERROR_REASON_DUP_ROLE_NAME
    field_docs = describe(name="the name")


class NoSuchUser(CellError):
    """No user has this name or iden."""

    code = StatusCode.NOT_FOUND
    reason = ErrorReason.ERROR_REASON_NO_SUCH_USER
    field_docs = describe(user="the iden looked for", username="the name looked for")


class NoSuchRole(CellError):
    """No role has this name or iden."""

    code = StatusCode.NOT_FOUND
    reason = ErrorReason.ERROR_REASON_NO_SUCH_ROLE
    field_docs = describe(role="the iden looked for", name="the name looked for")


class NoSuchAuthGate(CellError):
    """No auth gate has this iden."""

    code = StatusCode.NOT_FOUND
    reason = ErrorReason.ERROR_REASON_NO_SUCH_AUTH_GATE
    field_docs = describe(iden="the gate")
