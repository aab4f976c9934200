"""One-time enrolments.

subjects     who may enrol: names and their checks
records      Enrollment: what is stored, and how it is found
tokens       TokenChecker: Kubernetes service-account tokens in place of URLs
enrollments  Enrollments: tokens made, kept as hashes, used up once; certificates for those who have one
"""

from __future__ import annotations

from cellmesh.aha.provisioning.enrollments import Enrollments

__all__ = ["Enrollments"]
