"""Other clients of AHA's control plane than grpcio: Envoy, and grpc-js if there is Node.js. Run by `make xds-interop`.

    python tests/interop/xds_interop.py ENVOY NODE_MODULES

A mesh of AHA and two Cryotanks as processes. Envoy takes plain HTTP/2 calls for the service, for one instance and for AHA, and
balances by what AHA tells. grpc-js knows no TLS to its control plane, so it asks AHA through Envoy; its calls to cells are mutual TLS of its own. Ends with status 1 if anything is not as it should be, or was refused.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import grpc
from cellmesh.api.common.v1 import cell_service_pb2, cell_service_pb2_grpc
from cellmesh.cli.mesh import ports
from cellmesh.common.tls.folder import IdentityFolder
from cellmesh.common.tls.xds_bootstrap import envoy_bootstrap, grpc_bootstrap
from cellmesh.testing.mirrors import Instances

ROOT = Path(__file__).resolve().parents[2]
LEADER = (("cellmesh-read", "leader"),)


def count(address: str, times: int, metadata: tuple[tuple[str, str], ...] = ()) -> Counter[str]:
    """Call an address so often; who answered how often."""
    with grpc.insecure_channel(address) as channel:
        stub = cell_service_pb2_grpc.CellServiceStub(channel)
        request = cell_service_pb2.GetCellInfoRequest()
        return Counter(
            stub.GetCellInfo(request, timeout=10.0, wait_for_ready=True, metadata=metadata).cell.name
            for _ in range(times)
        )


def check(what: str, is_right: bool, told: object) -> None:
    """Say how something is, and end if it is wrong."""
    print(f"{'ok' if is_right else 'WRONG':6} {what}: {told}", flush=True)
    if not is_right:
        raise SystemExit(1)


def check_envoy(tanks: Instances, places: dict[str, str]) -> None:
    """Envoy spreads reads, finds the leader, and follows it."""
    leader, follower = tanks.settle()
    names = {tanks.name(leader), tanks.name(follower)}
    found = count(places["cryotank"], 40)
    check("Envoy spreads reads", found.keys() == names and min(found.values()) >= 15, dict(found))
    found = count(places["cryotank"], 20, LEADER)
    check("Envoy finds the leader", found.keys() == {tanks.name(leader)}, dict(found))
    found = count(places[f"{follower}.cryotank"], 20)
    check("Envoy finds one instance", found.keys() == {tanks.name(follower)}, dict(found))
    tanks.promote(follower)
    time.sleep(0.1)
    found = count(places["cryotank"], 20, LEADER)
    check("Envoy follows the leader within 0.1 s", found.keys() == {tanks.name(follower)}, dict(found))


def check_js(tanks: Instances, folder: Path, modules: Path, control_plane: str) -> None:
    """The same for grpc-js."""
    leader, follower = tanks.settle()
    made = grpc_bootstrap(IdentityFolder(tanks.mesh.identity), "mesh", [control_plane], "grpc-js")
    made["xds_servers"][0]["channel_creds"] = [{"type": "insecure"}]
    bootstrap = folder / "js.json"
    bootstrap.write_text(json.dumps(made))
    environment = {
        **os.environ,
        "GRPC_XDS_BOOTSTRAP": str(bootstrap),
        "NODE_MODULES": str(modules),
        "PROTOS": str(ROOT / "protos"),
    }
    command = ["node", str(Path(__file__).with_name("xds_client.js"))]
    found = json.loads(
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60).stdout
    )
    names = {tanks.name(leader), tanks.name(follower)}
    check("grpc-js spreads reads", found["any"].keys() == names, found["any"])
    check("grpc-js finds the leader", found["leader"].keys() == {tanks.name(leader)}, found["leader"])


def main() -> None:
    """Check all that is there."""
    envoy, modules = Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute()
    with tempfile.TemporaryDirectory() as name, Instances(Path(name), "cryotank", 2) as tanks:
        folder = Path(name)
        follower = tanks.settle()[1]
        services = ("cryotank", f"{follower}.cryotank", "aha")
        places = {service: f"127.0.0.1:{ports.free_port()}" for service in services}
        identity = IdentityFolder(tanks.mesh.identity)
        mesh = identity.mesh()
        assert mesh is not None
        made = envoy_bootstrap(identity, "mesh", mesh.registry_addresses, "envoy", list(places.items()))
        (folder / "envoy.json").write_text(json.dumps(made))
        command = [
            str(envoy),
            "-c",
            str(folder / "envoy.json"),
            "--base-id",
            str(os.getpid()),
            "-l",
            "warning",
        ]
        with (folder / "envoy.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            check_envoy(tanks, places)
            if shutil.which("node") and modules.exists():
                check_js(tanks, folder, modules, places["aha"])
            else:
                print("left out: grpc-js, as there is no Node.js or the packages could not be installed")
        finally:
            process.terminate()
            process.wait()
            told = (folder / "envoy.log").read_text()
            print("\n".join(line for line in told.splitlines() if "rejected" in line or "[error]" in line))
        refused = [line for line in tanks.mesh.log("aha").read_text().splitlines() if "xds_refused" in line]
        check("nothing that AHA sent was refused", not refused, refused)


if __name__ == "__main__":
    main()
