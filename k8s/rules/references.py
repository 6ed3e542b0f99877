"""What an object names has to be there: a target, a key, a port, a pod."""

from collections.abc import Iterator

from rules.objects import Object, Rendered, called, containers_of, pod_of

SCALERS = {
    "ScaledObject": ("minReplicaCount", "maxReplicaCount"),
    "HorizontalPodAutoscaler": ("minReplicas", "maxReplicas"),
}


def complaints(rendered: Rendered) -> Iterator[str]:
    """Every name that leads nowhere, and every object that two want to own."""
    for rule in (_twice, _scalers, _services, _budgets, _routes, _triggers):
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


def _scalers(rendered: Rendered) -> Iterator[str]:
    for scaler in rendered.of(*SCALERS):
        low, high = (
            scaler["spec"].get(key, default)
            for key, default in zip(SCALERS[scaler["kind"]], (1, 100), strict=True)
        )
        if low > high:
            yield f"{called(scaler)}: the least ({low}) is above the most ({high})"
        yield from _zero(scaler, low, high)
        name = scaler["spec"]["scaleTargetRef"]["name"]
        target = rendered.find(scaler["spec"]["scaleTargetRef"].get("kind", "Deployment"), name)
        if target is None:
            yield f"{called(scaler)}: its target {name} does not exist"
        elif "replicas" in target["spec"]:
            yield f"{called(target)}: sets replicas, which {called(scaler)} owns"


def _zero(scaler: Object, low: int, high: int) -> Iterator[str]:
    """What keeps KEDA from coming back from zero, or from its fallback."""
    if scaler["kind"] != "ScaledObject":
        return
    if scaler["spec"].get("fallback", {}).get("replicas", low) > high:
        yield f"{called(scaler)}: its fallback is above the most ({high})"
    triggers = scaler["spec"]["triggers"]
    if low == 0 and all(trigger["type"] in {"cpu", "memory"} for trigger in triggers):
        yield f"{called(scaler)}: no pod is left whose use could wake it from zero"
    for trigger in triggers:
        if low == 0 and float(trigger["metadata"].get("activationTargetQueryValue", 0)) > 0:
            yield f"{called(scaler)}: an image by itself never wakes it from zero"


def _services(rendered: Rendered) -> Iterator[str]:
    for service in rendered.of("Service"):
        chosen = rendered.selected(service["spec"].get("selector", {}))
        if not chosen:
            yield f"{called(service)}: selects no pod"
        for workload in chosen:
            ports = [port for container in containers_of(workload) for port in container.get("ports", [])]
            known = {each for port in ports for each in (port.get("name"), port["containerPort"])}
            for port in service["spec"]["ports"]:
                if port.get("targetPort", port["port"]) not in known:
                    yield f"{called(service)}: targetPort {port.get('targetPort', port['port'])} is not a port of its pods"


def _budgets(rendered: Rendered) -> Iterator[str]:
    for budget in rendered.of("PodDisruptionBudget"):
        if not rendered.selected(budget["spec"]["selector"].get("matchLabels", {})):
            yield f"{called(budget)}: selects no pod"
        if {"minAvailable", "maxUnavailable"} <= budget["spec"].keys():
            yield f"{called(budget)}: has both minAvailable and maxUnavailable"


def _routes(rendered: Rendered) -> Iterator[str]:
    for route in rendered.of("HTTPRoute"):
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


def _backend(rendered: Rendered, route: Object, name: str, port: object) -> Iterator[str]:
    service = rendered.find("Service", name)
    if service is None:
        yield f"{called(route)}: leads to Service {name}, which does not exist"
    elif port not in {each.get(key) for each in service["spec"]["ports"] for key in ("name", "port")}:
        yield f"{called(route)}: leads to port {port}, which Service {name} does not have"


def _triggers(rendered: Rendered) -> Iterator[str]:
    for scaled in rendered.of("ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            name = trigger.get("authenticationRef", {}).get("name")
            if name and rendered.find("TriggerAuthentication", name) is None:
                yield f"{called(scaled)}: TriggerAuthentication {name} does not exist"
    for trigger in rendered.of("TriggerAuthentication"):
        for reference in trigger["spec"].get("secretTargetRef", []):
            if reference["key"] not in rendered.secrets.get(reference["name"], {}):
                yield f"{called(trigger)}: secret {reference['name']} has no key {reference['key']}"


def _of_a_workload(rendered: Rendered, workload: Object) -> Iterator[str]:
    for volume in pod_of(workload).get("volumes", []):
        secret, config = volume.get("secret"), volume.get("configMap")
        if secret and not secret.get("optional") and secret["secretName"] not in rendered.secrets:
            yield f"nothing makes secret {secret['secretName']}"
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
