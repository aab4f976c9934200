"""A quiet stream outlives the pings of its client: a query may think for long before it says anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from cellmesh.common.rpc.server import SERVER_OPTIONS

QUIET_S = 6.0
PING_S = 1
# Our servers allow a ping every so many seconds; here the same options, but with a bound that the test can wait for.
PING_INTERVAL_OPTION = "grpc.http2.min_ping_interval_without_data_ms"
CLIENT_OPTIONS = (
    ("grpc.keepalive_time_ms", PING_S * 1000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.keepalive_permit_without_calls", 1),
)


class Quiet(grpc.GenericRpcHandler):
    """Answers once, late."""

    def service(self, handler_call_details: Any) -> Any:
        async def answer(request: bytes, context: Any) -> AsyncIterator[bytes]:
            await asyncio.sleep(QUIET_S)
            yield b"at last"

        return grpc.unary_stream_rpc_method_handler(answer)


async def answers(options: list[tuple[str, int]]) -> list[bytes]:
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers((Quiet(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=CLIENT_OPTIONS) as channel:
            return [message async for message in channel.unary_stream("/quiet/Quiet")(b"")]
    finally:
        await server.stop(0)


def test_a_client_that_pings_is_not_sent_away() -> None:
    options = dict(SERVER_OPTIONS)
    assert options[PING_INTERVAL_OPTION] <= 30_000
    options[PING_INTERVAL_OPTION] = PING_S * 500

    async def with_and_without() -> tuple[list[bytes], BaseException | list[bytes]]:
        unset = {name: value for name, value in options.items() if name != PING_INTERVAL_OPTION}
        kept, lost = await asyncio.gather(
            answers(list(options.items())), answers(list(unset.items())), return_exceptions=True
        )
        assert not isinstance(kept, BaseException), kept
        return kept, lost

    kept, lost = asyncio.run(with_and_without())
    assert kept == [b"at last"]
    # Without the option gRPC's own bound of five minutes holds, and the same client is sent away.
    assert isinstance(lost, grpc.aio.AioRpcError)
