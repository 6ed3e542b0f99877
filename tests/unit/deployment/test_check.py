"""`k8s/check.py` finds each mistake that is put into a rendered overlay; the overlays themselves have none."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

K8S = Path(__file__).parents[3] / "k8s"
OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
Rendered = Any
pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


@pytest.fixture(scope="module")
def overlays(check: ModuleType) -> dict[str, Rendered]:
    return {name: check.render(K8S / "overlays" / name) for name in OVERLAYS}


@pytest.mark.parametrize("name", OVERLAYS)
def test_each_overlay_is_right(check: ModuleType, overlays: dict[str, Rendered], name: str) -> None:
    assert list(check.complaints(overlays[name], any_id=name == "openshift")) == []


def pod(each: Rendered, name: str = "gateway") -> Any:
    return each.find("Deployment", name)["spec"]["template"]["spec"]


def container(each: Rendered, name: str = "gateway") -> Any:
    return pod(each, name)["containers"][0]


def _drop(each: Rendered, kind: str, name: str) -> None:
    each.objects.remove(each.find(kind, name))


def _scaled(each: Rendered) -> Any:
    return each.find("ScaledObject", "model-worker")["spec"]


def _no_egress_to(each: Rendered, name: str) -> None:
    each.find("NetworkPolicy", name)["spec"]["egress"] = []


MISTAKES: dict[str, tuple[Callable[[Rendered], object], str]] = {
    "field": (lambda r: r.find("Deployment", "gateway")["spec"].update(replicaz=2), "replicaz"),
    "field of KEDA": (
        lambda r: r.find("ScaledObject", "model-worker")["spec"].update(maxReplicas=3),
        "maxReplicas",
    ),
    "selector": (
        lambda r: r.find("Deployment", "gateway")["spec"]["selector"]["matchLabels"].update(a="b"),
        "does not match the labels",
    ),
    "mount": (
        lambda r: container(r)["volumeMounts"].append({"name": "no", "mountPath": "/no"}),
        "not a volume",
    ),
    "two mounts": (
        lambda r: container(r)["volumeMounts"].append({"name": "tmp", "mountPath": "/run/secrets"}),
        "2 times",
    ),
    "request": (lambda r: container(r)["resources"]["requests"].update(memory="1Gi"), "above its limit"),
    "quantity": (lambda r: container(r)["resources"]["limits"].update(memory="256MiB"), "not a quantity"),
    "port": (lambda r: container(r)["ports"][0].update(containerPort=80800), "out of range"),
    "restart": (
        lambda r: r.find("Job", "migrate-0-1-0")["spec"]["template"]["spec"].update(restartPolicy="Always"),
        "not allowed in a Job",
    ),
    "least and most": (
        lambda r: r.find("ScaledObject", "model-worker")["spec"].update(maxReplicaCount=0),
        "above the most",
    ),
    "least and most of an HPA": (
        lambda r: r.find("HorizontalPodAutoscaler", "gateway")["spec"].update(maxReplicas=1),
        "above the most",
    ),
    "seccomp": (lambda r: pod(r)["securityContext"].pop("seccompProfile"), "seccomp"),
    "security": (lambda r: container(r).pop("securityContext"), "restricted"),
    "root": (lambda r: pod(r)["securityContext"].update(runAsNonRoot=False), "root"),
    "target port": (
        lambda r: r.find("Service", "gateway")["spec"]["ports"][0].update(targetPort="web"),
        "targetPort web",
    ),
    "service": (lambda r: r.find("Service", "gateway")["spec"]["selector"].update(a="b"), "selects no pod"),
    "scaled target": (
        lambda r: r.find("ScaledObject", "model-worker")["spec"]["scaleTargetRef"].update(name="worker"),
        "does not exist",
    ),
    "budget": (
        lambda r: r.find("PodDisruptionBudget", "gateway")["spec"]["selector"]["matchLabels"].update(a="b"),
        "selects no pod",
    ),
    "budget of both": (
        lambda r: r.find("PodDisruptionBudget", "gateway")["spec"].update(maxUnavailable=1),
        "both minAvailable and maxUnavailable",
    ),
    "secret": (lambda r: pod(r)["volumes"][0]["secret"].update(secretName="gatway"), "nothing makes secret"),
    "config map": (
        lambda r: container(r)["envFrom"][0]["configMapRef"].update(name="no"),
        "nothing makes ConfigMap",
    ),
    "key": (
        lambda r: container(r)["env"].append(
            {"name": "X", "valueFrom": {"secretKeyRef": {"name": "gateway", "key": "no"}}}
        ),
        "has no key no",
    ),
    "key of KEDA": (
        lambda r: r.find("TriggerAuthentication", "ledger")["spec"]["secretTargetRef"][0].update(key="no"),
        "has no key no",
    ),
    "trigger": (lambda r: _drop(r, "TriggerAuthentication", "ledger"), "does not exist"),
    "route": (lambda r: _drop(r, "Service", "auth-service"), "does not exist"),
    "two handlers": (
        lambda r: container(r)["livenessProbe"].update(tcpSocket={"port": "http"}),
        "one handler",
    ),
    "probed port": (lambda r: container(r)["livenessProbe"]["httpGet"].update(port="web"), "does not name"),
    "replicas": (lambda r: r.find("Deployment", "model-worker")["spec"].update(replicas=1), "sets replicas"),
    "variable": (lambda r: container(r)["env"].append({"name": "THORAX_HOST", "value": "::"}), "2 times"),
    "twice": (lambda r: r.objects.append(copy.deepcopy(r.find("Service", "gateway"))), "occurs twice"),
    "grace": (lambda r: pod(r).update(terminationGracePeriodSeconds=20), "is killed before"),
    "unversioned": (lambda r: container(r).update(image="thorax/gateway"), "no version"),
    "egress": (lambda r: _no_egress_to(r, "to-postgres"), "not allowed by an egress policy"),
    "egress to auth": (lambda r: _no_egress_to(r, "gateway-to-auth"), "not allowed by an egress policy"),
    "ingress": (
        lambda r: r.find("NetworkPolicy", "public")["spec"].update(ingress=[]),
        "not allowed by an ingress policy",
    ),
    "sender": (
        lambda r: r.find("NetworkPolicy", "dimse")["spec"]["ingress"][0].update(ports=[{"port": 104}]),
        "Service dimse: port 11112 is not allowed",
    ),
    "sender's address": (
        lambda r: r.find("Service", "dimse")["spec"].update(externalTrafficPolicy="Cluster"),
        "hides the sender's address",
    ),
    "priority": (lambda r: pod(r).pop("priorityClassName"), "has no priority class"),
    "priority class": (lambda r: _drop(r, "PriorityClass", "thorax-work"), "thorax-work does not exist"),
    "no spread": (lambda r: pod(r, "aggregator").pop("topologySpreadConstraints"), "all be on one node"),
    "spread of nobody": (
        lambda r: pod(r)["topologySpreadConstraints"][0].pop("labelSelector"),
        "does not count its own pods",
    ),
    "spread by a label that is not there": (
        lambda r: pod(r)["topologySpreadConstraints"][0].update(matchLabelKeys=["app"]),
        "does not count its own pods",
    ),
    "level": (
        lambda r: r.find("Namespace", "thorax")["metadata"]["labels"].update(
            {"pod-security.kubernetes.io/enforce": "baseline"}
        ),
        "does not enforce the restricted level",
    ),
    "fallback": (lambda r: _scaled(r)["fallback"].update(replicas=99), "fallback is above the most"),
    "zero for ever": (
        lambda r: _scaled(r).update(minReplicaCount=0, triggers=[{"type": "cpu", "metadata": {}}]),
        "could wake it from zero",
    ),
    "an image that wakes nobody": (
        lambda r: (
            _scaled(r).update(minReplicaCount=0),
            _scaled(r)["triggers"][0]["metadata"].update(activationTargetQueryValue="3"),
        ),
        "never wakes it from zero",
    ),
    "a setting's host": (
        lambda r: next(each for each in r.of("ConfigMap") if each["metadata"]["name"].startswith("site"))[
            "data"
        ].update(HTTPS_PROXY="http://proxy.example.org:3128"),
        "proxy.example.org:3128 is not allowed by an egress policy",
    ),
    "policy": (
        lambda r: r.find("NetworkPolicy", "to-valkey")["spec"]["podSelector"]["matchLabels"].update(a="b"),
        "selects no pod",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(check: ModuleType, overlays: dict[str, Rendered], mistake: str) -> None:
    make, sentence = MISTAKES[mistake]
    rendered = copy.deepcopy(overlays["trial"])
    make(rendered)
    schemas = mistake.startswith("field")  # they take a second
    found = check.complaints(rendered) if schemas else check.broken_rules(rendered)
    assert [why for why in found if sentence in why]


def test_keda_gets_full_host_names(check: ModuleType, overlays: dict[str, Rendered]) -> None:
    rendered = copy.deepcopy(overlays["trial"])
    rendered.secrets["keda"]["connection"] = "host=postgres dbname=thorax user=u password=p"
    assert [why for why in check.broken_rules(rendered) if "short name" in why]


def test_the_network_policy_allows_keda(check: ModuleType, overlays: dict[str, Rendered]) -> None:
    rendered = copy.deepcopy(overlays["trial"])
    rendered.find("NetworkPolicy", "postgres")["spec"]["ingress"][0]["from"].pop()
    assert [why for why in check.broken_rules(rendered) if "TriggerAuthentication ledger" in why]


def test_no_id_is_fixed_on_openshift(check: ModuleType, overlays: dict[str, Rendered]) -> None:
    assert [why for why in check.complaints(overlays["managed"], any_id=True) if "runAsUser" in why]
