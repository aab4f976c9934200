"""The rendered manifests, for tests."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "k8s"
OVERLAYS = ("base", "overlays/dev", "overlays/ha")
CELLS = ("aha", "axon", "cryotank", "cortex")
NAMESPACE = "cellmesh"

Manifest = dict[str, Any]
_REFERENCE = re.compile(r"\$\(([A-Z_]+)\)")


@functools.cache
def render(overlay: str) -> tuple[Manifest, ...]:
    """What `kubectl kustomize` makes of an overlay; skips the test where there is no kubectl."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("there is no kubectl here")
    done = subprocess.run(
        [kubectl, "kustomize", str(FOLDER / overlay)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(overlay: str, kind: str) -> dict[str, Manifest]:
    """The manifests of a kind by name."""
    return {m["metadata"]["name"]: m for m in render(overlay) if m["kind"] == kind}


def pod_specs(overlay: str) -> dict[str, Manifest]:
    """The specification of each pod that is made, by what makes it."""
    found = {
        f"StatefulSet {n}": m["spec"]["template"]["spec"] for n, m in of_kind(overlay, "StatefulSet").items()
    }
    for name, job in of_kind(overlay, "CronJob").items():
        found[f"CronJob {name}"] = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return found


def environment(overlay: str, kind: str, index: int = 0) -> dict[str, str]:
    """The environment of a cell's container, as kubelet makes it: a reference to a variable that stands above."""
    spec = of_kind(overlay, "StatefulSet")[kind]["spec"]["template"]["spec"]
    made: dict[str, str] = {}
    for variable in spec["containers"][0]["env"]:
        if "valueFrom" in variable:
            path = variable["valueFrom"]["fieldRef"]["fieldPath"]
            made[variable["name"]] = {"metadata.name": f"{kind}-{index}", "metadata.namespace": NAMESPACE}[
                path
            ]
        else:
            made[variable["name"]] = _REFERENCE.sub(
                lambda found: made.get(found[1], found[0]), variable["value"]
            )
    return made
