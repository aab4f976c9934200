"""How both faces follow AHA's registry."""

from __future__ import annotations

from typing import Final

import grpc
from cellmesh.api.aha.v1 import registry_pb2

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


class Following:
    """How far a client has followed AHA's registry, so that it goes on from there after a break.

    Args:
        service: The service that is followed; empty for a pool.
        pool: Or the pool.
    """

    def __init__(self, service: str, pool: str = "") -> None:
        self._service = "" if pool else service
        self._pool = pool
        self._revision = 0
        self._begun = False

    def request(self) -> registry_pb2.WatchInstancesRequest:
        """What to ask for next."""
        self._begun = False
        return registry_pb2.WatchInstancesRequest(
            service=self._service, pool=self._pool, revision=self._revision
        )

    def took(self, message: registry_pb2.WatchInstancesResponse) -> bool:
        """Note a message; whether it has everything there is."""
        first, self._begun = not self._begun, True
        self._revision = message.revision
        # An AHA that tells no revision sends everything first.
        return message.snapshot or (first and not message.revision)


def ends_watch(error: grpc.RpcError) -> bool:
    """Whether following is over for good, as AHA refuses it. Then AHA is asked after failures only."""
    code = getattr(error, "code", lambda: None)()
    return code in _FINAL
