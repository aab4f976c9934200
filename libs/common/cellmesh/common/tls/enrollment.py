"""From a one-time URL to an identity in a folder: what a cell, and a person, does once."""

from __future__ import annotations

from typing import Final

import grpc
from cellmesh.api.aha.v1 import enrollment_pb2, enrollment_service_pb2_grpc
from cellmesh.common.errors import BadCertVerify, from_rpc_error
from cellmesh.common.rpc.channel import channel_options
from cellmesh.common.tls import certs
from cellmesh.common.tls.contexts import trusting_credentials
from cellmesh.common.tls.enrollment_url import EnrollmentUrl
from cellmesh.common.tls.folder import IdentityFolder, MeshInfo
from cellmesh.common.tls.identity import registry_name

ENROLL_DEADLINE_S: Final = 15.0


def enroll(url: str, folder: IdentityFolder, *, timeout_s: float = ENROLL_DEADLINE_S) -> MeshInfo:
    """Use an enrolment URL: make a key, have it certified, and store the identity. Blocks.

    The key is made here and stays here. The answer is checked against the authority in the URL before
    anything is stored.

    Returns:
        The name, network and registry addresses, as stored.

    Raises:
        BadUrl, BadCertBytes: the URL cannot be used.
        CellUnreachable: AHA's enrolment port cannot be reached, or is not this network's.
        BadCertVerify: the answer was not issued by the authority in the URL.
        CellError: AHA refused; a used or expired token among others.
    """
    parsed = EnrollmentUrl.parse(url)
    authority = certs.from_der(parsed.ca_der)
    network = certs.network_of_authority(authority)
    key = certs.make_key()
    request = enrollment_pb2.EnrollRequest(token=parsed.token, csr_pem=certs.make_csr(key).decode("ascii"))
    name = registry_name(network)
    with grpc.secure_channel(
        parsed.address, trusting_credentials(certs.to_pem(authority)), options=channel_options(name)
    ) as channel:
        stub = enrollment_service_pb2_grpc.EnrollmentServiceStub(channel)
        try:
            response = stub.Enroll(request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise from_rpc_error(error, cell=name, address=parsed.address) from None
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
    return mesh
