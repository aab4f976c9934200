"""Who a connection's certificate speaks for, and whether it still counts.

TLS has checked the certificate when the connection was made. Connections last, so each call looks again: a certificate
that was revoked since, or has run out, is refused on connections that are open. What a certificate says is read once and
remembered.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.auth.context import Caller, CallerKind, caller_of_identity
from cellmesh.common.errors import CellError, CertRevoked
from cellmesh.common.tls.identity import CellIdentity, identity_of_names

if TYPE_CHECKING:
    import grpc
    from cellmesh.common.tls.revocation import RevocationList

SUBJECT_NAMES_KEY: Final = "x509_subject_alternative_name"
CERTIFICATE_KEY: Final = "x509_pem_cert"
KNOWN_COUNT_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    ends_s: float


class PeerCertificates:
    """Finds the caller that a certificate speaks for. Used in the event loop.

    Args:
        own: The name of the cell that serves, if it has one.
        revoked: What is revoked; None where nobody tells.
    """

    def __init__(self, own: CellIdentity | None, revoked: RevocationList | None) -> None:
        self._own = own
        self._revoked = revoked
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    def caller(self, context: grpc.aio.ServicerContext[Any, Any]) -> Caller:
        """Who calls. Raises CertRevoked when the certificate does not count any more."""
        shown = context.auth_context()
        pem = next(iter(shown.get(CERTIFICATE_KEY, ())), b"")
        if not pem:
            return caller_of_identity(identity_of_names(shown.get(SUBJECT_NAMES_KEY, ())), self._own)
        known = self._known.get(pem)
        if known is None:
            known = self._remember(pem, shown.get(SUBJECT_NAMES_KEY, ()))
        caller = known.caller
        if self._revoked is not None and caller.serial in self._revoked:
            raise CertRevoked(
                f"the certificate of {caller.name or 'the caller'} was revoked",
                username=caller.name,
                serial=caller.serial,
                hint="enrol anew: ask for a URL from `cellmesh aha provision`",
            )
        # An instance of the same service keeps its connections for as long as it follows, and renews meanwhile.
        if known.ends_s < time.time() and not caller.peer:
            raise CertRevoked(
                f"the certificate of {caller.name or 'the caller'} has run out while its connection was open",
                username=caller.name,
                serial=caller.serial,
                hint="connect again, with the renewed certificate",
            )
        return caller

    def _remember(self, pem: bytes, names: Any) -> _Known:
        from cellmesh.common.tls import certs

        caller = caller_of_identity(identity_of_names(names), self._own)
        ends_s = float("inf")
        try:
            certificate = certs.from_pem(pem)
        except CellError:
            # TLS has read it, so this is one of a form that we do not issue: it names nobody of ours.
            caller = replace(
                caller, kind=CallerKind.ANONYMOUS, identity=None, name="", admin=False, peer=False
            )
        else:
            ends_s = certificate.not_valid_after_utc.timestamp()
            caller = replace(caller, serial=certs.serial_text(certificate))
        found = self._known[pem] = _Known(caller, ends_s)
        if len(self._known) > KNOWN_COUNT_MAX:
            self._known.popitem(last=False)
        return found
