"""Volumes that a pod can mount, read and write."""

from collections.abc import Iterator

from rules.objects import ENDING, Object, Rendered, called, labels_of, matches, pod_of
from rules.quantities import amount

GROUP_READS = 0o040


def complaints(rendered: Rendered) -> Iterator[str]:
    """Every volume that would keep a pod from starting, or from its files."""
    for workload in rendered.workloads:
        for why in (*_volumes(workload), *_claims(rendered, workload)):
            yield f"{called(workload)}: {why}"
    for claim in _all_claims(rendered):
        for name, size in claim["spec"]["resources"]["requests"].items():
            if amount(size) is None:
                yield f"{called(claim)}: {size} is not a quantity of {name}"


def _all_claims(rendered: Rendered) -> Iterator[Object]:
    yield from rendered.of("PersistentVolumeClaim")
    for workload in rendered.workloads:
        for template in workload["spec"].get("volumeClaimTemplates", []):
            yield {"kind": "PersistentVolumeClaim", **template}


def _volumes(workload: Object) -> Iterator[str]:
    pod = pod_of(workload)
    for volume in pod.get("volumes", []):
        size = volume.get("emptyDir", {}).get("sizeLimit", 0)
        if amount(size) is None:
            yield f"volume {volume['name']}: {size} is not a quantity"
        mode = volume.get("secret", {}).get("defaultMode", 0o644)
        if not mode & GROUP_READS:
            yield f"volume {volume['name']}: mode {mode:04o} does not let its group read it"
        security = pod.get("securityContext", {})
        private = "secret" in volume and not mode & 0o004
        if private and "runAsUser" in security and "fsGroup" not in security:
            yield f"volume {volume['name']}: without fsGroup its user cannot read it"
    written = {each["name"] for each in pod.get("volumes", []) if "emptyDir" in each}
    for container in pod["containers"]:
        mounts = container.get("volumeMounts", [])
        scratch = any(m["mountPath"] == "/tmp" and m["name"] in written for m in mounts)  # noqa: S108
        if container.get("securityContext", {}).get("readOnlyRootFilesystem") and not scratch:
            yield f"{container['name']}: cannot write to /tmp"


def _claims(rendered: Rendered, workload: Object) -> Iterator[str]:
    for volume in pod_of(workload).get("volumes", []):
        name = volume.get("persistentVolumeClaim", {}).get("claimName")
        if name is None:
            continue
        claim = rendered.find("PersistentVolumeClaim", name)
        if claim is None:
            yield f"nothing makes PersistentVolumeClaim {name}"
            continue
        modes, others = set(claim["spec"]["accessModes"]), _pods_of(rendered, name)
        single = workload["kind"] in ENDING or workload["spec"].get("replicas", 2) == 1
        shared = len(others) > 1 or not single
        once = not modes & {"ReadWriteMany", "ReadOnlyMany"}
        if shared and once and not _on_one_node(workload, others):
            yield f"volume {volume['name']}: several pods mount {name}, which one node may write"


def _pods_of(rendered: Rendered, claim: str) -> list[Object]:
    return [
        each
        for each in rendered.workloads
        if claim
        in {v.get("persistentVolumeClaim", {}).get("claimName") for v in pod_of(each).get("volumes", [])}
    ]


def _on_one_node(workload: Object, others: list[Object]) -> bool:
    affinity = pod_of(workload).get("affinity", {}).get("podAffinity", {})
    return any(
        term["topologyKey"] == "kubernetes.io/hostname"
        and all(matches(term["labelSelector"], labels_of(each)) for each in others)
        for term in affinity.get("requiredDuringSchedulingIgnoredDuringExecution", [])
    )
