"""Every host that a pod (by its secrets) or KEDA is given must be reachable through the NetworkPolicies."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from rules.objects import Object, Rendered, called, containers_of, labels_of, matches, pod_of

NAMESPACE, KEDA = "thorax", "keda"
SAID_ONLY = {"THORAX_ISSUER", "THORAX_CORS_ORIGINS"}  # nobody connects to these
OUTWARD = {
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "AWS_ENDPOINT",
    "AWS_ENDPOINT_URL",
}  # only who reaches the bucket does
_URL = re.compile(r"(?:https?|rediss?|postgresql(?:\+psycopg)?)://[^\s\"']+")
_DSN = re.compile(r"\bhost=(\S+)(?: port=(\d+))?")
_PORTS = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379}


class Peer(NamedTuple):
    """Pods as a policy sees them."""

    namespace: str
    labels: Mapping[str, str]


class Place(NamedTuple):
    """A host and port that a pod or KEDA is given."""

    host: str
    port: int


def complaints(rendered: Rendered) -> Iterator[str]:
    """Every place that a pod or KEDA is given and cannot reach."""
    for workload in rendered.workloads:
        for place in dict.fromkeys(_told(rendered, workload)):
            why = _blocked(rendered, Peer(NAMESPACE, labels_of(workload)), place)
            if why:
                yield f"{called(workload)}: {place.host}:{place.port} {why}"
    for trigger in rendered.of("TriggerAuthentication"):
        for reference in trigger["spec"].get("secretTargetRef", []):
            text = rendered.secrets.get(reference["name"], {}).get(reference["key"], "")
            for place in _places(text):
                why = _blocked(rendered, Peer(KEDA, {}), place)
                if why:
                    yield f"{called(trigger)}: {place.host}:{place.port} {why}"
    for service in rendered.of("Service"):
        if service["spec"].get("type") in ("LoadBalancer", "NodePort"):
            yield from _unreachable(rendered, service)
    for policy in rendered.of("NetworkPolicy"):
        if policy["spec"]["podSelector"] and not _bound(rendered, policy):
            yield f"{called(policy)}: selects no pod"


def _unreachable(rendered: Rendered, service: Object) -> Iterator[str]:
    """What keeps senders outside of the cluster from a Service that is there for them."""
    if service["spec"].get("externalTrafficPolicy") != "Local":
        yield f"{called(service)}: hides the sender's address, by which it is allowed (externalTrafficPolicy)"
    for target in rendered.selected(service["spec"]["selector"]):
        ports = {
            port.get("name"): port["containerPort"]
            for c in containers_of(target)
            for port in c.get("ports", [])
        }
        for each in service["spec"]["ports"]:
            port = ports.get(each["targetPort"], each["targetPort"])
            if not _passes(rendered, "Ingress", Peer(NAMESPACE, labels_of(target)), None, port):
                yield f"{called(service)}: port {each['port']} is not allowed by an ingress policy"


def _bound(rendered: Rendered, policy: Object) -> list[Object]:
    return [each for each in rendered.workloads if matches(policy["spec"]["podSelector"], labels_of(each))]


def _told(rendered: Rendered, workload: Object) -> Iterator[Place]:
    for volume in pod_of(workload).get("volumes", []):
        for text in rendered.secrets.get(volume.get("secret", {}).get("secretName", ""), {}).values():
            yield from _places(text)
    dials_out = "thorax/blobs" in labels_of(workload)
    for container in containers_of(workload):
        for name, text in _variables(rendered, container):
            if name not in SAID_ONLY and (dials_out or name not in OUTWARD):
                yield from _places(text)


def _variables(rendered: Rendered, container: Object) -> Iterator[tuple[str, str]]:
    for source in container.get("envFrom", []):
        config = rendered.find("ConfigMap", source.get("configMapRef", {}).get("name", ""))
        yield from (config or {}).get("data", {}).items()
    for variable in container.get("env", []):
        yield variable["name"], str(variable.get("value", ""))


def _places(text: str) -> Iterator[Place]:
    for url in _URL.findall(text):
        parts = urlsplit(url)
        if parts.hostname:
            yield Place(parts.hostname, parts.port or _PORTS.get(parts.scheme, 5432))
    for host, port in _DSN.findall(text):
        yield Place(host, int(port or 5432))


def _blocked(rendered: Rendered, source: Peer, place: Place) -> str:
    """Why `source` cannot reach the place; empty if it can."""
    name, *rest = place.host.split(".")
    service = rendered.find("Service", name) if rest[:2] in ([], [NAMESPACE], [NAMESPACE, "svc"]) else None
    if service is None:
        if not rest:
            return "is not a service of this namespace"
        return "" if _leaves(rendered, source, None, place.port) else "is not allowed by an egress policy"
    if source.namespace != NAMESPACE and not rest:
        return "is a short name, which another namespace does not know"
    for target in rendered.selected(service["spec"]["selector"]):
        peer, port = Peer(NAMESPACE, labels_of(target)), place.port
        if not _leaves(rendered, source, peer, port):
            return "is not allowed by an egress policy"
        if not _enters(rendered, source, peer, port):
            return "is not allowed by an ingress policy"
    return ""


def _leaves(rendered: Rendered, source: Peer, target: Peer | None, port: int) -> bool:
    return source.namespace != NAMESPACE or _passes(rendered, "Egress", source, target, port)


def _enters(rendered: Rendered, source: Peer, target: Peer, port: int) -> bool:
    return _passes(rendered, "Ingress", target, source, port)


def _passes(rendered: Rendered, way: str, bound: Peer, other: Peer | None, port: int) -> bool:
    """Whether the policies that bind `bound` let it talk to `other` (None: somewhere outside) this way."""
    binding = [
        policy["spec"]
        for policy in rendered.of("NetworkPolicy")
        if way in policy["spec"]["policyTypes"] and matches(policy["spec"]["podSelector"], bound.labels)
    ]
    rules = [rule for spec in binding for rule in spec.get(way.lower(), [])]
    key = "to" if way == "Egress" else "from"
    return not binding or any(_port(rule, port) and _peer(rule.get(key), other) for rule in rules)


def _port(rule: Mapping[str, Any], port: int) -> bool:
    return "ports" not in rule or any(each.get("port", port) == port for each in rule["ports"])


def _peer(allowed: list[Object] | None, other: Peer | None) -> bool:
    if allowed is None:
        return True
    for each in allowed:
        if "ipBlock" in each:
            if other is None:
                return True
            continue
        if other is None:
            continue
        namespace = each.get("namespaceSelector")
        names = {"kubernetes.io/metadata.name": other.namespace}
        same = other.namespace == NAMESPACE if namespace is None else matches(namespace, names)
        if same and matches(each.get("podSelector", {}), other.labels):
            return True
    return False
