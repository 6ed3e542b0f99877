"""`make k8s-check`: every overlay against strict schemas and our own rules. Skipped where kubectl is missing."""

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml
from rules import (
    network,
    pods,
    policies,
    processes,
    references,
    scaling,
    settings,
    storage,
    validation,
    versions,
)
from rules.objects import Object, Rendered, called, pod_of

HERE = Path(__file__).parent
YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C eight times as fast
KUBERNETES = "1.33"
# Components that no overlay has, and that a site may add to its own.
OPTIONAL = ("backup", "prometheus-operator")
OVERLAYS = sorted(path.parent for path in HERE.glob("overlays/*/kustomization.yaml"))


def render(folder: Path) -> Rendered:
    """What `kubectl kustomize` makes of the folder without a cluster, and the secrets that belong to it."""
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    objects = [document for document in yaml.load_all(done.stdout, YAML) if document]
    own = any(each["kind"] == "StatefulSet" for each in objects)
    return Rendered(objects, secrets(folder.parents[1], external=not own))


def secrets(tree: Path, *, external: bool) -> dict[str, dict[str, str]]:
    """What make_secrets.sh of this copy of k8s/ makes for Kubernetes."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NAMESPACE": "thorax"}
        environment |= {"STORES": "external", "VALKEY_PASSWORD": "secret"} if external else {}
        script = ["bash", str(tree / "make_secrets.sh"), folder]
        subprocess.run(script, check=True, capture_output=True, env=environment)
        return {
            each.name: {file.name: file.read_text() for file in each.iterdir()}
            for each in Path(folder).iterdir()
        }


def complaints(rendered: Rendered, *, any_id: bool = False) -> Iterator[str]:
    """Every complaint. `any_id`: no pod may name a user id, as on OpenShift. What is misshapen is told before rules read it."""
    misshapen = list(validation.complaints(rendered))
    for each in rendered.objects:
        misshapen += [f"{validation.name(each)}: {why}" for why in _faults(json.dumps(each))]
    yield from misshapen or broken_rules(rendered)
    if any_id:
        yield from fixed_ids(rendered)


def broken_rules(rendered: Rendered) -> Iterator[str]:
    """What schemas can't see."""
    for rule in (pods, references, scaling, settings, storage, versions, policies, network, processes):
        yield from rule.complaints(rendered)


@functools.cache
def _faults(text: str) -> list[str]:
    """What the schema of an object, as JSON, says. Most objects are the same in each overlay."""
    each: Object = json.loads(text)
    group = each["apiVersion"].partition("/")[0]
    own = HERE / "schemas" / f"{group}.json"
    try:
        if own.exists():
            schema: dict[str, Any] = json.loads(own.read_text())
            jsonschema.validate(each, schema["$defs"][each["kind"]] | {"$defs": schema["$defs"]})
        else:
            kubernetes_validate.validate(each, KUBERNETES, strict=True)
    except (kubernetes_validate.SchemaNotFoundError, KeyError):
        return [
            f"{each['apiVersion']} has no {each['kind']} in Kubernetes {KUBERNETES}, and no schema is known here"
        ]
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
        return [str(error.message)]
    return []


def fixed_ids(rendered: Rendered) -> Iterator[str]:
    """Ids that pods name, which OpenShift does not admit."""
    for workload in rendered.workloads:
        fixed = {"runAsUser", "runAsGroup", "fsGroup"} & pod_of(workload).get("securityContext", {}).keys()
        if fixed:
            yield f"{called(workload)}: names {', '.join(sorted(fixed))}"


def with_components(folder: Path, overlay: str, first: str, last: str = "") -> Path:
    """A copy of an overlay, in a copy of k8s/ below `folder`, with components before its own and before the values."""
    shutil.copytree(HERE, folder / "k8s")
    file = folder / "k8s/overlays" / overlay / "kustomization.yaml"
    text = file.read_text().replace("components: [", f"components: [{first}, ")
    file.write_text(text.replace("../../values", f"{last}../../values"))
    return file.parent


def _all() -> Iterator[tuple[str, Rendered]]:
    """Each overlay, and one with the optional components."""
    for overlay in OVERLAYS:
        yield overlay.name, render(overlay)
    with tempfile.TemporaryDirectory() as folder:
        more = ", ".join(f"../../components/{name}" for name in OPTIONAL)
        yield " + ".join(("managed", *OPTIONAL)), render(with_components(Path(folder), "managed", more))


def main() -> None:
    """Print what is wrong; exit code 1 if anything is."""
    if shutil.which("kubectl") is None:
        print("k8s-check: skipped, kubectl is not installed")
        return
    wrong = []
    for name, rendered in _all():
        found = [*complaints(rendered, any_id=name == "openshift")]
        wrong += [f"{name}: {why}" for why in found]
        if not found:
            print(
                f"k8s-check: {name}: {len(rendered.objects)} objects are valid (Kubernetes {KUBERNETES}, KEDA)"
            )
    print("\n".join(wrong))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
