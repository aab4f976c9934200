"""Who may call what, one row a method."""

from __future__ import annotations

from typing import Final

from cellmesh.api.aha.v1 import enrollment_service_pb2, leadership_service_pb2, registry_service_pb2
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS, Changes, Level, Permission, PermissionTable

REGISTRY_SERVICE: Final = registry_service_pb2.DESCRIPTOR.services_by_name["RegistryService"]
ENROLLMENT_SERVICE: Final = enrollment_service_pb2.DESCRIPTOR.services_by_name["EnrollmentService"]
CERTIFICATE_SERVICE: Final = enrollment_service_pb2.DESCRIPTOR.services_by_name["CertificateService"]
LEADERSHIP_SERVICE: Final = leadership_service_pb2.DESCRIPTOR.services_by_name["LeadershipService"]

SERVICES: Final = (
    REGISTRY_SERVICE.full_name,
    ENROLLMENT_SERVICE.full_name,
    CERTIFICATE_SERVICE.full_name,
    LEADERSHIP_SERVICE.full_name,
)
"""The services that this cell alone has."""

PERMISSIONS: Final[PermissionTable] = {
    **COMMON_PERMISSIONS,
    # The handlers see to it that a cell speaks for itself alone.
    "/cellmesh.api.aha.v1.RegistryService/RegisterInstance": Permission(
        Level.MEMBER, "aha.instance.register", Changes.YES
    ),
    "/cellmesh.api.aha.v1.RegistryService/RenewInstance": Permission(
        Level.MEMBER, "aha.instance.register", Changes.YES
    ),
    "/cellmesh.api.aha.v1.RegistryService/UnregisterInstance": Permission(
        Level.MEMBER, "aha.instance.register", Changes.YES
    ),
    "/cellmesh.api.aha.v1.RegistryService/GetService": Permission(Level.MEMBER, "aha.instance.get"),
    "/cellmesh.api.aha.v1.RegistryService/ListInstances": Permission(Level.MEMBER, "aha.instance.get"),
    "/cellmesh.api.aha.v1.RegistryService/WatchInstances": Permission(Level.MEMBER, "aha.instance.get"),
    # Served on the enrolment port alone; the token speaks for the caller.
    "/cellmesh.api.aha.v1.EnrollmentService/Enroll": Permission(Level.ANYONE, "aha.enroll", Changes.YES),
    "/cellmesh.api.aha.v1.CertificateService/CreateEnrollment": Permission(
        Level.ADMIN, "aha.enrollment.create", Changes.YES
    ),
    "/cellmesh.api.aha.v1.CertificateService/RenewCertificate": Permission(
        Level.MEMBER, "aha.certificate.renew", Changes.YES
    ),
    # The handlers take cells alone, each for itself.
    "/cellmesh.api.aha.v1.LeadershipService/ClaimLeadership": Permission(
        Level.MEMBER, "aha.leadership.hold", Changes.YES
    ),
    "/cellmesh.api.aha.v1.LeadershipService/RenewLeadership": Permission(
        Level.MEMBER, "aha.leadership.hold", Changes.YES
    ),
    "/cellmesh.api.aha.v1.LeadershipService/TransferLeadership": Permission(
        Level.MEMBER, "aha.leadership.hold", Changes.YES
    ),
    "/cellmesh.api.aha.v1.LeadershipService/GetLeadership": Permission(Level.MEMBER, "aha.leadership.get"),
}
