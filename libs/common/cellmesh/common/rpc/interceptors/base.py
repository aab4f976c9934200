"""What an interceptor is: a wrapper put around a handler once, when the server is built.

grpc.aio's own interceptors are looked up and awaited again for each call. Wrapping at start costs a call
nothing but the wrapper itself, and gives one shape for all four kinds of methods: a handler takes a request
(or the stream of them) and the context, and answers with one message or an async stream.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from cellmesh.common.rpc.service import Method, SingleHandler, StreamHandler


class Interceptor(Protocol):
    """Wraps handlers.

    Attributes:
        name: Its name in the order.
        inside: Names of the interceptors that must stand further out when they are there at all.
        required: Whether a server may not go without it.
    """

    name: ClassVar[str]
    inside: ClassVar[frozenset[str]]
    required: ClassVar[bool]

    def wrap_single(self, method: Method, inner: SingleHandler) -> SingleHandler:
        """Wrap a handler that answers with one message."""
        ...

    def wrap_stream(self, method: Method, inner: StreamHandler) -> StreamHandler:
        """Wrap a handler that answers with a stream."""
        ...
