"""The settings of deploy/k8s make a mesh: cells start from the environments of their pods, with other addresses, and
enrol with a service-account token that a key of the cluster signed.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import jwt
from cellmesh.aha.cell import AhaCell
from cellmesh.aha.config import AhaConfig
from cellmesh.api.common.v1 import cell_service_pb2, cell_service_pb2_grpc
from cellmesh.axon.cell import AxonCell
from cellmesh.axon.config import AxonConfig
from cellmesh.client import open_cell
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cryptography.hazmat.primitives.asymmetric import ec

_SPEC = importlib.util.spec_from_file_location("k8s_manifests", Path(__file__).with_name("k8s_manifests.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
k8s = importlib.util.module_from_spec(_SPEC)
sys.modules["k8s_manifests"] = k8s
_SPEC.loader.exec_module(k8s)


def here(environ: dict[str, str], kind: str, folder: Path, **changed: str) -> dict[str, str]:
    """An environment with this machine's addresses and folders."""
    prefix = f"CELLMESH_{kind.upper()}_"
    made = {
        **environ,
        f"{prefix}DIR": str(folder / kind),
        f"{prefix}LISTEN": "127.0.0.1:0",
        f"{prefix}ADVERTISE": "",
        f"{prefix}METRICS_LISTEN": "127.0.0.1:0",
        f"{prefix}STOP_GRACE_S": "0.5",
    }
    return made | {f"{prefix}{name}": value for name, value in changed.items()}


def token(key: ec.EllipticCurvePrivateKey, account: str) -> str:
    claims: dict[str, Any] = {
        "iss": "https://kubernetes.default.svc.cluster.local",
        "aud": ["cellmesh"],
        "sub": f"system:serviceaccount:{k8s.NAMESPACE}:{account}",
        "exp": time.time() + 600,
        "iat": time.time(),
    }
    return jwt.encode(claims, key, algorithm="ES256", headers={"kid": "k"})


def test_a_pod_enrols_with_its_token_and_is_found(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    (tmp_path / "jwks").write_text(json.dumps({"keys": [{**public, "kid": "k"}]}))
    aha_environ = here(
        k8s.environment("base", "aha"),
        "aha",
        tmp_path,
        ENROLL_LISTEN="127.0.0.1:0",
        TOKEN_KEYS=str(tmp_path / "jwks"),
    )
    for name in ("TOKEN_KEYS_AUTHORITY", "TOKEN_KEYS_TOKEN"):
        del aha_environ[f"CELLMESH_AHA_{name}"]
    with running(AhaCell(load_config(AhaConfig, flags={}, environ=aha_environ))) as aha:
        (tmp_path / "token").write_text(token(key, "axon"))
        url = k8s.environment("base", "axon", 3)["CELLMESH_AXON_ENROLL"]
        url = url.replace("aha-headless.cellmesh.svc.cluster.local:27493", aha.enroll_address)
        url = url.replace("/var/run/secrets/cellmesh/token", str(tmp_path / "token"))
        url = url.replace("/etc/cellmesh/ca.crt", str(aha.config.dir / "ca" / "ca.crt"))
        axon_environ = here(k8s.environment("base", "axon", 3), "axon", tmp_path, ENROLL=url)
        with running(AxonCell(load_config(AxonConfig, flags={}, environ=axon_environ))):
            identity = aha.config.dir / "users" / "root"
            with open_cell("aha://03.axon", identity=identity, timeout_s=20) as client:
                stub = client.stub(cell_service_pb2_grpc.CellServiceStub)
                assert stub.GetCellInfo(cell_service_pb2.GetCellInfoRequest()).cell.name == "03.axon.mesh"
