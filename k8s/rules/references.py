"""What an object names has to be there: a key, a port, a pod, an account."""

import re
from collections.abc import Iterator

from rules.objects import Object, Rendered, called, containers_of, pod_of

CLUSTER_WIDE = {"Namespace", "PriorityClass"}
BUCKET = "blobs"
"""The one secret that may be missing."""
ROUTES = ("HTTPRoute", "Route", "Ingress")
PATHS = {"/": "gateway", "/auth": "auth-service"}
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
    own = next((each["metadata"]["name"] for each in rendered.of("Namespace")), None)
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
    routes = list(rendered.of(*ROUTES))
    led = {(path, name) for route in routes for path, name in led_to(route)}
    for path, name in PATHS.items() if routes else ():
        if (path, name) not in led:
            yield f"Service {name}: no route leads to it from {path}"
    for path, name in sorted(led - {*PATHS.items()}):
        yield f"{path} leads to {name}"


def hosts_of(route: Object) -> Iterator[str]:
    """The hosts that a route answers for."""
    spec = route["spec"]
    yield from spec.get("hostnames", [])
    yield from (each["host"] for each in (spec, *spec.get("rules", [])) if "host" in each)


def led_to(route: Object) -> Iterator[tuple[str, str]]:
    """The beginnings of paths that a route leads on, and to which Services."""
    spec = route["spec"]
    if "to" in spec:
        yield spec.get("path", "/"), spec["to"]["name"]
    for rule in spec.get("rules", []):
        for match in rule.get("matches", [{}]):
            path = {"type": "PathPrefix", "value": "/", **match.get("path", {})}
            named = path["value"] if path["type"] == "PathPrefix" else f"{path['value']} ({path['type']})"
            yield from ((named, each["name"]) for each in rule.get("backendRefs", []))
        for each in rule.get("http", {}).get("paths", []):
            yield each["path"], each["backend"]["service"]["name"]


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
        yield from _files(rendered, workload, volume)
    for container in containers_of(workload):
        for source in container.get("envFrom", []):
            yield from _source(rendered, source)
        for variable in container.get("env", []):
            yield from _variable(rendered, variable)


def _files(rendered: Rendered, workload: Object, volume: Object) -> Iterator[str]:
    """What a volume or a mount takes of a Secret or ConfigMap."""
    whole, mounted = _data(rendered, volume), files_in(rendered, volume)
    taken = [(whole, each["key"]) for each in _of(volume).get("items", [])]
    for container in containers_of(workload):
        mounts = [each for each in container.get("volumeMounts", []) if each["name"] == volume["name"]]
        taken += [(mounted, each["subPath"]) for each in mounts if "subPath" in each]
    for there, name in taken:
        if there is not None and name not in there:
            yield f"volume {volume['name']}: there is no {name}"


def files_in(rendered: Rendered, volume: Object) -> set[str] | None:
    """The names of the files in a volume of a Secret or ConfigMap; None for another, or one that is made elsewhere."""
    return {each["path"] for each in _of(volume).get("items", [])} or _data(rendered, volume)


def _of(volume: Object) -> Object:
    return dict(volume.get("secret", volume.get("configMap", {})))


def _data(rendered: Rendered, volume: Object) -> set[str] | None:
    source = _of(volume)
    config = rendered.find("ConfigMap", source.get("name", "")) or {}
    found = rendered.secrets.get(source["secretName"]) if "secretName" in source else config.get("data")
    return None if found is None else set(found)


def _source(rendered: Rendered, source: Object) -> Iterator[str]:
    secret, config = source.get("secretRef"), source.get("configMapRef")
    if secret and secret["name"] not in {*rendered.secrets, *([BUCKET] if secret.get("optional") else [])}:
        yield f"nothing makes secret {secret['name']}"
    if config and rendered.find("ConfigMap", config["name"]) is None:
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
