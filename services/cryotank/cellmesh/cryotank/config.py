"""The Cryotank's settings, beside those of every cell."""

from __future__ import annotations

from typing import ClassVar

from cellmesh.common.config import CellConfig
from pydantic import Field


class CryotankConfig(CellConfig):
    """Settings of a Cryotank."""

    kind: ClassVar[str] = "cryotank"

    log_compression: bool = Field(
        False,
        description="Whether records are compressed in the change log. Takes less of the disk until the log is trimmed, "
        "and more time of each append.",
    )
