"""What runs in the containers: a program that the image has, after the migration, with its secrets, ready before it is asked."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

from rules.objects import Object, Rendered, called, containers_of, labels_of, pod_of
from rules.settings import environment
from thorax.commands.cli import OWN
from thorax.settings import SECRETS_DIR

ROOT = Path(__file__).parents[2]
IMAGES = {
    image: {"thorax", *tomllib.loads((ROOT / image / "pyproject.toml").read_text())["project"]["scripts"]}
    for image in ("gateway", "auth-service", "model-worker", "aggregator")
}
"""The programs of each image; the first one that it runs by itself is called as it is."""
GATE = ["thorax", "wait-for-schema"]


def complaints(rendered: Rendered) -> Iterator[str]:
    """Every process that would not start, start too early, or be asked while it cannot answer."""
    for workload in rendered.workloads:
        for why in (*_programs(workload), *_given(rendered, workload)):
            yield f"{called(workload)}: {why}"
        if workload["kind"] == "Deployment" and _image(pod_of(workload)["containers"][0]) in IMAGES:
            for why in _serving(rendered, workload):
                yield f"{called(workload)}: {why}"
    migrates = [each for job in rendered.of("Job") for each in pod_of(job)["containers"]]
    if not any(each.get("command", [])[:3] == ["thorax", "migrate", "--bundle"] for each in migrates):
        yield "nothing migrates the schema and makes a bundle known"


def _image(container: Object) -> str:
    return str(container["image"].partition("@")[0].rpartition("/")[2].partition(":")[0])


def _programs(workload: Object) -> Iterator[str]:
    for container in containers_of(workload):
        if (image := _image(container)) in IMAGES:
            program, *more = [*container.get("command", [image]), ""]
            if program not in IMAGES[image]:
                yield f"{container['name']}: the image {image} has no program {program}"
            if program == "thorax" and more[0] not in OWN:
                yield f"{container['name']}: thorax has no command {more[0]}"
            if more[:1] == ["migrate"] and image != "model-worker":
                yield f"{container['name']}: the image {image} has no bundle"


def _serving(rendered: Rendered, workload: Object) -> Iterator[str]:
    """What a process that runs for ever needs besides."""
    name, pod = workload["metadata"]["name"], pod_of(workload)
    if not any(each.get("command") == GATE for each in pod.get("initContainers", [])):
        yield "does not wait for its schema"
    if workload["spec"].get("strategy", {}).get("type") == "Recreate":
        yield "ends its pods before others can take their work"
    served = any(
        service["spec"]["selector"].items() <= labels_of(workload).items()
        for service in rendered.of("Service")
    )
    for container in pod["containers"]:
        if container.get("command", [_image(container)])[0] != name:
            yield f"{container['name']}: does not run {name}"
        if "readinessProbe" not in container:
            yield f"{container['name']}: has no readiness probe"
        if served and "preStop" not in container.get("lifecycle", {}):
            yield f"{container['name']}: is still sent requests while it stops (no preStop)"


def _given(rendered: Rendered, workload: Object) -> Iterator[str]:
    """Volumes that nobody mounts; secrets that are not where the process looks for them; variables by chance."""
    mounts = {m["name"] for each in containers_of(workload) for m in each.get("volumeMounts", [])}
    for volume in pod_of(workload).get("volumes", []):
        if volume["name"] not in mounts:
            yield f"volume {volume['name']}: no container mounts it"
    for container in containers_of(workload):
        if _image(container) in IMAGES:
            if pod_of(workload).get("enableServiceLinks") is not False:
                yield "a Service called thorax would set its variables (enableServiceLinks)"
            places = {m["name"]: m["mountPath"] for m in container.get("volumeMounts", [])}
            told = environment(rendered, container).get(SECRETS_DIR)
            if told is None or told not in places.values():
                yield f"{container['name']}: its secrets are not mounted where {SECRETS_DIR} says"
