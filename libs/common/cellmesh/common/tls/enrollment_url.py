"""The URLs that bring a cell or a user into a mesh: good once, or with a service-account token.

    cellmesh://HOST:PORT/enroll/TOKEN#CERTIFICATE

HOST:PORT is AHA's enrolment port. TOKEN speaks for the caller, once. CERTIFICATE is the authority's
certificate (DER, base64url without padding): the caller trusts it and nothing else, so the token is told to
no one but this network's AHA. The fragment is long, yet the URL stays one word to copy.

    cellmesh+token://HOST:PORT/INSTANCE?token=PATH&ca=PATH

is for Kubernetes, and holds no secret. INSTANCE is a name such as 00.cortex, or that of a pod of a StatefulSet, such as
cortex-0, which is 00.cortex. `token` is the file of the projected token, `ca` that with the authority's certificate.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from cellmesh.common.addresses import join_host_port, split_host_port
from cellmesh.common.errors import BadUrl

URL_SCHEME: Final = "cellmesh://"
TOKEN_URL_SCHEME: Final = "cellmesh+token://"
TOKEN_FILE_DEFAULT: Final = "/var/run/secrets/cellmesh/token"
AUTHORITY_FILE_DEFAULT: Final = "/etc/cellmesh/ca.crt"
URL_SIZE_MAX: Final = 16 * 1024

_POD = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?)-([0-9]{1,4})")
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

    def authority_der(self) -> bytes:
        """The authority's certificate, DER."""
        return self.ca_der

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


@dataclass(frozen=True, slots=True)
class TokenUrl:
    """A URL that names a service-account token, taken apart.

    Attributes:
        address: AHA's enrolment port as host:port.
        instance: The cell to be, such as "00.cortex".
        token_path: The file of the projected token.
        authority_path: The file with the authority's certificate.
    """

    address: str
    instance: str
    token_path: Path
    authority_path: Path

    def authority_der(self) -> bytes:
        """The authority's certificate, DER. Raises BadUrl, BadCertBytes."""
        from cellmesh.common.tls import certs

        try:
            return certs.to_der(certs.from_pem(self.authority_path.read_bytes()))
        except OSError as error:
            raise BadUrl(f"the authority's certificate cannot be read: {error}") from error

    def read_token(self) -> str:
        """The token as it is now: the cluster renews the file. Raises BadUrl."""
        try:
            return self.token_path.read_text().strip()
        except OSError as error:
            raise BadUrl(f"the service-account token cannot be read: {error}") from error

    @classmethod
    def parse(cls, text: str) -> TokenUrl:
        """Read a URL. Raises BadUrl."""
        head, _, query = text.strip().removeprefix(TOKEN_URL_SCHEME).partition("?")
        address, slash, name = head.partition("/")
        given = parse_qs(query)
        if not (is_token_url(text) and slash and name) or not given.keys() <= {"token", "ca"}:
            raise BadUrl(
                "an enrolment URL with a token has the form cellmesh+token://HOST:PORT/INSTANCE?token=PATH&ca=PATH"
            )
        try:
            host, port = split_host_port(address)
        except ValueError as error:
            raise BadUrl(f"the address in the enrolment URL cannot be used: {error}") from error
        pod = _POD.fullmatch(name)
        return cls(
            join_host_port(host, port),
            f"{int(pod[3]):02}.{pod[1]}" if pod else name,
            Path(given.get("token", [TOKEN_FILE_DEFAULT])[0]),
            Path(given.get("ca", [AUTHORITY_FILE_DEFAULT])[0]),
        )


def is_token_url(text: str) -> bool:
    """Whether this is a URL that names a service-account token."""
    return text.strip().startswith(TOKEN_URL_SCHEME)
