"""The Axon's settings, beside those of every cell."""

from __future__ import annotations

from pathlib import Path
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
    blob_count_max: int | None = Field(
        None, ge=0, description="Blobs that may be stored; no limit when unset."
    )
    size_max_bytes: int | None = Field(
        None,
        ge=0,
        description="Sum of the sizes of the blobs that may be stored, in bytes; no limit when unset.",
    )
    upload_keep_s: float = Field(
        86400.0,
        ge=1,
        description="How long an upload that broke off and may be gone on with is kept after it was begun, in seconds.",
    )
    web_proxy: str = Field(
        "",
        description="URL of the proxy of the Axon's own requests to the web, http or https; empty means none.",
    )
    web_ca_dir: Path | None = Field(
        None,
        description="Folder of PEM files: certificates that the Axon's own requests to the web trust beside those of "
        "the system.",
    )
    web_size_max_bytes: int | None = Field(
        None,
        ge=0,
        description="Size of an answer from the web that is stored, in bytes; no limit when unset.",
    )
