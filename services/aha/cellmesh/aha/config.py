"""AHA's settings, beside those of every cell."""

from __future__ import annotations

from typing import Annotated, ClassVar

from cellmesh.common.config import CellConfig
from cellmesh.common.config.spec import HostPort
from cellmesh.common.errors import BadName
from cellmesh.common.tls.identity import check_label
from pydantic import AfterValidator, Field


def _check_network(text: str) -> str:
    try:
        check_label(text, "network")
    except BadName as error:
        raise ValueError(error.message) from None
    return text


class AhaConfig(CellConfig):
    """Settings of AHA."""

    kind: ClassVar[str] = "aha"

    network: Annotated[str, AfterValidator(_check_network)] = Field(
        "mesh",
        description="Name of the network: the end of every name in the mesh. Fixed once AHA has started.",
    )
    enroll_listen: HostPort = Field(
        "127.0.0.1:0",
        description="TCP address of the enrolment port, as host:port. Port 0 takes any free one; enrolment URLs "
        "then end with the process.",
    )
    certificate_lifetime_days: int = Field(
        90, ge=1, le=3650, description="For how long certificates of cells and users are valid, in days."
    )
    authority_lifetime_days: int = Field(
        3650, ge=1, le=36500, description="For how long the authority's own certificate is valid, in days."
    )
    restart_grace_s: float = Field(
        30.0,
        ge=0.0,
        le=600.0,
        description="How long AHA holds registrations from before its restart until they must be renewed, in seconds.",
    )
