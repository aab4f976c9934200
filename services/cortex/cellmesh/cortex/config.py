"""Settings of a Cortex."""

from __future__ import annotations

from typing import ClassVar

from cellmesh.common.config import CellConfig
from pydantic import Field


class CortexConfig(CellConfig):
    """What a Cortex can be told, beside what every cell can."""

    kind: ClassVar[str] = "cortex"
    query_depth_max: int = Field(
        default=100,
        ge=10,
        le=1000,
        description="Deepest nesting of Storm functions and nested queries, in calls.",
    )
    query_time_max_s: float = Field(
        default=0.0,
        ge=0.0,
        description="Longest time that a Storm query may run, in seconds; 0 for no limit.",
    )
    query_rows_max: int = Field(
        default=0,
        ge=0,
        description="Most rows that lifts, pivots and turns of loops of a Storm query may give; 0 for no limit.",
    )
    query_memory_max_bytes: int = Field(
        default=2 * 1024**3,
        ge=0,
        description="Most memory that the values of a Storm query may take, in bytes; 0 for no limit.",
    )
    axon: str = Field(
        default="aha://axon",
        description="Where the Axon is that keeps contents for queries. It is connected at its first use.",
    )
