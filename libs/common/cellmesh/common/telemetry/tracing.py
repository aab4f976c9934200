"""Spans of calls, sent to an OpenTelemetry collector when one is configured.

Nothing of OpenTelemetry is imported before `configure_telemetry` is called with something to do, and while it is
off calls are not wrapped at all: `call_recorder` answers None.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cellmesh.common.auth.context import find_current_call
from cellmesh.common.telemetry import names
from cellmesh.common.telemetry.metrics import CallMeter

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider


class _Telemetry:
    """The providers of this process while telemetry is on."""

    def __init__(self, tracers: TracerProvider | None, meters: MeterProvider) -> None:
        self.tracers = tracers
        self.meters = meters
        self.tracer = tracers.get_tracer("cellmesh") if tracers is not None else None
        self.own_meter = meters.get_meter("cellmesh")
        self.meter = CallMeter(self.own_meter)


_telemetry: _Telemetry | None = None


def configure_telemetry(
    endpoint: str, *, cell: str, cell_id: str = "", version: str = "", readers: Sequence[Any] = ()
) -> Meter | None:
    """Send traces and metrics of this process to a collector (OTLP over gRPC). Call it before servers are built.

    Args:
        endpoint: Such as "http://127.0.0.1:4317"; https uses TLS with the system's authorities. Empty: off.
        cell: The name that tells this cell's spans from others'.
        cell_id: The cell's identifier.
        version: The version of Cellmesh.
        readers: Further metric readers of OpenTelemetry's SDK.

    Returns:
        The meter for more figures; None while everything is off.
    """
    if not endpoint:
        if readers:
            install(None, *readers, cell=cell, cell_id=cell_id, version=version)
        return _telemetry.own_meter if readers and _telemetry is not None else None
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    insecure = not endpoint.startswith("https:")
    install(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=insecure)),
        PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=endpoint, insecure=insecure)),
        *readers,
        cell=cell,
        cell_id=cell_id,
        version=version,
    )
    return _telemetry.own_meter if _telemetry is not None else None


def install(processor: Any, *readers: Any, cell: str, cell_id: str = "", version: str = "") -> None:
    """Turn telemetry on with a span processor (None: no spans) and metric readers of OpenTelemetry's SDK."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    global _telemetry
    resource = Resource.create(
        {"service.name": cell, "service.instance.id": cell_id, "service.version": version}
    )
    tracers: TracerProvider | None = None
    if processor is not None:
        tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        tracers.add_span_processor(processor)
    meters = MeterProvider(metric_readers=readers, resource=resource, shutdown_on_exit=False)
    _telemetry = _Telemetry(tracers, meters)


def stop_telemetry() -> None:
    """Send what is left and turn telemetry off. May wait for the collector some seconds."""
    global _telemetry
    telemetry, _telemetry = _telemetry, None
    if telemetry is not None:
        if telemetry.tracers is not None:
            telemetry.tracers.shutdown()
        telemetry.meters.shutdown()


def call_recorder(service: str, method: str) -> CallRecorder | None:
    """Return what records the calls of a method, None while telemetry is off."""
    return CallRecorder(_telemetry, service, method) if _telemetry is not None else None


def outgoing_metadata() -> list[tuple[str, str]]:
    """Metadata that ties a call made while serving another one to it: request id and trace."""
    call = find_current_call()
    found = [(names.METADATA_REQUEST_ID, call.request_id)] if call is not None else []
    if _telemetry is not None and _telemetry.tracer is not None:
        from opentelemetry import trace

        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            parent = f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
            found.append((names.METADATA_TRACE_PARENT, parent))
    return found


class SpanHandle:
    """One recorded call."""

    __slots__ = ("status",)

    def __init__(self) -> None:
        self.status = 0

    def failed(self, status: int) -> None:
        """Say that the call ended with this gRPC status code."""
        self.status = status


class CallRecorder:
    """Records the calls of one method as spans and durations."""

    def __init__(self, telemetry: _Telemetry, service: str, method: str) -> None:
        self._telemetry = telemetry
        self._service = service
        self._method = method
        self._attributes: dict[str, Any] = {
            names.ATTRIBUTE_SYSTEM: "grpc",
            names.ATTRIBUTE_SERVICE: service,
            names.ATTRIBUTE_METHOD: method,
        }

    @contextmanager
    def record(self, metadata: Iterable[tuple[str, str | bytes]]) -> Iterator[SpanHandle]:
        """Record what happens inside. A `traceparent` among the metadata is the parent."""
        tracer = self._telemetry.tracer
        if tracer is None:
            with self._measured() as handle:
                yield handle
            return
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {key: value for key, value in metadata if isinstance(value, str)}
        parent = TraceContextTextMapPropagator().extract(carrier)
        span = tracer.start_span(
            f"{self._service}/{self._method}",
            context=parent,
            kind=trace.SpanKind.SERVER,
            attributes=self._attributes,
        )
        with (
            self._measured() as handle,
            trace.use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False),
        ):
            try:
                yield handle
            finally:
                call = find_current_call()
                if call is not None:
                    span.set_attribute(names.ATTRIBUTE_REQUEST_ID, call.request_id)
                    span.set_attribute(names.ATTRIBUTE_CALLER, call.caller.name)
                span.set_attribute(names.ATTRIBUTE_STATUS, handle.status)
                if handle.status:
                    span.set_status(trace.Status(trace.StatusCode.ERROR))
                span.end()

    @contextmanager
    def _measured(self) -> Iterator[SpanHandle]:
        """Measure what happens inside."""
        handle = SpanHandle()
        meter, attributes = self._telemetry.meter, self._attributes
        began = time.perf_counter()
        meter.began(attributes)
        try:
            yield handle
        finally:
            meter.ended(attributes, time.perf_counter() - began, handle.status)
