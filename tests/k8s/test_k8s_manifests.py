"""deploy/k8s: what every pod, service and volume has to have, and that the settings in it are settings."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cellmesh.aha.config import AhaConfig
from cellmesh.aha.provisioning.tokens import AccountRule
from cellmesh.axon.config import AxonConfig
from cellmesh.cli.bootstrap import grpc_bootstrap
from cellmesh.common.config import load_config
from cellmesh.common.mirror.stopping import SWITCH_S
from cellmesh.common.tls.enrollment_url import TokenUrl
from cellmesh.common.tls.folder import IdentityFolder
from cellmesh.common.tls.identity import CellIdentity
from cellmesh.cortex.config import CortexConfig
from cellmesh.cryotank.config import CryotankConfig

_SPEC = importlib.util.spec_from_file_location("k8s_manifests", Path(__file__).with_name("k8s_manifests.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
k8s = importlib.util.module_from_spec(_SPEC)
sys.modules["k8s_manifests"] = k8s
_SPEC.loader.exec_module(k8s)

CONFIGS: dict[str, Any] = {
    "aha": AhaConfig,
    "axon": AxonConfig,
    "cryotank": CryotankConfig,
    "cortex": CortexConfig,
}
overlays = pytest.mark.parametrize("overlay", k8s.OVERLAYS)
STOP_EXTRA_S = 20


@overlays
def test_every_cell_has_what_it_needs(overlay: str) -> None:
    sets, services = k8s.of_kind(overlay, "StatefulSet"), k8s.of_kind(overlay, "Service")
    budgets, accounts = k8s.of_kind(overlay, "PodDisruptionBudget"), k8s.of_kind(overlay, "ServiceAccount")
    assert set(sets) == set(k8s.CELLS)
    for name, made in sets.items():
        labels = made["spec"]["template"]["metadata"]["labels"]
        assert budgets[name]["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert services[name]["spec"]["selector"].items() <= labels.items()
        headless = services[made["spec"]["serviceName"]]["spec"]
        assert (headless["clusterIP"], headless["publishNotReadyAddresses"]) == ("None", True)
        assert headless["selector"].items() <= labels.items()
        assert name in accounts
        assert made["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert len(made["spec"]["template"]["spec"]["topologySpreadConstraints"]) == 2
        (claim,) = made["spec"]["volumeClaimTemplates"]
        assert claim["spec"]["resources"]["requests"]["storage"]
        assert made["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"


@overlays
def test_every_pod_runs_without_rights(overlay: str) -> None:
    for name, spec in k8s.pod_specs(overlay).items():
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["runAsUser"] >= 10000, name
        assert context["fsGroup"] == context["runAsGroup"], name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in spec["containers"]:
            own = container["securityContext"]
            assert own["readOnlyRootFilesystem"] is True, name
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, name
            assert "memory" in container["resources"]["limits"], name
            assert ":" in container["image"], f"{name} has an image without a tag"
            assert not container["image"].endswith(":latest"), name


@overlays
def test_every_mount_has_its_volume_and_every_volume_is_mounted(overlay: str) -> None:
    claims = {
        f"StatefulSet {name}": {claim["metadata"]["name"] for claim in made["spec"]["volumeClaimTemplates"]}
        for name, made in k8s.of_kind(overlay, "StatefulSet").items()
    }
    for name, spec in k8s.pod_specs(overlay).items():
        volumes = {volume["name"] for volume in spec.get("volumes", ())} | claims.get(name, set())
        mounts = {mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]}
        assert mounts == volumes, name


@overlays
@pytest.mark.parametrize("kind", k8s.CELLS)
def test_probes_ask_the_port_that_the_cell_serves_plain_health_at(overlay: str, kind: str) -> None:
    spec = k8s.of_kind(overlay, "StatefulSet")[kind]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    told = k8s.environment(overlay, kind)
    prefix = f"CELLMESH_{kind.upper()}_"
    assert told[f"{prefix}METRICS_LISTEN"] == f"0.0.0.0:{ports['health']}"
    assert told[f"{prefix}LISTEN"] == f"0.0.0.0:{ports['grpc']}"
    for probe, path in (
        ("startupProbe", "/readyz"),
        ("readinessProbe", "/readyz"),
        ("livenessProbe", "/healthz"),
    ):
        assert container[probe]["httpGet"] == {"path": path, "port": "health"}


@overlays
@pytest.mark.parametrize("kind", k8s.CELLS)
def test_a_pod_has_time_to_hand_over_and_to_stop(overlay: str, kind: str) -> None:
    made = k8s.of_kind(overlay, "StatefulSet")[kind]["spec"]
    spec = made["template"]["spec"]
    told = k8s.environment(overlay, kind)
    (container,) = spec["containers"]
    command, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    hand_over_s = float(told[f"CELLMESH_{kind.upper()}_HAND_OVER_TIMEOUT_S"])
    assert hand_over_s > 0
    needed_s = float(seconds) + hand_over_s + SWITCH_S + float(told[f"CELLMESH_{kind.upper()}_STOP_GRACE_S"])
    assert spec["terminationGracePeriodSeconds"] >= needed_s + STOP_EXTRA_S
    assert made["updateStrategy"] == {"type": "RollingUpdate"}
    assert made["podManagementPolicy"] == "OrderedReady"
    assert made["minReadySeconds"] > 0


@overlays
@pytest.mark.parametrize("kind", k8s.CELLS)
def test_every_variable_is_a_setting_with_a_value_that_can_be_used(
    overlay: str, kind: str, tmp_path: Path
) -> None:
    told = k8s.environment(overlay, kind, 1)
    assert not [value for value in told.values() if "$(" in value], (
        "a reference stands above what it refers to"
    )
    prefix = f"CELLMESH_{kind.upper()}_"
    names = {name.upper() for name in CONFIGS[kind].model_fields}
    for name in told:
        assert not name.startswith("CELLMESH_") or name.removeprefix(prefix) in names, name
    environ = {**told, f"{prefix}DIR": str(tmp_path / "cell")}
    for path in ("TOKEN_KEYS_AUTHORITY", "TOKEN_KEYS_TOKEN"):
        environ.pop(f"{prefix}{path}", None)
    config = load_config(CONFIGS[kind], flags={}, environ=environ)
    assert config.advertise == f"{kind}-1.{kind}-headless.{k8s.NAMESPACE}.svc.cluster.local:27492"


@overlays
def test_each_pod_may_enrol_as_the_cell_it_is_and_as_no_other(overlay: str) -> None:
    rules = [
        AccountRule.parse(rule)
        for rule in k8s.environment(overlay, "aha")["CELLMESH_AHA_TOKEN_ACCOUNTS"].split(",")
    ]
    services = k8s.of_kind(overlay, "Service")
    for kind, made in k8s.of_kind(overlay, "StatefulSet").items():
        text = k8s.environment(overlay, kind, 1).get(f"CELLMESH_{kind.upper()}_ENROLL")
        if kind == "aha" and made["spec"].get("replicas", 1) == 1:
            assert text is None
            continue
        url = TokenUrl.parse(text)
        assert url.instance == f"01.{kind}"
        host, port = url.address.rsplit(":", 1)
        service = services[host.split(".")[-5]]["spec"]
        # Of every instance: a follower has no port open for this, and a virtual address would lead to it.
        assert service["clusterIP"] == "None"
        assert int(port) in [one["port"] for one in service["ports"]]
        spec = made["spec"]["template"]["spec"]
        mounts = {mount["mountPath"]: mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        (source,) = volumes[mounts[str(url.token_path.parent)]]["projected"]["sources"]
        assert source["serviceAccountToken"]["path"] == url.token_path.name
        assert source["serviceAccountToken"]["audience"] == "cellmesh"
        assert "configMap" in volumes[mounts[str(url.authority_path.parent)]]
        account = spec["serviceAccountName"]
        for other in k8s.CELLS:
            identity = CellIdentity("01", other, "mesh")
            allowed = any(rule.allows(k8s.NAMESPACE, account, identity) for rule in rules)
            assert allowed is (other == kind)


@overlays
def test_nothing_is_open_but_what_a_policy_opens(overlay: str) -> None:
    policies = k8s.of_kind(overlay, "NetworkPolicy")
    deny = policies["default-deny"]["spec"]
    assert (deny["podSelector"], deny["policyTypes"]) == ({}, ["Ingress", "Egress"])
    assert not deny.get("ingress")
    assert not deny.get("egress")
    for name, policy in policies.items():
        for rule in policy["spec"].get("ingress", ()):
            assert rule.get("from"), f"{name} lets everybody in"
            ports = {port["port"] for port in rule["ports"]}
            # The port without TLS is for monitors alone; kubelet comes from the node, which no policy stops.
            assert ports <= ({9464} if name == "allow-monitoring" else {27492, 27493}), name


def test_the_namespace_takes_only_restricted_pods() -> None:
    (namespace,) = k8s.of_kind("base", "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_ha_has_followers_on_other_machines() -> None:
    sets = k8s.of_kind("overlays/ha", "StatefulSet")
    assert {name: made["spec"]["replicas"] for name, made in sets.items()} == {
        "aha": 3, "cortex": 3, "cryotank": 3, "axon": 2,
    }  # fmt: skip
    for made in sets.values():
        spread = made["spec"]["template"]["spec"]["topologySpreadConstraints"][0]
        assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == (
            "kubernetes.io/hostname",
            "DoNotSchedule",
        )
    for kind in ("cortex", "cryotank"):
        told = k8s.environment("overlays/ha", kind)
        synchronous = int(told[f"CELLMESH_{kind.upper()}_SYNCHRONOUS_FOLLOWERS"])
        # While one pod is restarted, the others can acknowledge writes.
        assert 1 <= synchronous <= sets[kind]["spec"]["replicas"] - 2


def test_every_manifest_is_used_by_a_kustomization() -> None:
    used = set()
    for path in k8s.FOLDER.rglob("kustomization.yaml"):
        told = yaml.safe_load(path.read_text())
        used |= {(path.parent / name).resolve() for name in told.get("resources", ())}
        used |= {
            (path.parent / patch["path"]).resolve() for patch in told.get("patches", ()) if "path" in patch
        }
    files = {
        path.resolve()
        for path in k8s.FOLDER.rglob("*.yaml")
        if path.name != "kustomization.yaml" and "examples" not in path.parts
    }
    assert files <= used


def test_backups_are_fetched_of_every_kind_of_cell_and_none_runs_beside_another() -> None:
    job = k8s.of_kind("overlays/ha", "CronJob")["backup"]["spec"]
    (container,) = job["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    (script,) = container["args"]
    assert f"for cell in {' '.join(k8s.CELLS)}; do" in script
    assert job["concurrencyPolicy"] == "Forbid"
    assert job["jobTemplate"]["spec"]["activeDeadlineSeconds"] > 0


def test_what_prometheus_is_told_is_what_the_pods_have() -> None:
    (monitor,) = k8s.of_kind("overlays/ha", "ServiceMonitor").values()
    (service,) = (
        made
        for made in k8s.of_kind("overlays/ha", "Service").values()
        if monitor["spec"]["selector"]["matchLabels"].items() <= made["metadata"]["labels"].items()
    )
    (endpoint,) = monitor["spec"]["endpoints"]
    (port,) = (one for one in service["spec"]["ports"] if one["name"] == endpoint["port"])
    assert endpoint["path"] == "/metrics"
    for made in k8s.of_kind("overlays/ha", "StatefulSet").values():
        pod = made["spec"]["template"]
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        ports = {one["name"]: one["containerPort"] for one in pod["spec"]["containers"][0]["ports"]}
        assert ports[port["targetPort"]] == port["port"]


def test_the_images_are_those_of_the_containerfile() -> None:
    text = (k8s.ROOT / "deploy" / "Containerfile").read_text()
    assert "USER 10001:10001" in text
    assert 'ENTRYPOINT ["cellmesh"]' in text
    for name, spec in k8s.pod_specs("overlays/ha").items():
        assert spec["securityContext"]["runAsUser"] == 10001, name


def test_the_bootstrap_of_the_example_is_the_one_that_is_made() -> None:
    manifests = list(yaml.safe_load_all((k8s.FOLDER / "examples" / "xds-client.yaml").read_text()))
    told = json.loads(manifests[0]["data"]["xds.json"])
    address = f"aha.{k8s.NAMESPACE}.svc.cluster.local:27492"
    assert told == grpc_bootstrap(IdentityFolder(Path("/identity")), "mesh", (address,), "example")
    compile(manifests[1]["spec"]["containers"][0]["args"][0], "xds-client.yaml", "exec")
