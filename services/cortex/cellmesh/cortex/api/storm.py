"""StormService: queries, each on a worker thread of its own, their messages streamed in batches."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from cellmesh.api.cortex.v1 import storm_pb2, storm_reference_pb2
from cellmesh.common.auth.context import Caller, CallerKind, current_call, current_caller
from cellmesh.common.auth.store import AuthStore
from cellmesh.common.errors import AuthDeny, BadArg, NoSuchIden
from cellmesh.common.rpc import CancelToken, StreamToken, Workers
from cellmesh.common.tls.identity import UserIdentity
from cellmesh.common.values import to_value
from cellmesh.cortex.api.convert import (
    message_bytes,
    mode_of,
    nodes_bytes,
    options_from_proto,
    pack_messages,
    pack_records,
    plan_to_proto,
)
from cellmesh.cortex.api.storm_reference import reference_messages
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.execution import Running
from cellmesh.cortex.storm.runtime.messages import Message, NodeRecords
from cellmesh.cortex.storm.runtime.options import QueryOptions

FIRST_MESSAGE_COUNT: Final = 32
"""Messages of a query that leave together at first: a small answer whole, the head of a large one soon."""

BLOCK_SIZE_MAX: Final = 256 * 1024
"""Bytes of nodes that go into a message together; the nodes of a larger block do by themselves, to keep messages small."""

PARSED_AT_ONCE_SIZE_MAX: Final = 1000
"""Characters of a text that is parsed in the event loop: within a millisecond, less than a thread's coming and going."""

T = TypeVar("T")


class StormServicer:
    """Runs queries. The engine is synchronous and reads storage: it runs on worker threads only."""

    def __init__(self, engine: Engine, workers: Workers, auth: AuthStore) -> None:
        self._engine = engine
        self._auth = auth
        self._workers = workers

    async def Storm(self, request: storm_pb2.StormRequest, context: Any) -> bytes:
        """Stream a query's messages; a client that goes away ends it, a slow one slows it.

        A query with few rows is answered by one message, returned here; see `Service.last_returned`.
        """
        current_call().text = request.text
        options = query_options(request.options, self._auth)
        running = self._engine.start(request.text, options)
        # What reads a few keys: there and back to a thread would take longer, most of all beside busy ones.
        began_s = time.time()
        records = running.point_records()
        if records is not None:
            return pack_records(running.task_id, request.text, began_s, records)
        if running.is_quick():
            parts: list[bytes] = []
            running.send_to(lambda message: parts.append(message_bytes(message, options.repr)))
            return pack_messages(parts)

        def produce(token: StreamToken) -> Iterator[bytes]:
            token.on_cancel(running.cancel)

            # Sent as they arise: what a query prints between two nodes must neither wait for the next nor pile up.
            def send(message: Message) -> None:
                if type(message) is NodeRecords and sum(map(len, message.records)) > BLOCK_SIZE_MAX:
                    for record in message.records:
                        token.send(nodes_bytes((record,)))
                else:
                    token.send(message_bytes(message, options.repr))

            running.send_to(send, takes_records=True)
            return iter(())

        stream = self._workers.stream(
            produce, pack=pack_messages, size_of=len, on_block=running.pause, count_first=FIRST_MESSAGE_COUNT
        )
        # The end may become known only after the last message has left; then an empty one carries it.
        return await stream.write_to(context.write) or b""

    async def CallStorm(
        self, request: storm_pb2.CallStormRequest, context: Any
    ) -> storm_pb2.CallStormResponse:
        """Run a query for the value it returns."""
        current_call().text = request.text
        options = query_options(request.options, self._auth)
        running = self._engine.start(request.text, options)
        value = await self._workers.run_long(_cancelled_with(running, running.value))
        return storm_pb2.CallStormResponse(value=to_value(value))

    async def CountStorm(
        self, request: storm_pb2.CountStormRequest, context: Any
    ) -> storm_pb2.CountStormResponse:
        """Run a query for the number of its nodes."""
        current_call().text = request.text
        options = query_options(request.options, self._auth)
        running = self._engine.start(request.text, options)
        if running.is_quick(by_call=True):
            return storm_pb2.CountStormResponse(count=running.count())
        count = await self._workers.run_long(_cancelled_with(running, running.count))
        return storm_pb2.CountStormResponse(count=count)

    async def ExplainStorm(
        self, request: storm_pb2.ExplainStormRequest, context: Any
    ) -> storm_pb2.ExplainStormResponse:
        """Tell how a query would be done, without running it."""
        current_call().text = request.text
        options = query_options(request.options, self._auth)
        plan = await self._workers.run(lambda: self._engine.plan(request.text, options))
        return storm_pb2.ExplainStormResponse(plan=plan_to_proto(plan))

    async def ParseStorm(
        self, request: storm_pb2.ParseStormRequest, context: Any
    ) -> storm_pb2.ParseStormResponse:
        """Tell whether a text is a query."""
        current_call().text = request.text
        mode = mode_of(request)
        if mode is None:
            raise BadArg("there is no such mode", name="mode")
        if len(request.text) <= PARSED_AT_ONCE_SIZE_MAX:
            return storm_pb2.ParseStormResponse(may_change=self._engine.check(request.text, mode))
        may_change = await self._workers.run(lambda: self._engine.check(request.text, mode))
        return storm_pb2.ParseStormResponse(may_change=may_change)

    async def GetStormReference(
        self, request: storm_reference_pb2.GetStormReferenceRequest, context: Any
    ) -> AsyncIterator[storm_reference_pb2.GetStormReferenceResponse]:
        """Stream what the language has."""
        for message in await self._workers.run(lambda: list(reference_messages(self._engine))):
            yield message

    async def GetStormProgress(
        self, request: storm_pb2.GetStormProgressRequest, context: Any
    ) -> storm_pb2.GetStormProgressResponse:
        """Tell how many edits a running query has made."""
        caller = current_caller()
        for running in self._engine.running:
            is_own = caller.admin or running.options.user == user_name(caller)
            if running.task_id == request.task_id and is_own:
                return storm_pb2.GetStormProgressResponse(edit_count=running.edit_count)
        raise NoSuchIden(f"no query {request.task_id} runs here", iden=request.task_id)


def changes_asked(engine: Engine) -> Mapping[str, Callable[[Any], bool]]:
    """Whether the query of a request may change anything, by method; for `Service.changes_asked`."""

    def may_change(
        request: storm_pb2.StormRequest | storm_pb2.CallStormRequest | storm_pb2.CountStormRequest,
    ) -> bool:
        options = request.options
        if options.readonly:
            return False
        # An unknown mode is refused wherever the query goes.
        return engine.may_change(request.text, mode_of(options) or "storm")

    return dict.fromkeys(("Storm", "CallStorm", "CountStorm"), may_change)


def _cancelled_with(running: Running, work: Callable[[], T]) -> Callable[[CancelToken], T]:
    """Work that ends when its caller goes away."""

    def run(token: CancelToken) -> T:
        token.on_cancel(running.cancel)
        return work()

    return run


def query_options(given: storm_pb2.StormOptions, auth: AuthStore) -> QueryOptions:
    """The options of a query, with who runs it.

    Raises:
        BadArg: an option has a value that there is none of.
        AuthDeny: the caller named another user and is no administrator, or the user is locked.
        NoSuchUser: the caller named nobody.
    """
    caller = current_caller()
    name = query_user(given)
    if given.user and given.user != user_name(caller):
        user = auth.get_user(name)
        if not user.active:
            raise AuthDeny(f"user {name} is locked or archived", user=user.user_id, username=name)
        return options_from_proto(given, user.name)
    # Cells of the mesh, and administrators by certificate, are no users here.
    has_all_rights = not caller.user_id and (caller.admin or caller.kind is CallerKind.CELL)
    return options_from_proto(given, name, has_all_rights=has_all_rights)


def query_user(options: storm_pb2.StormOptions) -> str:
    """The user a query runs as.

    Raises:
        AuthDeny: the caller named another user and is no administrator.
    """
    caller = current_caller()
    own = user_name(caller)
    if options.user and options.user != own and not caller.admin:
        raise AuthDeny(
            f"{caller.name} may not run queries as {options.user}", user=caller.name, username=options.user
        )
    return options.user or own


def user_name(caller: Caller) -> str:
    """The name under which a caller is known in queries; cells of the mesh by their own name."""
    if caller.kind is CallerKind.USER and isinstance(caller.identity, UserIdentity):
        return caller.identity.user
    return caller.name
