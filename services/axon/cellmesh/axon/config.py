"""The Axon's settings, beside those of every cell."""

from __future__ import annotations

from typing import ClassVar

from cellmesh.axon.blobs.store import CHUNK_SIZE_DEFAULT
from cellmesh.common.config import CellConfig
from pydantic import Field


class AxonConfig(CellConfig):
    """Settings of an Axon."""

    kind: ClassVar[str] = "axon"

    chunk_size_bytes: int = Field(
        CHUNK_SIZE_DEFAULT,
        ge=4096,
        le=1 << 20,
        description="Size of a stored chunk of blobs added from now on, in bytes.",
    )
