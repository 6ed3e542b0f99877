"""What an object names has to be there: a key, a port, a pod, an account."""

import re
from collections.abc import Iterator

from rules.objects import Object, Rendered, called, containers_of, pod_of

CLUSTER_WIDE = {"Namespace", "PriorityClass"}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def complaints(rendered: Rendered) -> Iterator[str]:
    """Every name that leads nowhere, or that two objects have."""
    for rule in (_twice, _places, _services, _routes, _doorless):
        yield from rule(rendered)
    for workload in rendered.workloads:
        for why in _of_a_workload(rendered, workload):
            yield f"{called(workload)}: {why}"


def _twice(rendered: Rendered) -> Iterator[str]:
    seen: set[str] = set()
    for each in rendered.objects:
        name = called(each)
        if name in seen:
            yield f"{name}: occurs twice"
        seen.add(name)


def _places(rendered: Rendered) -> Iterator[str]:
    (own,) = {each["metadata"]["name"] for each in rendered.of("Namespace")}
    for each in rendered.objects:
        name, namespace = each["metadata"]["name"], each["metadata"].get("namespace")
        if each["kind"] not in CLUSTER_WIDE and namespace != own:
            yield f"{called(each)}: is in namespace {namespace}, not in {own}"
        if not _NAME.fullmatch(name) or len(name) > 253:
            yield f"{called(each)}: its name has to be of small letters, digits and hyphens"
    for each in (*rendered.workloads, *rendered.of("Service")):
        if len(each["metadata"]["name"]) > 63:
            yield f"{called(each)}: its name is longer than 63 characters"


def _services(rendered: Rendered) -> Iterator[str]:
    for workload in rendered.of("StatefulSet"):
        service = rendered.find("Service", workload["spec"]["serviceName"])
        if service is None or service["spec"].get("clusterIP") != "None":
            yield f"{called(workload)}: {workload['spec']['serviceName']} is not a headless Service, so its pods have no names"
    for service in rendered.of("Service"):
        ports = [(port["port"], port.get("protocol", "TCP")) for port in service["spec"]["ports"]]
        if len(set(ports)) < len(ports):
            yield f"{called(service)}: two of its ports are the same"
        chosen = rendered.selected(service["spec"].get("selector", {}))
        if not chosen:
            yield f"{called(service)}: selects no pod"
        for workload in chosen:
            ports = [port for container in containers_of(workload) for port in container.get("ports", [])]
            known = {each for port in ports for each in (port.get("name"), port["containerPort"])}
            for port in service["spec"]["ports"]:
                if port.get("targetPort", port["port"]) not in known:
                    yield f"{called(service)}: targetPort {port.get('targetPort', port['port'])} is not a port of its pods"


def _routes(rendered: Rendered) -> Iterator[str]:
    for route in rendered.of("HTTPRoute"):
        for host in route["spec"].get("hostnames", []):
            if not _NAME.fullmatch(host.removeprefix("*.")):
                yield f"{called(route)}: {host} is not a host's name"
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                yield from _backend(rendered, route, backend["name"], backend["port"])
    for route in rendered.of("Route"):
        yield from _backend(rendered, route, route["spec"]["to"]["name"], route["spec"]["port"]["targetPort"])
    for ingress in rendered.of("Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                yield from _backend(rendered, ingress, service["name"], *service["port"].values())


def _doorless(rendered: Rendered) -> Iterator[str]:
    """What a browser asks for has to be led to by some route, if there is one."""
    routes = list(rendered.of("HTTPRoute", "Route", "Ingress"))
    for name in ("gateway", "auth-service") if routes else ():
        if not any(name in led_to(route) for route in routes):
            yield f"Service {name}: no route leads to it"


def led_to(route: Object) -> Iterator[str]:
    """The Services that a route leads to."""
    spec = route["spec"]
    if "to" in spec:
        yield spec["to"]["name"]
    for rule in spec.get("rules", []):
        yield from (each["name"] for each in rule.get("backendRefs", []))
        yield from (each["backend"]["service"]["name"] for each in rule.get("http", {}).get("paths", []))


def _backend(rendered: Rendered, route: Object, name: str, port: object) -> Iterator[str]:
    service = rendered.find("Service", name)
    if service is None:
        yield f"{called(route)}: leads to Service {name}, which does not exist"
    elif port not in {each.get(key) for each in service["spec"]["ports"] for key in ("name", "port")}:
        yield f"{called(route)}: leads to port {port}, which Service {name} does not have"


def _of_a_workload(rendered: Rendered, workload: Object) -> Iterator[str]:
    pod = pod_of(workload)
    for pull in pod.get("imagePullSecrets", []):
        if pull["name"] not in rendered.secrets and rendered.find("Secret", pull["name"]) is None:
            yield f"nothing makes secret {pull['name']}, with which it pulls its images"
    account = pod.get("serviceAccountName", "default")
    if account != "default" and rendered.find("ServiceAccount", account) is None:
        yield f"ServiceAccount {account} does not exist"
    for volume in pod.get("volumes", []):
        secret, config = volume.get("secret"), volume.get("configMap")
        if secret and not secret.get("optional") and secret["secretName"] not in rendered.secrets:
            yield f"nothing makes secret {secret['secretName']}"
        elif volume["name"] == "secrets" and not workload["metadata"]["name"].startswith(
            secret["secretName"]
        ):
            yield f"has the secrets of {secret['secretName']}"
        if config and rendered.find("ConfigMap", config["name"]) is None:
            yield f"nothing makes ConfigMap {config['name']}"
    for container in containers_of(workload):
        for source in container.get("envFrom", []):
            yield from _source(rendered, source)
        for variable in container.get("env", []):
            yield from _variable(rendered, variable)


def _source(rendered: Rendered, source: Object) -> Iterator[str]:
    secret, config = source.get("secretRef"), source.get("configMapRef")
    if secret and not secret.get("optional") and secret["name"] not in rendered.secrets:
        yield f"nothing makes secret {secret['name']}"
    if config and not config.get("optional") and rendered.find("ConfigMap", config["name"]) is None:
        yield f"nothing makes ConfigMap {config['name']}"


def _variable(rendered: Rendered, variable: Object) -> Iterator[str]:
    source = variable.get("valueFrom", {})
    if "value" in variable and source:
        yield f"variable {variable['name']} has a value and a source"
    if (secret := source.get("secretKeyRef")) and secret["key"] not in rendered.secrets.get(
        secret["name"], {}
    ):
        yield f"secret {secret['name']} has no key {secret['key']}"
    if config := source.get("configMapKeyRef"):
        found = rendered.find("ConfigMap", config["name"])
        if found is None or config["key"] not in found.get("data", {}):
            yield f"ConfigMap {config['name']} has no key {config['key']}"
