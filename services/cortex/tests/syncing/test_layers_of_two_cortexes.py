"""Two real cells: one's layer sends its edits to the other's, and the other takes them, through ends and kills."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cellmesh.api.common.v1 import value_pb2
from cellmesh.api.cortex.v1 import layer_pb2
from cellmesh.api.cortex.v1.layer_service_pb2_grpc import LayerServiceStub
from cellmesh.client import CellClient, open_cell
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import BadTypeValu, NoSuchLayer, NoSuchProp
from cellmesh.common.failpoints import failing
from cellmesh.common.values import from_value
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from cellmesh.cortex.views.verify import check_layer

sys.path.insert(0, str(Path(__file__).parents[1] / "automation"))
from automation_kit import wait_until


def make(folder: Path) -> CortexCell:
    return CortexCell(load_config(CortexConfig, dir=folder, environ={}))


def url_of(folder: Path, cell: CortexCell) -> str:
    return f"unix://{folder}/layer/{cell.graph.default_view.layers[0].id}"


def names(cell: CortexCell) -> Any:
    return cell.engine.call("$o=([]) inet:asn $o.append(($node.value(), :name)) fini { return($o) }")


def is_well(cell: CortexCell) -> bool:
    (layer,) = cell.graph.default_view.layers
    return not list(check_layer(cell.graph, layer, lambda: None))


@pytest.fixture(name="pair")
def _pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CortexCell, CortexCell, str]]:
    one, two = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")
    with running(make(one)) as first, running(make(two)) as second:
        yield first, second, url_of(two, second)


FIRST = "[ (inet:asn=1 :name=a +#t=2020) (inet:asn=2 +(refs)> { inet:asn=1 }) ] $node.data.set(k, v)"


@pytest.mark.parametrize("is_push", [True, False])
def test_edits_reach_the_other_cortex(tmp_path_factory: pytest.TempPathFactory, is_push: bool) -> None:
    one, two = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")
    with ExitStack() as stack:
        first = stack.enter_context(running(make(one)))
        first.engine.call(FIRST)
        with running(make(two)) as second:
            if is_push:
                first.engine.call("$lib.layer.get().addPush($url)", _vars(url=url_of(two, second)))
            else:
                second.engine.call("$lib.layer.get().addPull($url)", _vars(url=url_of(one, first)))
            wait_until(lambda: names(second) == [[1, "a"], [2, None]])
            assert second.engine.call("inet:asn=2 -(refs)> * return($node.value())") == 1
            assert second.engine.call("inet:asn=1 return($node.data.get(k))") == "v"
            first.engine.call(
                "inet:asn=1 [ :name=b -#t ] | spin | [ inet:asn=3 ] | spin | inet:asn=2 | delnode"
            )
            wait_until(lambda: names(second) == [[1, "b"], [3, None]])
            assert second.engine.call("return($lib.view.get().getFormCounts().'inet:asn')") == 2
        first.engine.call("[ inet:asn=4 ]")
        # What is taken is known where it is taken: nothing comes twice, nothing is left out.
        with running(make(two)) as second:
            second.engine.call("inet:asn=1 [ :name=own ]")
            first.engine.call("[ inet:asn=5 ]")
            wait_until(lambda: names(second) == [[1, "own"], [3, None], [4, None], [5, None]])
            assert is_well(second)


def _vars(**variables: Any) -> Any:
    from cellmesh.cortex.storm.runtime.options import QueryOptions

    return QueryOptions(vars=variables)


def test_two_layers_that_send_each_other_their_edits_come_to_rest(
    pair: tuple[CortexCell, CortexCell, str], tmp_path: Path
) -> None:
    first, second, url = pair
    back = f"unix://{first.folder.path}/layer/{first.graph.default_view.layers[0].id}"
    first.engine.call("$lib.layer.get().addPush($url)", _vars(url=url))
    second.engine.call("$lib.layer.get().addPush($url)", _vars(url=back))
    first.engine.call("[ inet:asn=1 :name=a ]")
    second.engine.call("[ inet:asn=2 ]")
    wait_until(lambda: names(first) == names(second) == [[1, "a"], [2, None]])
    first.engine.call("inet:asn=1 | delnode")
    wait_until(lambda: names(first) == names(second) == [[2, None]])

    def ends() -> list[int]:
        found = []
        for cell in (first, second):
            with cell.slab.view() as txn:
                found.append(cell.graph.log.next_offset(txn))
        return found

    wait_until(lambda: ends() == _later(ends))


def test_two_layers_that_disagree_come_to_rest_too(
    pair: tuple[CortexCell, CortexCell, str], tmp_path: Path
) -> None:
    first, second, url = pair
    first.engine.call("[ inet:asn=1 :name=a inet:asn=2 ]")
    second.engine.call("[ inet:asn=1 :name=b inet:asn=3 ]")
    back = f"unix://{first.folder.path}/layer/{first.graph.default_view.layers[0].id}"
    first.engine.call("$lib.layer.get().addPush($url)", _vars(url=url))
    second.engine.call("$lib.layer.get().addPush($url)", _vars(url=back))
    numbers = [1, 2, 3]
    wait_until(lambda: [row[0] for row in names(first)] == [row[0] for row in names(second)] == numbers)

    def ends() -> list[int]:
        found = []
        for cell in (first, second):
            with cell.slab.view() as txn:
                found.append(cell.graph.log.next_offset(txn))
        return found

    wait_until(lambda: ends() == _later(ends))
    # What comes afterwards goes each way once.
    first.engine.call("[ inet:asn=1 :name=c ]")
    wait_until(lambda: names(first) == names(second) == [[1, "c"], [2, None], [3, None]])
    wait_until(lambda: ends() == _later(ends))


def _later(ends: Any) -> Any:
    import time

    time.sleep(1.5)
    return ends()


def test_edits_that_were_not_committed_are_taken_again(pair: tuple[CortexCell, CortexCell, str]) -> None:
    first, second, url = pair
    first.engine.call(FIRST)
    with failing("layer_edits_taken", "error*2"):
        first.engine.call("$lib.layer.get().addPush($url)", _vars(url=url))
        wait_until(lambda: names(second) == [[1, "a"], [2, None]])
    assert is_well(second)
    first.engine.call("[ inet:asn=3 ]")
    wait_until(lambda: names(second) == [[1, "a"], [2, None], [3, None]])


def test_the_rpcs_of_layers(pair: tuple[CortexCell, CortexCell, str]) -> None:
    first, second, url = pair
    first.engine.call(FIRST)
    layer = str(first.graph.default_view.layers[0].id)
    with _client(first) as client, _client(second) as other:
        stub, away = client.stub(LayerServiceStub), other.stub(LayerServiceStub)
        # Edits, with and without a filter.
        found = list(stub.ReadLayerEdits(layer_pb2.ReadLayerEditsRequest(layer_ids=[layer])))
        edited = [record for message in found for record in message.records if record.nodes]
        assert {node.form for record in edited for node in record.nodes} >= {"inet:asn", "syn:tag"}
        only = layer_pb2.LayerEditFilter(props=["inet:asn:name"])
        request = layer_pb2.ReadLayerEditsRequest(layer_ids=[layer], filter=only)
        kinds = [
            edit.WhichOneof("edit")
            for message in stub.ReadLayerEdits(request)
            for record in message.records
            for node in record.nodes
            for edit in node.edits
        ]
        assert kinds == ["prop_set"]
        # The content goes to another Cortex, where the same call again does nothing.
        content = next(iter(stub.ReadLayerContent(layer_pb2.ReadLayerContentRequest(layer_id=layer))))
        save = layer_pb2.SaveLayerEditsRequest(
            layer_id=url[-32:],
            nodes=content.nodes,
            source="test",
            ends=layer_pb2.LayerOffset(offset=content.offset),
        )
        assert away.SaveLayerEdits(save).edit_count > 5
        assert away.SaveLayerEdits(save).edit_count == 0
        assert names(second) == [[1, "a"], [2, None]]
        offset = away.GetLayerOffset(layer_pb2.GetLayerOffsetRequest(layer_id=url[-32:], source="test"))
        assert offset.taken.offset == content.offset
        # Rows of indexes.
        for wanted, values in (
            ({"form": "inet:asn"}, [1, 2]),
            ({"form": "inet:asn", "prop": "name"}, ["a"]),
            ({"tag": "t", "form": "inet:asn"}, [[1577836800000, 1577836800001]]),
            ({"form": "inet:asn", "start": value_pb2.Value(int_value=2)}, [2]),
        ):
            request = layer_pb2.ReadIndexRowsRequest(layer_id=layer, **wanted)
            rows = [row for message in stub.ReadIndexRows(request) for row in message.rows]
            assert [_listed(from_value(row.value)) for row in rows] == values
        request = layer_pb2.ReadIndexRowsRequest(layer_id=layer, prop=".created")
        assert sum(len(message.rows) for message in stub.ReadIndexRows(request)) == 3
        # A copy.
        copy = stub.CloneLayer(layer_pb2.CloneLayerRequest(layer_id=layer, name="copy"))
        seen = "$v=$lib.view.add(([$l])) $o=([]) view.exec $v.iden { inet:asn $o.append((1)) } | return($o.size())"
        assert copy.node_count == 3
        assert first.engine.call(seen, _vars(l=copy.layer_id)) == 2
        # Refusals.
        with pytest.raises(NoSuchLayer):
            list(stub.ReadLayerEdits(layer_pb2.ReadLayerEditsRequest(layer_ids=["0" * 32])))
        with pytest.raises(NoSuchProp):
            list(
                stub.ReadIndexRows(layer_pb2.ReadIndexRowsRequest(layer_id=layer, form="inet:asn", prop="no"))
            )
        save.source = ""
        save.nodes[0].value.CopyFrom(value_pb2.Value(string_value="no number"))
        with pytest.raises(BadTypeValu):
            away.SaveLayerEdits(save)
        assert is_well(second)
        verified = list(stub.VerifyLayer(layer_pb2.VerifyLayerRequest(layer_id=layer, repair=True)))
        assert [fault for message in verified for fault in message.faults] == []


def _client(cell: CortexCell) -> CellClient:
    return open_cell(f"unix://{cell.folder.path}")


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
