"""Keys, certificates and what they protect."""

from __future__ import annotations

from cellmesh.common.errors.base import CellError, ErrorReason, StatusCode, describe


class CryptoErr(CellError):
    """Encrypting, decrypting, signing or verifying failed."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_CRYPTO_ERR
    field_docs = describe(name="the operation")


class BadEccExchange(CryptoErr):
    """A key exchange did not end with a shared key."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_ECC_EXCHANGE
    field_docs = describe()


class BadCertBytes(CellError):
    """Bytes are no certificate."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_CERT_BYTES
    field_docs = describe(name="the certificate, if it has a name")


class BadCertHost(CellError):
    """A certificate is for another host than the one spoken to."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_BAD_CERT_HOST
    field_docs = describe(host="the host spoken to")


class BadCertVerify(CellError):
    """A certificate does not verify."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_BAD_CERT_VERIFY
    field_docs = describe(name="the certificate")


class NoCertKey(CellError):
    """A certificate's private key is not there."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_NO_CERT_KEY
    field_docs = describe(name="the certificate")


class NoSuchCert(CellError):
    """No certificate has this name."""

    code = StatusCode.NOT_FOUND
    reason = ErrorReason.ERROR_REASON_NO_SUCH_CERT
    field_docs = describe(name="the certificate")
