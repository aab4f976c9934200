"""Layers as files: what ExportLayer and ImportLayer of LayerService do. No file is ever held as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import TimeoutError as FutureTimeoutError
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from cellmesh.api.cortex.v1 import layer_pb2
from cellmesh.common.errors import BadArg, TimeOut
from cellmesh.common.values import from_value
from cellmesh.cortex.views.layer_export import FilePart
from cellmesh.cortex.views.layer_import import Header, import_layer

if TYPE_CHECKING:
    from cellmesh.common.rpc import CancelToken
    from cellmesh.cortex.stores.model_facts import ModelExtensions
    from cellmesh.cortex.views.graph import Graph
    from cellmesh.cortex.views.import_batch import MakeFreshWriter

PART_SIZE_MAX: Final = 1 << 20
"""Bytes of the file in one message of an import."""

STALL_MAX_S: Final = 60.0
"""An import ends when nothing came for so long."""

CHECK_S: Final = 0.5
"""How often an import that waits looks whether its caller is still there, in seconds."""


def pack_part(parts: list[FilePart]) -> layer_pb2.ExportLayerResponse:
    """Make a message of some parts of a file."""
    last = parts[-1]
    return layer_pb2.ExportLayerResponse(
        data=b"".join(part.data for part in parts),
        node_count=last.node_count,
        expected_count=parts[0].expected_count,
        dropped_edge_count=last.dropped_edge_count,
    )


class Upload:
    """The messages of an import: they come in the event loop, and are used by a thread, one at a time."""

    def __init__(self, requests: AsyncIterator[layer_pb2.ImportLayerRequest]) -> None:
        self._requests = requests
        self._loop = asyncio.get_running_loop()
        self._first: layer_pb2.ImportLayerRequest | None = None

    async def begin(self) -> layer_pb2.ImportLayerRequest:
        """Wait for the first message; raises BadArg if there is none."""
        self._first = await anext(self._requests, None)
        if self._first is None:
            raise BadArg("an import sends the file", name="data")
        return self._first

    def parts(self, token: CancelToken) -> Iterator[bytes]:
        """Yield the bytes of the file, in the thread.

        Raises:
            TimeOut: nothing came for too long.
            BadArg: a message has more than it may.
        """
        message = self._first
        while message is not None:
            if len(message.data) > PART_SIZE_MAX:
                raise BadArg(f"a message has at most {PART_SIZE_MAX} bytes of the file", name="data")
            yield message.data
            message = self._wait(token)

    def _wait(self, token: CancelToken) -> layer_pb2.ImportLayerRequest | None:
        end_s = monotonic() + STALL_MAX_S
        coming = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
        try:
            while True:
                token.check()
                try:
                    return coming.result(CHECK_S)
                except FutureTimeoutError:
                    if monotonic() > end_s:
                        raise TimeOut(f"nothing of the file came for {STALL_MAX_S:g} s") from None
        finally:
            coming.cancel()

    async def _next(self) -> layer_pb2.ImportLayerRequest | None:
        return await anext(self._requests, None)


def run_import(
    graph: Graph,
    extensions: ModelExtensions,
    first: layer_pb2.ImportLayerRequest,
    upload: Upload,
    user: str,
    make_writer: MakeFreshWriter,
    token: CancelToken,
) -> layer_pb2.ImportLayerResponse:
    """Make a layer of what comes, on a thread of its own."""
    extend: Callable[[Header], None] | None = None
    if first.add_model:

        def extend(header: Header) -> None:
            extend_model(graph, extensions, header, user)

    layer, count = import_layer(
        graph,
        upload.parts(token),
        name=first.name if first.HasField("name") else None,
        user=user,
        tick=token.check,
        make_writer=make_writer,
        extend=extend,
    )
    return layer_pb2.ImportLayerResponse(layer_id=str(layer.id), node_count=count, name=layer.name)


def extend_model(graph: Graph, extensions: ModelExtensions, header: Header, user: str) -> None:
    """Add what users had added to the model where a file comes from, as far as it is not there; durable on return.

    Raises:
        BadArg: the header does not say it as it should.
    """
    given: Any = from_value(header.extended_model) if header.HasField("extended_model") else {}
    model = graph.model
    with graph.begin(user=user) as session:
        kept = extensions.of(session)
        steps: tuple[tuple[str, int, Callable[[Any], object], Callable[..., object]], ...] = (
            ("types", 4, lambda row: model.type(row[0]), kept.add_type),
            ("forms", 4, lambda row: model.form(row[0]), kept.add_form),
            ("props", 4, lambda row: model.prop(f"{row[0]}:{row[1]}"), kept.add_prop),
            ("univs", 3, lambda row: model.prop(f".{row[0]}"), kept.add_universal),
            ("tagprops", 3, lambda row: model.tagprop(row[0]), kept.add_tagprop),
        )
        for key, size, find, add in steps:
            for row in _rows(given, key, size):
                if find(row) is None:
                    add(*row)
        known = {tuple(row[0]) for row in kept.dump()["edges"]}
        for row in _rows(given, "edges", 2):
            if tuple(row[0]) not in known:
                kept.add_edge(*row[0], row[1])
        session.sync()


def _rows(given: Any, key: str, size: int) -> list[Any]:
    """Return what a header says of one kind of additions; raises BadArg unless it is shaped so."""
    rows = given.get(key) if isinstance(given, dict) else None
    found = list(rows) if isinstance(rows, list | tuple) else []
    for row in found:
        fits = isinstance(row, list | tuple) and len(row) == size and isinstance(row[-1], dict)
        if fits and key == "edges":
            ends = row[0]
            fits = isinstance(ends, list | tuple) and len(ends) == 3
            fits = fits and all(end is None or isinstance(end, str) for end in ends) and ends[1] is not None
        elif fits:
            fits = isinstance(row[0], str) and (key != "props" or isinstance(row[1], str))
        if not fits:
            raise BadArg(f"the extended model in the file has another shape under {key}", name=key)
    return found
