"""Scalers and budgets: what they own is there, can grow and shrink, and lets a node be drained."""

from collections.abc import Iterator

from rules.objects import Object, Rendered, called, labels_of, matches, pod_of
from rules.quantities import amount

SCALERS = {
    "ScaledObject": ("minReplicaCount", "maxReplicaCount"),
    "HorizontalPodAutoscaler": ("minReplicas", "maxReplicas"),
}


def complaints(rendered: Rendered) -> Iterator[str]:
    """Every scaler or budget that does not what it is there for."""
    for rule in (_scalers, _owners, _ownerless, _metrics, _named, _triggers, _budgets):
        yield from rule(rendered)


def _scalers(rendered: Rendered) -> Iterator[str]:
    for scaler in rendered.of(*SCALERS):
        low, high = (
            scaler["spec"].get(key, default)
            for key, default in zip(SCALERS[scaler["kind"]], (1, 100), strict=True)
        )
        if low > high:
            yield f"{called(scaler)}: the least ({low}) is above the most ({high})"
        yield from _zero(scaler, low, high)
        target = _target(rendered, scaler)
        if target is None:
            yield f"{called(scaler)}: its target {scaler['spec']['scaleTargetRef']['name']} does not exist"
        elif "replicas" in target["spec"]:
            yield f"{called(target)}: sets replicas, which {called(scaler)} owns"


def _zero(scaler: Object, low: int, high: int) -> Iterator[str]:
    """What keeps KEDA from coming back from zero, or from its fallback."""
    if scaler["kind"] != "ScaledObject":
        return
    if scaler["spec"].get("fallback", {}).get("replicas", low) > high:
        yield f"{called(scaler)}: its fallback is above the most ({high})"
    if scaler["spec"].get("idleReplicaCount", low - 1) >= low:
        yield f"{called(scaler)}: idleReplicaCount has to be below the least ({low})"
    triggers = scaler["spec"]["triggers"]
    if low == 0 and all(trigger["type"] in {"cpu", "memory"} for trigger in triggers):
        yield f"{called(scaler)}: no pod is left whose use could wake it from zero"
    for trigger in triggers:
        if low == 0 and float(trigger["metadata"].get("activationTargetQueryValue", 0)) > 0:
            yield f"{called(scaler)}: an image by itself never wakes it from zero"


def _target(rendered: Rendered, scaler: Object) -> Object | None:
    target = scaler["spec"]["scaleTargetRef"]
    return rendered.find(target.get("kind", "Deployment"), target["name"])


def _owners(rendered: Rendered) -> Iterator[str]:
    seen: dict[str, str] = {}
    for scaler in rendered.of(*SCALERS):
        target = _target(rendered, scaler)
        if target is not None and (other := seen.setdefault(called(target), called(scaler))) != called(
            scaler
        ):
            yield f"{called(target)}: {other} and {called(scaler)} both scale it"


def _ownerless(rendered: Rendered) -> Iterator[str]:
    owned = [_target(rendered, scaler) for scaler in rendered.of(*SCALERS)]
    for workload in rendered.of("Deployment"):
        if "replicas" not in workload["spec"] and workload not in owned:
            yield f"{called(workload)}: has one pod for ever, as it sets no replicas and nothing scales it"


def _metrics(rendered: Rendered) -> Iterator[str]:
    """Use in percent is of what the containers request."""
    for scaler in rendered.of("HorizontalPodAutoscaler"):
        target = _target(rendered, scaler)
        for metric in scaler["spec"].get("metrics", []):
            name = metric.get("resource", {}).get("name")
            if name is None or target is None or metric["resource"]["target"]["type"] != "Utilization":
                continue
            for container in pod_of(target)["containers"]:
                if name not in container.get("resources", {}).get("requests", {}):
                    yield f"{called(scaler)}: {container['name']} requests no {name}, of which it takes a share"


def _named(rendered: Rendered) -> Iterator[str]:
    """KEDA's own triggers on use, and their names."""
    for scaled in rendered.of("ScaledObject"):
        target, triggers = _target(rendered, scaled), scaled["spec"]["triggers"]
        names = [trigger["name"] for trigger in triggers if "name" in trigger]
        if len(set(names)) < len(names):
            yield f"{called(scaled)}: two of its triggers have one name"
        for trigger in triggers if target else ():
            for container in pod_of(target or {})["containers"]:
                of_use = trigger["type"] in {"cpu", "memory"}
                if of_use and trigger["type"] not in container.get("resources", {}).get("requests", {}):
                    yield f"{called(scaled)}: {container['name']} requests no {trigger['type']}, of which it takes a share"


def _least(rendered: Rendered, workload: Object) -> int:
    """How many pods there are at least."""
    for scaler in rendered.of(*SCALERS):
        if _target(rendered, scaler) is workload:
            return int(scaler["spec"].get(SCALERS[scaler["kind"]][0], 1))
    return int(workload["spec"].get("replicas", 1))


def _blocks(rule: Object, pods: int) -> bool:
    """Whether a budget never lets one of so many pods go."""
    if (most := rule.get("maxUnavailable")) is not None:
        return str(most).rstrip("%") == "0"
    least = str(rule.get("minAvailable", 0))
    if least.endswith("%"):
        return -(-pods * int(least[:-1]) // 100) >= pods
    return int(least) >= pods


def _budgets(rendered: Rendered) -> Iterator[str]:
    for workload in rendered.workloads:
        own = [
            b
            for b in rendered.of("PodDisruptionBudget")
            if matches(b["spec"]["selector"], labels_of(workload))
        ]
        if not own and workload["kind"] == "Deployment" and _least(rendered, workload) > 1:
            yield f"{called(workload)}: has no budget, so that a drain may take all its pods at once"
        if len(own) > 1:
            yield f"{called(workload)}: has {len(own)} budgets, with which no pod can be evicted"
    for budget in rendered.of("PodDisruptionBudget"):
        if not rendered.selected(budget["spec"]["selector"].get("matchLabels", {})):
            yield f"{called(budget)}: selects no pod"
        for workload in rendered.workloads:
            chosen = matches(budget["spec"]["selector"], labels_of(workload))
            if chosen and (pods := _least(rendered, workload)) and _blocks(budget["spec"], pods):
                yield f"{called(budget)}: with {pods} pods it keeps a node from being drained"
        if {"minAvailable", "maxUnavailable"} <= budget["spec"].keys():
            yield f"{called(budget)}: has both minAvailable and maxUnavailable"


def _triggers(rendered: Rendered) -> Iterator[str]:
    for scaled in rendered.of("ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            name = trigger.get("authenticationRef", {}).get("name")
            if name and rendered.find("TriggerAuthentication", name) is None:
                yield f"{called(scaled)}: TriggerAuthentication {name} does not exist"
            yield from _asks(rendered, scaled, trigger)
    for trigger in rendered.of("TriggerAuthentication"):
        for reference in trigger["spec"].get("secretTargetRef", []):
            if reference["key"] not in rendered.secrets.get(reference["name"], {}):
                yield f"{called(trigger)}: secret {reference['name']} has no key {reference['key']}"


def _asks(rendered: Rendered, scaled: Object, trigger: Object) -> Iterator[str]:
    """Whether KEDA knows how to reach Postgres, what to ask, and how many of it a pod is for."""
    if trigger["type"] != "postgresql":
        return
    given = trigger["metadata"]
    found = rendered.find("TriggerAuthentication", trigger.get("authenticationRef", {}).get("name", ""))
    known = {each["parameter"] for each in (found or {"spec": {}})["spec"].get("secretTargetRef", [])}
    if "connection" not in known and not {"host", "userName", "dbName"} <= given.keys():
        yield f"{called(scaled)}: its trigger is given no `connection`"
    if not all(each in given.get("query", "") for each in ("from steps ", "'waiting'", "'running'")):
        yield f"{called(scaled)}: its trigger has no query for the steps that wait or run"
    if not (amount(given.get("targetQueryValue", "")) or 0) > 0:
        yield f"{called(scaled)}: targetQueryValue has to be a number above 0"
