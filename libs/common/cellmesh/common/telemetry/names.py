"""Every metric, span attribute and fixed log-field name. A new one is added here, so that each has one spelling."""

from __future__ import annotations

from typing import Final

# Log fields that every line may have.
FIELD_TIME: Final = "time"
FIELD_LEVEL: Final = "level"
FIELD_EVENT: Final = "event"
FIELD_LOGGER: Final = "logger"
FIELD_CELL: Final = "cell"
FIELD_REQUEST_ID: Final = "request_id"
FIELD_METHOD: Final = "method"
FIELD_CALLER: Final = "caller"
FIELD_TRACE_ID: Final = "trace_id"
FIELD_ERROR: Final = "error"
FIELD_TRACEBACK: Final = "traceback"

# Metadata keys on the wire.
METADATA_REQUEST_ID: Final = "x-request-id"
METADATA_TRACE_PARENT: Final = "traceparent"

# Metrics. Durations are seconds, sizes bytes, as OpenTelemetry asks.
METRIC_RPC_DURATION: Final = "rpc.server.duration"
METRIC_RPC_ACTIVE: Final = "rpc.server.active"
METRIC_MEMORY: Final = "process.memory.usage"
METRIC_READY: Final = "cellmesh.ready"
METRIC_READ_ONLY: Final = "cellmesh.read_only"
METRIC_DISK_FREE: Final = "cellmesh.disk.free"
METRIC_TASKS: Final = "cellmesh.tasks.running"
METRIC_STREAMS: Final = "cellmesh.tasks.streams"
METRIC_CHANGE_OFFSET: Final = "cellmesh.change.offset"
METRIC_MAP_SIZE: Final = "cellmesh.storage.map"
METRIC_USED: Final = "cellmesh.storage.used"
METRIC_READERS: Final = "cellmesh.storage.readers"
METRIC_COMMITS: Final = "cellmesh.storage.commits"
METRIC_ABORTS: Final = "cellmesh.storage.aborts"
METRIC_GROWTHS: Final = "cellmesh.storage.growths"

# Span and metric attributes.
ATTRIBUTE_METHOD: Final = "rpc.method"
ATTRIBUTE_SERVICE: Final = "rpc.service"
ATTRIBUTE_STATUS: Final = "rpc.grpc.status_code"
ATTRIBUTE_SYSTEM: Final = "rpc.system"
ATTRIBUTE_CELL: Final = "cellmesh.cell"
ATTRIBUTE_CALLER: Final = "cellmesh.caller"
ATTRIBUTE_REQUEST_ID: Final = "cellmesh.request_id"
