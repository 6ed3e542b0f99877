"""What NetworkPolicies allow, as apimachinery reads them."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any, NamedTuple

from rules.objects import Object, Rendered, called, labels_of, matches

NAMESPACE = "thorax"


class Peer(NamedTuple):
    """Pods as a policy sees them."""

    namespace: str
    labels: Mapping[str, str]


def complaints(rendered: Rendered) -> Iterator[str]:
    """Every policy that is not valid, binds nobody or allows more than was meant; every pod that none binds."""
    for policy in rendered.of("NetworkPolicy"):
        selector = policy["spec"]["podSelector"]
        if selector and not any(matches(selector, labels_of(each)) for each in rendered.workloads):
            yield f"{called(policy)}: selects no pod"
        for why in _written(policy):
            yield f"{called(policy)}: {why}"
    for workload in rendered.workloads:
        for way in ("Ingress", "Egress"):
            if not _binding(rendered, way, labels_of(workload)):
                yield f"{called(workload)}: no policy binds its {way.lower()}, so all is allowed"


def _written(policy: Object) -> Iterator[str]:
    """What an API server refuses, and lists whose emptiness means everybody."""
    for way, key in (("egress", "to"), ("ingress", "from")):
        for rule in policy["spec"].get(way, []):
            if not rule.get(key) or not rule.get("ports"):
                yield f"an empty list in its {way} allows everything"
            for peer in rule.get(key) or []:
                if "ipBlock" in peer:
                    yield from _block(peer["ipBlock"])
            for each in rule.get("ports") or []:
                if isinstance(each.get("port"), int) and not 0 < each["port"] < 65536:
                    yield f"port {each['port']} is out of range"


def _block(block: Object) -> Iterator[str]:
    try:
        whole = ip_network(block["cidr"])
        for part in block.get("except", []):
            if not ip_network(part).subnet_of(whole):  # type: ignore[arg-type]
                yield f"{part} is not within {block['cidr']}"
    except (ValueError, TypeError) as error:
        yield f"{error}"


def leaves(rendered: Rendered, source: Peer, target: Peer | None, port: int, protocol: str = "TCP") -> bool:
    """Whether a pod of ours may send to `target` (None: somewhere outside). Other namespaces' policies are not known."""
    return source.namespace != NAMESPACE or passes(rendered, "Egress", source, target, port, protocol)


def enters(rendered: Rendered, source: Peer, target: Peer, port: int) -> bool:
    """Whether `target` lets `source` in."""
    return passes(rendered, "Ingress", target, source, port)


def passes(
    rendered: Rendered, way: str, bound: Peer, other: Peer | None, port: int, protocol: str = "TCP"
) -> bool:
    """Whether the policies that bind `bound` let it talk to `other` (None: somewhere outside) this way."""
    key = "to" if way == "Egress" else "from"
    binding = _binding(rendered, way, bound.labels)
    return not binding or any(
        has_port(rule, port, protocol) and _peer(rule.get(key), other)
        for rule in rules_of(rendered, way, bound.labels)
    )


def _binding(rendered: Rendered, way: str, labels: Mapping[str, str]) -> list[Object]:
    return [
        policy["spec"]
        for policy in rendered.of("NetworkPolicy")
        if way in policy["spec"]["policyTypes"] and matches(policy["spec"]["podSelector"], labels)
    ]


def rules_of(rendered: Rendered, way: str, labels: Mapping[str, str]) -> list[Object]:
    """What is allowed this way to pods with these labels."""
    return [rule for spec in _binding(rendered, way, labels) for rule in spec.get(way.lower(), [])]


def has_port(rule: Mapping[str, Any], port: int, protocol: str) -> bool:
    """Whether a rule's ports (none: all) have this one; TCP where a rule does not say."""
    return not rule.get("ports") or any(
        each.get("protocol", "TCP") == protocol
        and (each.get("port", port) == port or port in range(each["port"], each.get("endPort", 0) + 1))
        for each in rule["ports"]
    )


def _peer(allowed: list[Object] | None, other: Peer | None) -> bool:
    if not allowed:
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
