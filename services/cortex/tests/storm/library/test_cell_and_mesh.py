"""`$lib.cell`, `$lib.backup`, `$lib.telepath` and API keys on a real cell; `$lib.aha` where there is no AHA."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import BadArg, BadUrl, CellError, DupName, NeedConfValu, NoSuchMeth, NoSuchName
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from cellmesh.cortex.storm.outside.remote_calls import fill, find_method, methods, plain
from cellmesh.cortex.storm.runtime.options import QueryOptions

sys.path.insert(0, str(Path(__file__).parents[2] / "automation"))
from automation_kit import wait_until


@pytest.fixture(scope="module", name="cell")
def _cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CortexCell]:
    folder = tmp_path_factory.mktemp("cortex")
    with running(CortexCell(load_config(CortexConfig, dir=folder, environ={}))) as cell:
        yield cell


def call(cell: CortexCell, text: str, **variables: Any) -> Any:
    return cell.engine.call(text, QueryOptions(vars=variables))


def test_what_a_cell_tells_of_itself(cell: CortexCell) -> None:
    assert call(cell, "return($lib.cell.iden)") == cell.cell_id
    told = call(cell, "return($lib.cell.getCellInfo().cell)")
    assert (told["type"], told["iden"], told["active"], told["ready"]) == ("cortex", cell.cell_id, True, True)
    assert told["nexsindx"] == cell.change_offset()
    system = call(cell, "return($lib.cell.getSystemInfo())")
    assert 0 < system["volfree"] <= system["volsize"]
    assert system["cellrealdisk"] > 0
    assert system["totalmem"] > system["availmem"] > 0
    health = call(cell, "return($lib.cell.getHealthCheck())")
    assert health["status"] == "nominal"
    assert {"axon", "mesh"} <= {part["name"] for part in health["components"]}
    uptime = call(cell, "return($lib.cell.uptime())")
    assert uptime["starttime"] == cell.start_time_ns // 1_000_000
    assert call(cell, "return($lib.cell.hotFixesCheck())") is False
    assert call(cell, "return($lib.cell.hotFixesApply().0)") == cell.storage_version
    offset = call(cell, "return($lib.cell.trimNexsLog())")
    assert 0 <= offset <= cell.change_offset()
    with pytest.raises(NoSuchName):
        call(cell, "$lib.cell.uptime(name=nosuch)")
    with pytest.raises(NeedConfValu):
        call(cell, "$lib.cell.getMirrorUrls()")


def test_backups(cell: CortexCell) -> None:
    call(cell, "[ inet:asn=1 ]")
    assert call(cell, "return($lib.backup.run(name=one))") == "one"
    with pytest.raises(DupName):
        call(cell, "$lib.backup.run(name=one)")
    call(cell, "$lib.backup.run(name=two, wait=(false))")
    wait_until(lambda: call(cell, "return($lib.backup.list())") == ["one", "two"], 30.0)
    wait_until(lambda: call(cell, "return($lib.cell.getBackupInfo().currduration)") is None, 30.0)
    told = call(cell, "return($lib.cell.getBackupInfo())")
    assert told["lastsize"] > 0
    assert told["lastend"] >= told["laststart"]
    call(cell, "$lib.backup.del(one)")
    assert call(cell, "return($lib.backup.list())") == ["two"]
    with pytest.raises(NoSuchName):
        call(cell, "$lib.backup.del(one)")


def test_calls_of_other_cells(cell: CortexCell) -> None:
    url = f"unix://{cell.folder.path}/cell.sock"
    told = call(cell, "return($lib.telepath.open($url).getCellInfo())", url=url)["cell"]
    assert (told["cell_id"], told["kind"], told["state"]) == (cell.cell_id, "cortex", "CELL_STATE_READY")
    proxy = "$p=$lib.telepath.open($url)"
    made = call(cell, proxy + " return($p.setKeyValue(path=(['a']), value=({'b': [1, 'x']})))", url=url)
    assert made is not None
    assert call(cell, proxy + " return($p.getKeyValue(({'path': ['a']})).key_value.value)", url=url) == {
        "b": [1, "x"]
    }
    query = proxy + " $found=([]) for $m in $p.storm(text='inet:asn=1') { $found.append($m) } return($found)"
    assert any("node" in str(message) for message in call(cell, query, url=url))
    with pytest.raises(NoSuchMeth):
        call(cell, proxy + " $p.zork()", url=url)
    with pytest.raises(BadArg, match="zork"):
        call(cell, proxy + " $p.getKeyValue(zork=1)", url=url)
    with pytest.raises(NoSuchName):
        call(cell, proxy + " $p.deleteBackup(name=none)", url=url)
    with pytest.raises(CellError):
        call(cell, proxy + " $p.getKeyValue((1), (2))", url=url)
    with pytest.raises(BadUrl):
        call(cell, "$lib.telepath.open('cell:///tmp/x')")


def test_messages_and_plain_values() -> None:
    from cellmesh.api.common.v1 import change_log_service_pb2
    from cellmesh.api.cortex.v1 import feed_pb2

    assert {"getCellInfo", "storm", "getKeyValue"} <= methods().keys()
    assert find_method("CellService/getCellInfo").full_name.endswith("CellService.GetCellInfo")
    hold = change_log_service_pb2.HoldChangesRequest()
    fill(hold, {"name": "x", "offset": 5, "lifetime": 1500})
    assert hold.lifetime.ToNanoseconds() == 1_500_000_000
    assert plain(hold) == {"name": "x", "offset": 5, "lifetime": 1500}
    for values in ({"name": 5}, {"zork": 5}, {"offset": -1}, {"lifetime": "x"}):
        with pytest.raises(BadArg):
            fill(hold, values)
    assert plain(feed_pb2.AddNodesRequest()) is not None


def test_without_a_mesh(cell: CortexCell) -> None:
    for query in (
        "$lib.aha.get(x)",
        "for $x in $lib.aha.list() {}",
        "for $x in $lib.aha.callPeerApi(x, (getCellInfo, ([]), ({}))) {}",
        "$lib.aha.pool.get(x)",
    ):
        with pytest.raises(NeedConfValu):
            call(cell, query)
    for command in ("aha.svc.list", "aha.pool.list", "aha.svc.mirror", "aha.svc.stat x", "aha.pool.add x"):
        with pytest.raises(NeedConfValu):
            call(cell, command)


def test_the_name_of_an_api_key(cell: CortexCell) -> None:
    query = "$u=$lib.auth.users.add(keys) ($text, $key)=$u.genApiKey(foo) return($u.modApiKey($key.iden, name, bar))"
    assert call(cell, query)["name"] == "bar"
    names = "$o=([]) for $k in $lib.auth.users.byname(keys).listApiKeys() { $o.append($k.name) } return($o)"
    assert call(cell, names) == ["bar"]
    with pytest.raises(BadArg):
        call(cell, "$u=$lib.auth.users.byname(keys) $u.modApiKey($u.listApiKeys().0.iden, expires, (5))")
