"""Levels of loggers, changed while the process runs, for a time or until it ends."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cellmesh.common.errors import BadArg, LimitExceeded
from cellmesh.common.telemetry.logs import ROOT_LOGGER, get_logger

if TYPE_CHECKING:
    from cellmesh.common.cell.part import PartHealth

SET_COUNT_MAX: Final = 100
DURATION_S_MAX: Final = 86400.0

_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LoggerLevel:
    """The level of a logger.

    Attributes:
        logger: Its name.
        level: debug, info, warning or error.
        expire_time_s: When it goes back, in seconds since 1970; None if not by itself.
    """

    logger: str
    level: str
    expire_time_s: float | None = None


@dataclass(slots=True)
class _Set:
    level: LoggerLevel
    before: int
    timer: asyncio.TimerHandle | None


class LogLevels:
    """What was set of the levels of this process. Used in the event loop. It is a Part, whose end takes all back."""

    name: Final = "log_levels"

    def __init__(self) -> None:
        self._set: dict[str, _Set] = {}

    def levels(self) -> list[LoggerLevel]:
        """The level of our loggers as configured, unless it is set anew; then what was set, by name."""
        found = [made.level for _, made in sorted(self._set.items())]
        if ROOT_LOGGER not in self._set:
            own = logging.getLogger(ROOT_LOGGER).getEffectiveLevel()
            found.insert(0, LoggerLevel(ROOT_LOGGER, logging.getLevelName(own).lower()))
        return found

    def set(self, logger: str, level: str, duration_s: float | None = None) -> None:
        """Set a level, or take back what was set.

        Args:
            logger: Its name; empty for all of ours.
            level: debug, info, warning or error; empty takes it back.
            duration_s: For how long; None: until it is set again or the process ends.

        Raises:
            BadArg: no logger can have this name, or the time is out of bounds.
            LimitExceeded: too many loggers are set already.
        """
        logger = logger or ROOT_LOGGER
        if not _NAME.fullmatch(logger) or len(logger) > 200:
            raise BadArg(f"{logger[:200]!r} is no name of a logger", name="logger")
        if duration_s is not None and not 0 < duration_s <= DURATION_S_MAX:
            raise BadArg(f"a level is set for up to {DURATION_S_MAX:.0f} seconds", name="duration")
        old = self._set.pop(logger, None)
        if old is not None and old.timer is not None:
            old.timer.cancel()
        target = logging.getLogger(logger)
        before = old.before if old is not None else target.level
        if not level:
            target.setLevel(before)
        else:
            if len(self._set) >= SET_COUNT_MAX:
                raise LimitExceeded(
                    f"{SET_COUNT_MAX} loggers have levels of their own already",
                    name="SET_COUNT_MAX",
                    limit=SET_COUNT_MAX,
                )
            timer = None
            if duration_s is not None:
                timer = asyncio.get_running_loop().call_later(duration_s, self._expire, logger)
            expire_time_s = None if duration_s is None else time.time() + duration_s
            self._set[logger] = _Set(LoggerLevel(logger, level, expire_time_s), before, timer)
            target.setLevel(level.upper())
        # A warning, so that it is seen whatever the level is.
        _log.warning("log_level_set", of=logger, to=level or "as before", seconds=duration_s)

    def _expire(self, logger: str) -> None:
        self.set(logger, "")

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Take back what was set."""
        for logger in list(self._set):
            self.set(logger, "")

    def health(self) -> PartHealth:
        """It has no trouble of its own."""
        from cellmesh.common.cell.part import WELL

        return WELL
