"""The certificate authority.

authority   Authority: the key and certificate of a network; issuing
revocations what is not to be trusted any more
journal     what was issued, durably
identities  AHA's own certificate, and that of the root user
"""

from __future__ import annotations

from cellmesh.aha.ca.authority import Authority
from cellmesh.aha.ca.journal import Journal

__all__ = ["Authority", "Journal"]
