"""The Cryotank's settings, beside those of every cell."""

from __future__ import annotations

from typing import ClassVar

from cellmesh.common.config import CellConfig


class CryotankConfig(CellConfig):
    """Settings of a Cryotank."""

    kind: ClassVar[str] = "cryotank"
