"""The one-time URL that brings a cell or a user into a mesh.

    cellmesh://HOST:PORT/enroll/TOKEN#CERTIFICATE

HOST:PORT is AHA's enrolment port. TOKEN speaks for the caller, once. CERTIFICATE is the authority's
certificate (DER, base64url without padding): the caller trusts it and nothing else, so the token is told to
no one but this network's AHA. The fragment is long, yet the URL stays one word to copy.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Final

from cellmesh.common.addresses import join_host_port, split_host_port
from cellmesh.common.errors import BadUrl

URL_SCHEME: Final = "cellmesh://"
URL_SIZE_MAX: Final = 16 * 1024

_TOKEN = re.compile(r"[A-Za-z0-9_-]{8,256}")


@dataclass(frozen=True, slots=True)
class EnrollmentUrl:
    """An enrolment URL, taken apart. Its text is a secret; `repr` leaves the token out."""

    host: str
    port: int
    token: str = field(repr=False)
    ca_der: bytes = field(repr=False)

    def format(self) -> str:
        """Write the URL."""
        certificate = base64.urlsafe_b64encode(self.ca_der).rstrip(b"=").decode("ascii")
        return f"{URL_SCHEME}{join_host_port(self.host, self.port)}/enroll/{self.token}#{certificate}"

    @property
    def address(self) -> str:
        """The enrolment port as host:port."""
        return join_host_port(self.host, self.port)

    @classmethod
    def parse(cls, text: str) -> EnrollmentUrl:
        """Read a URL.

        Raises:
            BadUrl: it is not an enrolment URL. The message does not repeat it, as it holds a secret.
        """
        text = text.strip()
        if len(text) > URL_SIZE_MAX or not text.startswith(URL_SCHEME):
            raise BadUrl(
                "an enrolment URL starts with cellmesh:// and is given out by `cellmesh aha provision`"
            )
        head, hash_sign, certificate = text[len(URL_SCHEME) :].partition("#")
        parts = head.split("/")
        if len(parts) != 3 or parts[1] != "enroll" or not hash_sign:
            raise BadUrl("an enrolment URL has the form cellmesh://HOST:PORT/enroll/TOKEN#CERTIFICATE")
        try:
            host, port = split_host_port(parts[0])
        except ValueError as error:
            raise BadUrl(f"the address in the enrolment URL cannot be used: {error}") from error
        if port == 0 or not _TOKEN.fullmatch(parts[2]):
            raise BadUrl("the port or the token of the enrolment URL cannot be used: was it cut when copied?")
        try:
            padded = certificate + "=" * (-len(certificate) % 4)
            ca_der = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error) as error:
            raise BadUrl(
                "the certificate in the enrolment URL cannot be read: was it cut when copied?"
            ) from error
        if not ca_der:
            raise BadUrl("the enrolment URL carries no certificate: was it cut when copied?")
        return cls(host, port, parts[2], ca_der)
