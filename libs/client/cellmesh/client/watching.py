"""How both faces follow AHA's registry."""

from __future__ import annotations

from typing import Final

import grpc

WATCH_DELAY_S: Final = 0.2
"""After the first look-up: who makes one call and leaves need not follow."""
WATCH_PAUSE_MIN_S: Final = 0.2
WATCH_PAUSE_MAX_S: Final = 5.0
"""Between two attempts to follow the registry again, which double from the shortest to the longest pause."""

_FINAL: Final = (
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
)


def ends_watch(error: grpc.RpcError) -> bool:
    """Whether following is over for good, as AHA refuses it. Then AHA is asked after failures only."""
    code = getattr(error, "code", lambda: None)()
    return code in _FINAL
