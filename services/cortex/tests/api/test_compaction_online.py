"""A Cortex is compacted while it takes writes in all its ways: nothing acknowledged is lost."""

from __future__ import annotations

import threading
from pathlib import Path

from cellmesh.api.cortex.v1 import storm_pb2
from cellmesh.api.cortex.v1.storm_service_pb2_grpc import StormServiceStub
from cellmesh.client import CellClient, open_cell
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.storage import Compacted, compact_online
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig


def count(client: CellClient, text: str) -> int:
    return int(client.stub(StormServiceStub).CountStorm(storm_pb2.CountStormRequest(text=text)).count)


def test_nodes_tags_edges_and_deletions_are_in_the_new_file(tmp_path: Path) -> None:
    config = load_config(CortexConfig, dir=tmp_path / "cortex", flags={"log_level": "error"}, environ={})
    is_done = threading.Event()
    results: list[object] = []
    cell = CortexCell(config)
    with running(cell), open_cell(f"unix://{config.dir}/cell.sock") as client:
        count(client, "for $n in $lib.range(2000) { [inet:ipv4=$n :asn=7 +#old] }")

        def compact() -> None:
            try:
                for _ in range(2):
                    *_, last = compact_online(cell.slab)
                    results.append(last)
            except BaseException as error:  # noqa: BLE001
                results.append(error)
            finally:
                is_done.set()

        thread = threading.Thread(target=compact)
        thread.start()
        written = 0
        while not is_done.is_set():
            number = 10_000 + written
            count(
                client,
                f"[inet:ipv4={number} :asn=8 +#new.tag <(refs)+ {{[inet:fqdn=n{number}.example.org]}}]",
            )
            count(client, f"inet:ipv4={written} [-#old] | delnode --force")
            written += 1
        thread.join()
        assert all(isinstance(result, Compacted) for result in results), results
        assert written > 3

    def check(client: CellClient) -> None:
        assert count(client, "inet:ipv4:asn=8") == written
        assert count(client, "inet:ipv4#new.tag") == written
        assert count(client, "inet:ipv4#new.tag <(refs)- inet:fqdn") == written
        assert count(client, "inet:ipv4:asn=7") == 2000 - min(2000, written)
        assert count(client, "#old") == 2000 - min(2000, written)

    with running(CortexCell(config)), open_cell(f"unix://{config.dir}/cell.sock") as client:
        check(client)
