"""Counts and durations of calls, as OpenTelemetry instruments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.telemetry import names

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

DURATION_BOUNDS_S: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip


class CallMeter:
    """The instruments of the server side of calls."""

    def __init__(self, meter: Meter) -> None:
        self._duration = meter.create_histogram(
            names.METRIC_RPC_DURATION,
            unit="s",
            description="How long calls took.",
            explicit_bucket_boundaries_advisory=DURATION_BOUNDS_S,
        )
        self._active = meter.create_up_down_counter(
            names.METRIC_RPC_ACTIVE, unit="{call}", description="Calls being served."
        )

    def began(self, attributes: dict[str, Any]) -> None:
        """A call has begun."""
        self._active.add(1, attributes)

    def ended(self, attributes: dict[str, Any], duration_s: float, status: int) -> None:
        """A call has ended with this gRPC status code."""
        self._active.add(-1, attributes)
        self._duration.record(duration_s, {**attributes, names.ATTRIBUTE_STATUS: status})
