"""What an API server refuses in a pod, and what the restricted level and our own rules require."""

import re
from collections import Counter
from collections.abc import Iterator

from rules.objects import ENDING, Object, Rendered, called, containers_of, labels_of, matches, pod_of
from rules.quantities import amount

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
LEVEL = "pod-security.kubernetes.io/enforce"
HANDLERS = {"exec", "httpGet", "tcpSocket", "grpc"}
TOPOLOGY = {"kubernetes.io/hostname", "topology.kubernetes.io/zone", "topology.kubernetes.io/region"}
SENSIBLE = {"cpu": ("1m", 64), "memory": ("16Mi", "256Gi")}
PATIENCE_S = 60
"""How long a start may take."""
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def complaints(rendered: Rendered) -> Iterator[str]:
    """Everything that is wrong within one workload."""
    for workload in rendered.workloads:
        for why in (*_workload(workload), *_scheduling(rendered, workload)):
            yield f"{called(workload)}: {why}"
    for namespace in rendered.of("Namespace"):
        if namespace["metadata"].get("labels", {}).get(LEVEL) != "restricted":
            yield f"{called(namespace)}: does not enforce the restricted level"


def _workload(workload: Object) -> Iterator[str]:
    spec, pod, kind = workload["spec"], pod_of(workload), workload["kind"]
    if kind not in ENDING and not matches(spec["selector"], labels_of(workload)):
        yield "its selector does not match the labels of its own pods"
    allowed = {"OnFailure", "Never"} if kind in ENDING else {"Always", None}
    if pod.get("restartPolicy") not in allowed:
        yield f"restartPolicy {pod.get('restartPolicy')} is not allowed in a {kind}"
    security = pod.get("securityContext", {})
    if not security.get("runAsNonRoot"):
        yield "may run as root"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile"
    if pod.get("automountServiceAccountToken") is not False:
        yield "carries a token of the cluster"
    claims = [claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])]
    yield from _volumes(pod, claims)
    yield from _repeated("container", [each["name"] for each in containers_of(workload)])
    for container in containers_of(workload):
        for why in _container(container):
            yield f"{container['name']}: {why}"
    for container in pod["containers"]:
        if kind not in ENDING and "livenessProbe" not in container:
            yield f"{container['name']}: has no liveness probe"
        if kind not in ENDING and _patience(container, "startupProbe", "livenessProbe") < PATIENCE_S:
            yield f"{container['name']}: is killed if its start takes {PATIENCE_S} s"
        yield from _stopping(pod, container)


def _scheduling(rendered: Rendered, workload: Object) -> Iterator[str]:
    pod, kind = pod_of(workload), workload["kind"]
    name = pod.get("priorityClassName", "")
    if rendered.find("PriorityClass", name) is None:
        yield f"its priority class {name} does not exist" if name else "has no priority class"
    constraints = pod.get("topologySpreadConstraints", [])
    if kind == "Deployment" and workload["spec"].get("replicas", 2) > 1 and not constraints:
        yield "its pods may all be on one node"
    strategy = workload["spec"].get("strategy", {}).get("rollingUpdate", {})
    if strategy and not any(amount(str(n).rstrip("%")) for n in strategy.values()):
        yield "its update may neither add nor take away a pod"
    twice = [f"{each['topologyKey']}, {each['whenUnsatisfiable']}" for each in constraints]
    yield from _repeated("spread over", twice)
    for constraint in constraints:
        if constraint["topologyKey"] not in TOPOLOGY:
            yield f"no node has the label {constraint['topologyKey']}"
        selector = constraint.get("labelSelector")  # without one, no pod is counted
        keys = set(constraint.get("matchLabelKeys", [])) - {"pod-template-hash"}  # which the Deployment adds
        if selector and keys & selector.get("matchLabels", {}).keys():
            yield f"its spread over {constraint['topologyKey']} names a label in labelSelector and in matchLabelKeys"
        if (
            not selector
            or not matches(selector, labels_of(workload))
            or not keys <= labels_of(workload).keys()
        ):
            yield f"its spread over {constraint['topologyKey']} does not count its own pods"


def _volumes(pod: Object, claims: list[str]) -> Iterator[str]:
    names = [*claims, *(volume["name"] for volume in pod.get("volumes", []))]
    yield from _repeated("volume", names)
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        mounts = container.get("volumeMounts", [])
        for mount in mounts:
            if mount["name"] not in names:
                yield f"{container['name']}: mounts {mount['name']}, which is not a volume of the pod"
        yield from _repeated(f"{container['name']}: mount at", [mount["mountPath"] for mount in mounts])


def _repeated(what: str, names: list[str]) -> Iterator[str]:
    for name, count in Counter(names).items():
        if count > 1:
            yield f"{what} {name} occurs {count} times"


def _container(container: Object) -> Iterator[str]:
    if container.get("securityContext") != RESTRICTED:
        yield "its securityContext is not the restricted one"
    if ":" not in container["image"].rpartition("/")[2] or container["image"].endswith(":latest"):
        yield "its image has no version"
    yield from _repeated("variable", [each["name"] for each in container.get("env", [])])
    yield from _repeated("port", [each["name"] for each in container.get("ports", []) if "name" in each])
    for port in container.get("ports", []):
        if not 0 < port["containerPort"] < 65536:
            yield f"port {port['containerPort']} is out of range"
    for probe in PROBES:
        yield from _probe(probe, container)
    yield from _resources(container.get("resources", {}))


def _probe(name: str, container: Object) -> Iterator[str]:
    probe = container.get(name)
    if probe is None:
        return
    handlers = HANDLERS & probe.keys()
    if len(handlers) != 1:
        yield f"{name} needs one handler, and has {len(handlers)}"
    if name != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        yield f"{name}: successThreshold has to be 1"
    for handler in handlers & {"httpGet", "tcpSocket"}:
        port = probe[handler]["port"]
        known = {each.get("name") for each in container.get("ports", [])}
        known |= {each["containerPort"] for each in container.get("ports", [])}
        if port not in known:
            yield f"{name} asks port {port}, which the container does not name"


def _resources(resources: Object) -> Iterator[str]:
    limits, requests = resources.get("limits", {}), resources.get("requests", {})
    for name, value in [*limits.items(), *requests.items()]:
        least, most = SENSIBLE.get(name, (0, "1Pi"))
        if (found := amount(value)) is not None and not amount(least) <= found <= amount(most):
            yield f"{value} of {name} can't be meant"
    if "memory" not in limits:
        yield "has no memory limit"
    for name, value in [*limits.items(), *requests.items()]:
        if amount(value) is None:
            yield f"{value} is not a quantity of {name}"
    for name in requests.keys() | limits.keys():
        if "/" in name and not (
            str(limits.get(name)).isdigit() and requests.get(name, limits[name]) == limits[name]
        ):
            yield f"{name} takes whole ones, and a limit that the request (if any) is equal to"
    for name, value in requests.items():
        wanted, most = amount(value), amount(limits.get(name, value))
        if wanted is not None and most is not None and wanted > most:
            yield f"requests {value} of {name}, above its limit {limits[name]}"


def _patience(container: Object, *probes: str) -> int:
    """Seconds after which the first of these probes that there is gives up."""
    probe = next((container[name] for name in probes if name in container), {})
    tries = int(probe.get("periodSeconds", 10)) * int(probe.get("failureThreshold", 3))
    return int(probe.get("initialDelaySeconds", 0)) + tries


def _stopping(pod: Object, container: Object) -> Iterator[str]:
    hook = container.get("lifecycle", {}).get("preStop", {})
    told = [*map(str, hook.get("exec", {}).get("command", [])), str(hook.get("sleep", {}).get("seconds", ""))]
    pause = re.findall(r"\d+", " ".join(told))
    own = {each["name"]: each.get("value") for each in container.get("env", [])}
    needed = int(pause[-1] if pause else 0) + int(own.get("THORAX_GRACE_S") or 0)
    if needed >= pod.get("terminationGracePeriodSeconds", 30):
        yield f"{container['name']}: is killed before its pause and grace of {needed} s are over"
