"""What a cell tells about itself while it runs.

names    every log field and metric name
logs     structured log lines: text for people, JSON for machines
tracing  spans, sent only when a collector is configured; costs nothing otherwise
metrics  counts and durations, likewise
observed    the figures of a cell: storage, change log, tasks, memory
endpoint    /metrics, /healthz and /readyz over HTTP
log_levels  levels of loggers, changed while the process runs
"""
