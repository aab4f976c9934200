"""Structured logs: an event in snake_case and fields, one line each.

    2026-11-21T10:00:00.123Z info  serving  addresses=127.0.0.1:40123 request_id=...     (text, on a terminal)
    {"time": "2026-11-21T10:00:00.123Z", "level": "info", "event": "serving", ...}        (JSON)

Lines go to standard error. The id of the request being served is added to each line. Fields are plain data;
a field whose name says it is a secret is masked whatever it holds, so that a mistake does not tell it.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any, Final, Literal, TextIO

from cellmesh.common.telemetry import names

LogFormat = Literal["auto", "text", "json"]

MASKED: Final = "********"
VALUE_SIZE_MAX: Final = 4096
ROOT_LOGGER: Final = "cellmesh"

_SECRET_NAME = re.compile(
    r"(^|_)(password|passwd|secret|token|apikey|api_key|private_key|enroll|credentials?)($|_)"
)
_FIELDS_KEY: Final = "cellmesh_fields"
_PLAIN_TEXT = re.compile(r"[^\s\"'=\\\x00-\x1f\x7f]+")


class StructuredLogger:
    """A logger whose lines are an event with fields. Cheap when the level is off."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, /, **fields: Any) -> None:
        """Log what only a developer wants to see."""
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        """Log a change in the life of the cell."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        """Log what an operator should look at."""
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, /, *, exc_info: BaseException | None = None, **fields: Any) -> None:
        """Log a failure, with the whole exception when it is given."""
        self._log(logging.ERROR, event, fields, exc_info)

    def _log(
        self, level: int, event: str, fields: dict[str, Any], exc_info: BaseException | None = None
    ) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, exc_info=exc_info, extra={_FIELDS_KEY: fields})


def get_logger(name: str) -> StructuredLogger:
    """Return the logger of a module: `_log = get_logger(__name__)`."""
    return StructuredLogger(logging.getLogger(name))


def configure_logs(
    level: str = "info", log_format: LogFormat = "auto", *, cell: str = "", stream: TextIO | None = None
) -> None:
    """Send log lines to a stream. Called once, before anything else a process does; again to change it.

    Args:
        level: Least severity: debug, info, warning or error.
        log_format: text, json, or auto (text when the stream is a terminal).
        cell: The name of the cell, added to every JSON line.
        stream: Where lines go; standard error when left out.
    """
    stream = stream or sys.stderr
    as_text = log_format == "text" or (log_format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter(cell))
    handler.addFilter(_is_worth_a_line)
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    # Other libraries speak up only when something is wrong; our own level is the one configured.
    root.setLevel(logging.WARNING)
    logging.getLogger(ROOT_LOGGER).setLevel(level.upper())


def mask(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Copy fields with the values of secrets masked."""
    return {key: MASKED if _SECRET_NAME.search(key) and value else value for key, value in fields.items()}


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, cell: str = "") -> None:
        super().__init__()
        self._cell = cell

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        line: dict[str, Any] = {
            names.FIELD_TIME: _time_text(record.created),
            names.FIELD_LEVEL: record.levelname.lower(),
            names.FIELD_EVENT: record.getMessage(),
            names.FIELD_LOGGER: record.name,
        }
        if self._cell:
            line[names.FIELD_CELL] = self._cell
        for key, value in _fields_of(record).items():
            line.setdefault(key, _json_value(value))
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """One readable line: time, level, event, key=value; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        fields = _fields_of(record)
        told = fields.pop(names.FIELD_TRACEBACK, None)
        parts = [_time_text(record.created), f"{record.levelname.lower():<7}", record.getMessage()]
        parts += [f"{key}={_text_value(value)}" for key, value in fields.items()]
        line = " ".join(parts)
        return f"{line}\n{told}" if told else line


def _fields_of(record: logging.LogRecord) -> dict[str, Any]:
    # Imported here because the context imports errors, and errors are slow to import for a mere `--help`.
    from cellmesh.common.auth.context import find_current_call

    fields = mask(getattr(record, _FIELDS_KEY, {}))
    call = find_current_call()
    if call is not None:
        fields.setdefault(names.FIELD_REQUEST_ID, call.request_id)
        fields.setdefault(names.FIELD_METHOD, call.method)
        if call.caller.name:
            fields.setdefault(names.FIELD_CALLER, call.caller.name)
    if record.exc_info and record.exc_info[1] is not None:
        fields[names.FIELD_TRACEBACK] = "".join(traceback.format_exception(record.exc_info[1])).rstrip()
    return fields


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    # grpc.aio's poller logs this, at error level, when another thread was quicker to read the wake-up.
    return not (record.name == "asyncio" and "PollerCompletionQueue._handle_events" in record.getMessage())


def _time_text(created: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))
    return f"{whole}.{int(created % 1 * 1000):03d}Z"


def _json_value(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= VALUE_SIZE_MAX * 4 else value[: VALUE_SIZE_MAX * 4] + "..."
    if isinstance(value, (int, float, bool, type(None))):
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_json_value(item) for item in value]
    if isinstance(value, Mapping):
        return {
            str(key): _json_value(item) for key, item in mask({str(k): v for k, v in value.items()}).items()
        }
    return _text_of(value)


def _text_value(value: Any) -> str:
    if isinstance(value, (list, tuple, set, frozenset)):
        value = ",".join(_text_of(item) for item in value)
    text = _text_of(value)
    return text if _PLAIN_TEXT.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _text_of(value: Any) -> str:
    text = str(value)
    return text if len(text) <= VALUE_SIZE_MAX else text[:VALUE_SIZE_MAX] + "..."
