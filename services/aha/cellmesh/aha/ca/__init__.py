"""The certificate authority.

revocations what is not to be trusted any more
journal     what was issued, durably
identities  AHA's own certificate, and that of the root user
"""

from __future__ import annotations

from cellmesh.aha.ca.journal import Journal
from cellmesh.common.tls.authority import Authority

__all__ = ["Authority", "Journal"]
