"""`make k8s-check`: the manifests against strict schemas and our own rules. Skips what needs a missing kubectl."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

HERE = Path(__file__).parent
KUBERNETES = "1.33"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def render(folder: Path = HERE) -> list[dict[str, Any]]:
    """What `kubectl kustomize` makes of the folder, without a cluster."""
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def complaints(document: dict[str, Any]) -> Iterator[str]:
    """Everything that is wrong with one object."""
    schema = json.loads((HERE / "schemas" / "keda.json").read_text())
    try:
        if document["apiVersion"].startswith("keda.sh/"):
            jsonschema.validate(document, schema["$defs"][document["kind"]] | {"$defs": schema["$defs"]})
        else:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
        yield str(error.message)
    template = document.get("spec", {}).get("template")
    if template:
        yield from _pod_complaints(template["spec"], long_lived=document["kind"] != "Job")


def _pod_complaints(pod: dict[str, Any], *, long_lived: bool) -> Iterator[str]:
    if not pod.get("securityContext", {}).get("runAsNonRoot"):
        yield "may run as root"
    if pod.get("automountServiceAccountToken") is not False:
        yield "carries a token of the cluster"
    for container in pod["containers"]:
        if container.get("securityContext") != RESTRICTED:
            yield f"{container['name']}: its securityContext is not the restricted one"
        if "memory" not in container.get("resources", {}).get("limits", {}):
            yield f"{container['name']}: has no memory limit"
        if long_lived and "livenessProbe" not in container:
            yield f"{container['name']}: has no liveness probe"
        if ":" not in container["image"] or container["image"].endswith(":latest"):
            yield f"{container['name']}: its image has no version"


def main() -> None:
    """Print what is wrong; exit code 1 if anything is."""
    if shutil.which("kubectl") is None:
        print("k8s-check: skipped, kubectl is not installed")
        return
    documents = render()
    wrong = [f"{d['kind']} {d['metadata']['name']}: {why}" for d in documents for why in complaints(d)]
    print(
        "\n".join(wrong) or f"k8s-check: {len(documents)} objects are valid (Kubernetes {KUBERNETES}, KEDA)"
    )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
