"""`cellmesh layer`: finds rows of an index that are wrong, and puts them right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cellmesh.api.cortex.v1 import storm_pb2
from cellmesh.api.cortex.v1.storm_service_pb2_grpc import StormServiceStub
from cellmesh.cli.main import run
from cellmesh.client import open_cell
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from cellmesh.cortex.layers.schema import BY_PROP


def test_a_spoiled_layer_is_found_and_put_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = load_config(CortexConfig, dir=tmp_path / "c", flags={"log_level": "error"}, environ={})
    made = CortexCell(config)
    with running(made), open_cell(f"unix://{config.dir}/cell.sock") as cell:
        where = ["--dir", str(config.dir)]

        def cellmesh(*arguments: str, code: int = 0) -> str:
            assert run(["layer", *arguments, *where]) == code
            return capsys.readouterr().out

        query = storm_pb2.CountStormRequest(text="[ inet:asn=1 :name=a inet:asn=2 :name=b ]")
        cell.stub(StormServiceStub).CountStorm(query)
        (one,) = json.loads(cellmesh("list", "--json"))
        assert one["iden"] in cellmesh("list")
        assert "agree" in cellmesh("verify")

        (layer,) = made.graph.default_view.layers

        def spoil(txn: Any) -> None:
            key, value = txn.first(BY_PROP, layer.key)
            txn.delete(BY_PROP, key, value)

        made.graph.slab.write(spoil)
        assert "NoPropIndex" in cellmesh("verify", code=1)
        told = json.loads(cellmesh("verify", one["iden"], "--json", code=1))
        assert told["faults"]["NoPropIndex"] == 1
        assert "were put right" in cellmesh("repair", one["iden"])
        assert "agree" in cellmesh("verify")
        assert run(["layer", "verify", "0" * 32, *where]) == 1
        assert "layer" in capsys.readouterr().err
