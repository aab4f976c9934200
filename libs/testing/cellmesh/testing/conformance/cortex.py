"""A fresh Cortex for each group of cases, reached over gRPC.

The cell is the real one with its real server, on a folder of its own, in the worker's process; the client is the
stock stub on the cell's unix socket.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cellmesh.api.cortex.v1 import node_pb2, storm_pb2
from cellmesh.api.cortex.v1.storm_service_pb2_grpc import StormServiceStub
from cellmesh.client import open_cell
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import CellError, from_detail
from cellmesh.common.values import from_value, to_value
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from cellmesh.testing.conformance.cases import Step
from cellmesh.testing.conformance.judge import Answer

CALL_TIMEOUT_S = 60.0
MODES = {
    "storm": storm_pb2.STORM_MODE_STORM,
    "lookup": storm_pb2.STORM_MODE_LOOKUP,
    "autoadd": storm_pb2.STORM_MODE_AUTOADD,
    "search": storm_pb2.STORM_MODE_SEARCH,
}
# The kinds of message that the cases' `show` names, as ours are called.
SHOW_NAMES = {"storm:fire": "fire", "csv:row": "csv", "node": "node", "print": "print", "warn": "warn"}


class StormClient:
    """Runs the steps of a case on one Cortex."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    def run(self, step: Step) -> Answer:
        """Run one query and return what came of it."""
        if step.is_call:
            return self._call(storm_pb2.CallStormRequest(text=step.text, options=_options(step)))
        return self._storm(storm_pb2.StormRequest(text=step.text, options=_options(step)))

    def _call(self, request: storm_pb2.CallStormRequest) -> Answer:
        answer = Answer()
        try:
            answer.returned = from_value(self._stub.CallStorm(request, timeout=CALL_TIMEOUT_S).value)
        except CellError as error:
            answer.error = _error(error)
        return answer

    def _storm(self, request: storm_pb2.StormRequest) -> Answer:
        answer = Answer()
        try:
            for response in self._stub.Storm(request, timeout=CALL_TIMEOUT_S):
                for message in response.messages:
                    _take(answer, message)
        except CellError as error:
            answer.error = _error(error)
        return answer


def _take(answer: Answer, message: storm_pb2.StormMessage) -> None:
    match message.WhichOneof("kind"):
        case "node":
            answer.nodes.append(_node(message.node))
        case "print":
            answer.prints.append(message.print.text)
        case "warn":
            answer.warnings.append(message.warn.text)
        case "fire":
            answer.fires.append({"type": message.fire.type, "data": from_value(message.fire.data)})
        case "csv_row":
            row = [from_value(item) for item in message.csv_row.row.items]
            answer.csv_rows.append({"row": row, "table": message.csv_row.table or None})
        case "err":
            answer.error = _error(from_detail(message.err))


def _error(error: CellError) -> dict[str, Any]:
    return {**dict(error.items()), "name": error.name, "mesg": str(error)}


def _node(node: node_pb2.Node) -> dict[str, Any]:
    row: dict[str, Any] = {
        "form": node.form,
        "valu": from_value(node.value),
        "props": {name: from_value(value) for name, value in node.props.items()},
        "tags": {
            name: [tag.interval.min, tag.interval.max] if tag.HasField("interval") else None
            for name, tag in node.tags.items()
        },
        "tagprops": {
            tag: {name: from_value(value) for name, value in props.props.items()}
            for tag, props in node.tag_props.items()
        },
    }
    if node.path:
        row["path"] = {name: from_value(value) for name, value in node.path.items()}
    return row


def _options(step: Step) -> storm_pb2.StormOptions:
    given = step.options
    options = storm_pb2.StormOptions(
        mode=MODES[given.get("mode", "storm")],
        limit=given.get("limit") or 0,
        readonly=bool(given.get("readonly")),
        idens=given.get("idens") or [],
        show=[SHOW_NAMES.get(name, name) for name in given.get("show") or []],
        user="" if step.user == "root" else step.user,
    )
    for name, value in (given.get("vars") or {}).items():
        options.vars[name].CopyFrom(to_value(value))
    for form, value in given.get("ndefs") or []:
        options.ndefs.append(node_pb2.NodeRef(form=form, value=to_value(value)))
    return options


@contextmanager
def fresh_cortex(parent: Path | None = None) -> Iterator[StormClient]:
    """A new, empty Cortex and a client of it; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="cellmesh-conformance-", dir=parent) as folder:
        config = load_config(
            CortexConfig,
            dir=Path(folder) / "cortex",
            # The Axon starts with the first case that uses it.
            flags={"log_level": "error", "password_length_min": "1", "axon": f"cell://{folder}/axon?axon"},
            environ={},
        )
        with running(CortexCell(config)), open_cell(f"unix://{config.dir}/cell.sock") as cell:
            yield StormClient(cell.stub(StormServiceStub))
