"""Who may call what, one row a method."""

from __future__ import annotations

from typing import Final

from cellmesh.api.aha.v1 import (
    enrollment_service_pb2,
    leadership_service_pb2,
    pool_service_pb2,
    registry_service_pb2,
)
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS, Changes, Level, Permission, PermissionTable

REGISTRY_SERVICE: Final = registry_service_pb2.DESCRIPTOR.services_by_name["RegistryService"]
ENROLLMENT_SERVICE: Final = enrollment_service_pb2.DESCRIPTOR.services_by_name["EnrollmentService"]
CERTIFICATE_SERVICE: Final = enrollment_service_pb2.DESCRIPTOR.services_by_name["CertificateService"]
LEADERSHIP_SERVICE: Final = leadership_service_pb2.DESCRIPTOR.services_by_name["LeadershipService"]
POOL_SERVICE: Final = pool_service_pb2.DESCRIPTOR.services_by_name["PoolService"]

SERVICES: Final = (
    REGISTRY_SERVICE.full_name,
    ENROLLMENT_SERVICE.full_name,
    CERTIFICATE_SERVICE.full_name,
    LEADERSHIP_SERVICE.full_name,
    POOL_SERVICE.full_name,
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
    "/cellmesh.api.aha.v1.RegistryService/SetInstanceDown": Permission(
        Level.MEMBER, "aha.instance.down", Changes.YES
    ),
    "/cellmesh.api.aha.v1.RegistryService/ListServices": Permission(Level.MEMBER, "aha.instance.get"),
    "/cellmesh.api.aha.v1.RegistryService/GetNetwork": Permission(Level.MEMBER, "aha.instance.get"),
    "/cellmesh.api.aha.v1.PoolService/CreatePool": Permission(Level.ADMIN, "aha.pool.create", Changes.YES),
    "/cellmesh.api.aha.v1.PoolService/DeletePool": Permission(Level.ADMIN, "aha.pool.delete", Changes.YES),
    "/cellmesh.api.aha.v1.PoolService/GetPool": Permission(Level.MEMBER, "aha.pool.get"),
    "/cellmesh.api.aha.v1.PoolService/ListPools": Permission(Level.MEMBER, "aha.pool.get"),
    "/cellmesh.api.aha.v1.PoolService/AddPoolMember": Permission(Level.ADMIN, "aha.pool.update", Changes.YES),
    "/cellmesh.api.aha.v1.PoolService/RemovePoolMember": Permission(
        Level.ADMIN, "aha.pool.update", Changes.YES
    ),
    # Served on the enrolment port alone; the token speaks for the caller.
    "/cellmesh.api.aha.v1.EnrollmentService/Enroll": Permission(Level.ANYONE, "aha.enroll", Changes.YES),
    "/cellmesh.api.aha.v1.EnrollmentService/EnrollByToken": Permission(
        Level.ANYONE, "aha.enroll", Changes.YES
    ),
    "/cellmesh.api.aha.v1.CertificateService/ListEnrollments": Permission(Level.ADMIN, "aha.enrollment.list"),
    "/cellmesh.api.aha.v1.CertificateService/DeleteEnrollments": Permission(
        Level.ADMIN, "aha.enrollment.delete", Changes.YES
    ),
    "/cellmesh.api.aha.v1.CertificateService/GetAuthority": Permission(Level.MEMBER, "aha.certificate.get"),
    "/cellmesh.api.aha.v1.CertificateService/ListCertificates": Permission(
        Level.ADMIN, "aha.certificate.list"
    ),
    "/cellmesh.api.aha.v1.CertificateService/RevokeCertificates": Permission(
        Level.ADMIN, "aha.certificate.revoke", Changes.YES
    ),
    "/cellmesh.api.aha.v1.CertificateService/WatchRevocations": Permission(
        Level.MEMBER, "aha.certificate.get"
    ),
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
