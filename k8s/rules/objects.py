"""The rendered objects of one overlay, looked up by what they are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

Object = dict[str, Any]
OWNERS = {"Deployment", "StatefulSet", "Job", "CronJob", "DaemonSet"}
ENDING = {"Job", "CronJob"}
"""Whose pods end by themselves."""


@dataclass(frozen=True)
class Rendered:
    """Objects, and the secrets that make_secrets.sh makes: name to file name to text."""

    objects: list[Object]
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def of(self, *kinds: str) -> Iterator[Object]:
        """The objects of these kinds."""
        return (each for each in self.objects if each["kind"] in kinds)

    def find(self, kind: str, name: str) -> Object | None:
        """One object by kind and name."""
        return next((each for each in self.of(kind) if each["metadata"]["name"] == name), None)

    @cached_property
    def workloads(self) -> list[Object]:
        """Whatever makes pods."""
        return list(self.of(*OWNERS))

    def selected(self, labels: Mapping[str, str]) -> list[Object]:
        """The workloads whose pods carry all these labels."""
        return [each for each in self.workloads if labels.items() <= labels_of(each).items()]


def template_of(workload: Object) -> Object:
    """What a workload makes its pods of."""
    spec = workload["spec"]
    return dict(
        spec["jobTemplate"]["spec"]["template"] if workload["kind"] == "CronJob" else spec["template"]
    )


def pod_of(workload: Object) -> Object:
    """The pod's spec of a workload."""
    return dict(template_of(workload)["spec"])


def labels_of(workload: Object) -> dict[str, str]:
    """The labels of a workload's pods."""
    return dict(template_of(workload).get("metadata", {}).get("labels", {}))


def containers_of(workload: Object) -> list[Object]:
    """All containers of a workload's pods, those that run first included."""
    pod = pod_of(workload)
    return [*pod.get("initContainers", []), *pod["containers"]]


def called(each: Object) -> str:
    """How a complaint names an object."""
    return f"{each['kind']} {each['metadata']['name']}"


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector (LabelSelector of apimachinery) takes these labels."""
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    for rule in selector.get("matchExpressions", []):
        value, values = labels.get(rule["key"]), rule.get("values", [])
        fits = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not fits[rule["operator"]]:
            return False
    return True
