"""Every host that a pod (by its secrets) or KEDA is given must be reachable through the NetworkPolicies."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from rules.objects import Object, Rendered, called, containers_of, labels_of, pod_of
from rules.policies import NAMESPACE, Peer, enters, has_port, leaves, passes, rules_of
from rules.references import ROUTES, led_to

KEDA = "keda"
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
DNS = {
    "Kubernetes": (Peer("kube-system", {"k8s-app": "kube-dns"}), 53),
    "OpenShift": (Peer("openshift-dns", {"dns.operator.openshift.io/daemonset-dns": "default"}), 5353),
}


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
    yield from _names(rendered)
    yield from _doors(rendered)
    yield from _metrics(rendered)
    for service in rendered.of("Service"):
        if service["spec"].get("type") in ("LoadBalancer", "NodePort"):
            yield from _unreachable(rendered, service)


def _names(rendered: Rendered) -> Iterator[str]:
    """Nothing has an address before the cluster's DNS has told it."""
    dns, port = DNS["OpenShift" if any(rendered.of("Route")) else "Kubernetes"]
    for workload in rendered.workloads:
        told = [place for place in _told(rendered, workload) if not place.host.replace(".", "").isdigit()]
        for protocol in ("UDP", "TCP"):
            if told and not leaves(rendered, Peer(NAMESPACE, labels_of(workload)), dns, port, protocol):
                yield f"{called(workload)}: does not reach the cluster's DNS ({dns.namespace}, {protocol} {port})"


def _doors(rendered: Rendered) -> Iterator[str]:
    """What a route leads to has to let another namespace in: the door's."""
    for route in rendered.of(*ROUTES):
        for _, name in led_to(route):
            service = rendered.find("Service", name)
            for target in rendered.selected(service["spec"]["selector"]) if service else []:
                port = _number(target, service["spec"]["ports"][0].get("targetPort")) if service else 0
                if not any(_opens(rule, port) for rule in rules_of(rendered, "Ingress", labels_of(target))):
                    yield f"{called(route)}: no ingress policy lets a door reach {name} at {port}"


def _metrics(rendered: Rendered) -> Iterator[str]:
    """Prometheus asks from another namespace."""
    for workload in rendered.workloads:
        if "metrics" in {port.get("name") for c in containers_of(workload) for port in c.get("ports", [])}:
            port = _number(workload, "metrics")
            if not any(_opens(rule, port) for rule in rules_of(rendered, "Ingress", labels_of(workload))):
                yield f"{called(workload)}: no ingress policy lets Prometheus reach its metrics at {port}"


def _number(workload: Object, port: Any) -> Any:
    """A port by its number."""
    ports = (each for c in containers_of(workload) for each in c.get("ports", []))
    return next((each["containerPort"] for each in ports if each.get("name") == port), port)


def _opens(rule: Object, port: int) -> bool:
    others = [
        peer for peer in rule.get("from", [{"ipBlock": {}}]) if {"namespaceSelector", "ipBlock"} & peer.keys()
    ]
    return bool(others) and has_port(rule, port, "TCP")


def _unreachable(rendered: Rendered, service: Object) -> Iterator[str]:
    """What keeps senders outside of the cluster from a Service that is there for them."""
    if service["spec"].get("externalTrafficPolicy") != "Local":
        yield f"{called(service)}: hides the sender's address, by which it is allowed (externalTrafficPolicy)"
    for target in rendered.selected(service["spec"]["selector"]):
        for each in service["spec"]["ports"]:
            port = _number(target, each["targetPort"])
            if not passes(rendered, "Ingress", Peer(NAMESPACE, labels_of(target)), None, port):
                yield f"{called(service)}: port {each['port']} is not allowed by an ingress policy"


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


def _outside(rendered: Rendered, source: Peer, port: int, name: str, rest: list[str]) -> str:
    if not rest:
        return "is not a service of this namespace"
    if rest[1:2] == ["svc"] and rendered.find("Service", name):
        return f"is in namespace {rest[0]}, unlike the Service of that name here"
    return "" if leaves(rendered, source, None, port) else "is not allowed by an egress policy"


def _blocked(rendered: Rendered, source: Peer, place: Place) -> str:
    """Why `source` cannot reach the place; empty if it can."""
    name, *rest = place.host.split(".")
    service = rendered.find("Service", name) if rest[:2] in ([], [NAMESPACE], [NAMESPACE, "svc"]) else None
    if service is None:
        return _outside(rendered, source, place.port, name, rest)
    if source.namespace != NAMESPACE and not rest:
        return "is a short name, which another namespace does not know"
    if place.port not in {each["port"] for each in service["spec"]["ports"]}:
        return "is not a port of this Service"
    for target in rendered.selected(service["spec"]["selector"]):
        peer, port = Peer(NAMESPACE, labels_of(target)), place.port
        if not leaves(rendered, source, peer, port):
            return "is not allowed by an egress policy"
        if not enters(rendered, source, peer, port):
            return "is not allowed by an ingress policy"
    return ""
