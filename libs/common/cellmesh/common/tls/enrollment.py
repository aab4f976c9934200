"""From a one-time URL, or a service-account token, to an identity in a folder: what a cell, and a person, does once."""

from __future__ import annotations

import hashlib
import time
from typing import Any, Final

import grpc
from cellmesh.api.aha.v1 import enrollment_pb2, enrollment_service_pb2_grpc
from cellmesh.common.errors import BadCertBytes, BadCertVerify, CellUnreachable, Retry, from_rpc_error
from cellmesh.common.files import write_atomically
from cellmesh.common.rpc.channel import channel_options
from cellmesh.common.tls import certs
from cellmesh.common.tls.contexts import trusting_credentials
from cellmesh.common.tls.enrollment_url import EnrollmentUrl, TokenUrl, is_token_url
from cellmesh.common.tls.folder import IdentityFolder, MeshInfo
from cellmesh.common.tls.identity import registry_name

ENROLL_DEADLINE_S: Final = 15.0
ATTEMPT_DEADLINE_S: Final = 5.0
RETRY_PAUSE_S: Final = 0.5
PENDING_KEY_FILE: Final = "enroll.key"


def enroll(url: str, folder: IdentityFolder, *, timeout_s: float = ENROLL_DEADLINE_S) -> MeshInfo:
    """Use an enrolment URL: make a key, have it certified, and store the identity. Blocks.

    The key is made here and stays here. The answer is checked against the authority in the URL before anything of it is
    stored. The key is kept in the folder until the answer has come: when that is lost, or the process with it, the same
    URL is used again with the same key, which AHA takes for a while.

    Args:
        url: A one-time URL, or one that names a service-account token; see `enrollment_url`.
        folder: Where the identity is stored.
        timeout_s: How long to try where AHA does not answer.

    Returns:
        The name, network and registry addresses, as stored.

    Raises:
        BadUrl, BadCertBytes: the URL cannot be used.
        CellUnreachable: AHA's enrolment port cannot be reached, or is not this network's.
        BadCertVerify: the answer was not issued by the authority in the URL.
        CellError: AHA refused; a used or expired token among others.
    """
    parsed: EnrollmentUrl | TokenUrl = TokenUrl.parse(url) if is_token_url(url) else EnrollmentUrl.parse(url)
    authority = certs.from_der(parsed.authority_der())
    network = certs.network_of_authority(authority)
    key = _key_for(url, folder)
    csr_pem = certs.make_csr(key).decode("ascii")
    try:
        response = _ask(parsed, csr_pem, authority, network, timeout_s)
    except CellUnreachable:
        # It may have been answered: the key is needed for the next attempt.
        raise
    except Exception:
        forget_pending(folder)
        raise
    certificate = certs.from_pem(response.certificate_pem.encode())
    certs.check_issued(certificate, authority)
    identity = certs.identity_of_certificate(certificate)
    if identity is None or identity.network != network:
        raise BadCertVerify(
            "the certificate that AHA answered names nobody of this network", name=response.name
        )
    if certificate.public_key() != key.public_key():
        raise BadCertVerify("the certificate that AHA answered is for another key", name=response.name)
    mesh = MeshInfo(identity.name, network, tuple(response.registry_addresses))
    folder.store(response.certificate_pem.encode(), certs.key_to_pem(key), response.ca_pem.encode(), mesh)
    forget_pending(folder)
    return mesh


def forget_pending(folder: IdentityFolder) -> None:
    """Remove the key of an enrolment that has ended, and the folder if that was all that is in it."""
    (folder.path / PENDING_KEY_FILE).unlink(missing_ok=True)
    if folder.path.is_dir() and not any(folder.path.iterdir()):
        folder.path.rmdir()


def _ask(
    url: EnrollmentUrl | TokenUrl,
    csr_pem: str,
    authority: certs.Certificate,
    network: str,
    timeout_s: float,
) -> enrollment_pb2.EnrollResponse:
    name = registry_name(network)
    until_s = time.monotonic() + timeout_s
    with grpc.secure_channel(
        url.address, trusting_credentials(certs.to_pem(authority)), options=channel_options(name)
    ) as channel:
        stub = enrollment_service_pb2_grpc.EnrollmentServiceStub(channel)
        answered = False
        while True:
            left_s = until_s - time.monotonic()
            try:
                return _send(stub, url, csr_pem, max(0.1, min(left_s, ATTEMPT_DEADLINE_S)))
            except grpc.RpcError as error:
                made = from_rpc_error(error, cell=name, address=url.address)
                # What was never there is told at once; what was cut off is asked again.
                answered = answered or _was_cut(error)
                # Nor is a refusal for now final: AHA's leader waits for the grants of its followers, say.
                may_pass = isinstance(made, Retry) or (isinstance(made, CellUnreachable) and answered)
                if not may_pass or left_s < RETRY_PAUSE_S:
                    raise made from None
            time.sleep(RETRY_PAUSE_S)


def _send(
    stub: Any, url: EnrollmentUrl | TokenUrl, csr_pem: str, timeout_s: float
) -> enrollment_pb2.EnrollResponse:
    if isinstance(url, TokenUrl):
        request = enrollment_pb2.EnrollByTokenRequest(
            token=url.read_token(), instance=url.instance, csr_pem=csr_pem
        )
        by_token: enrollment_pb2.EnrollByTokenResponse = stub.EnrollByToken(request, timeout=timeout_s)
        return by_token.enrolled
    once: enrollment_pb2.EnrollResponse = stub.Enroll(
        enrollment_pb2.EnrollRequest(token=url.token, csr_pem=csr_pem), timeout=timeout_s
    )
    return once


def _was_cut(error: grpc.RpcError) -> bool:
    """Whether the connection was there and broke, so that the request may have arrived."""
    details = str(error.details() or "") if isinstance(error, grpc.Call) else ""
    return "failed to connect" not in details


def _key_for(url: str, folder: IdentityFolder) -> certs.PrivateKey:
    """The key that was made for this very URL and has no certificate yet, or a new one."""
    path = folder.path / PENDING_KEY_FILE
    mark = b"# " + hashlib.sha256(url.strip().encode()).hexdigest().encode() + b"\n"
    try:
        stored = path.read_bytes()
        if stored.startswith(mark):
            return certs.key_from_pem(stored.removeprefix(mark))
    except (FileNotFoundError, BadCertBytes):
        pass
    key = certs.make_key()
    folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(path, mark + certs.key_to_pem(key), mode=0o600)
    return key
