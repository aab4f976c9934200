"""The stream to a cell on which calls travel, in an event loop: opened, written to, and why it ended."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import grpc
import grpc.aio
from cellmesh.api.common.v1 import pipeline_service_pb2 as pb
from cellmesh.client.lane import PIPELINE_PATH, LaneError, NoLane

# What grpc.aio makes of a write that fails, in place of the status that the stream ends with.
_WRITE_FAILED: Final = "Internal error from Core"


ASK_TIMEOUT_S: Final = 5.0
"""How long a cell is asked why it takes no stream."""


class CallStream:
    """A stream of calls.

    Attributes:
        grpc_call: gRPC's own, to be read and cancelled.
    """

    __slots__ = ("_has_written", "_write", "grpc_call")

    def __init__(self, channel: grpc.aio.Channel, metadata: Any, *, timeout_s: float | None = None) -> None:
        self.grpc_call: Any = channel.stream_stream(
            PIPELINE_PATH, pb.PipelineRequest.SerializeToString, pb.PipelineResponse.FromString
        )(None, metadata=metadata, timeout=timeout_s)
        self._write = self.grpc_call.write
        self._has_written = False

    async def write(self, message: pb.PipelineRequest) -> None:
        """Send a message."""
        await self._write(message)
        self._has_written = True

    def reason(self, failed: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """Why the stream ended, of what its reader was told."""
        if failed.code() is not grpc.StatusCode.INTERNAL or failed.details() != _WRITE_FAILED:
            return failed
        if not self._has_written:
            # No message has left whole, so no call has begun.
            return NoLane(
                grpc.StatusCode.UNAVAILABLE, "the stream ended before a message was sent", never_sent=True
            )
        return LaneError(grpc.StatusCode.UNAVAILABLE, "the stream broke while a message was sent")


async def refusal(channel: grpc.aio.Channel, metadata: Any) -> grpc.aio.AioRpcError | None:
    """Why a cell ends streams before anything is written, asked with one on which nothing is; None if it takes that."""
    asked = CallStream(channel, metadata, timeout_s=ASK_TIMEOUT_S).grpc_call
    try:
        await asked.done_writing()
        async for _ in asked:
            pass
    except grpc.aio.AioRpcError as error:
        return error
    except asyncio.InvalidStateError:
        return None
    finally:
        asked.cancel()
    return None
