"""Each value that an API server refuses by its code, or takes though it misleads, is found in a rendered overlay."""

import copy
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

K8S = Path(__file__).parents[3] / "k8s"
pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
POD = "spec.template.spec"
OURS = f"{POD}.containers.0"
SPREAD = f"{POD}.topologySpreadConstraints.0"
UP = "spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleUp"
TOKEN = {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
EXISTS = {"key": "a", "operator": "Exists"}
FAR = [{"weight": 200, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname"}}]
WRONG: list[tuple[str, str, Any]] = [  # object, place, what is written there
    ("Deployment gateway", "metadata.labels.v", "a b"),
    ("Deployment gateway", "metadata.name", None),
    ("Deployment gateway", "spec.template.metadata.labels.v", "a" * 64),
    ("Deployment gateway", "spec.selector.matchLabels.version", "0.1.0"),
    ("Deployment gateway", "spec.selector.matchLabels", {"app.kubernetes.io/part-of": "thorax"}),
    ("Deployment gateway", "spec.strategy.type", "Recreate"),
    ("Deployment gateway", "spec.strategy.rollingUpdate.maxUnavailable", "150%"),
    ("Deployment gateway", "spec.replicas", -1),
    ("Deployment gateway", "spec.paused", True),
    ("Deployment gateway", "spec.progressDeadlineSeconds", 10),
    ("Deployment gateway", f"{OURS}.name", "Gateway"),
    ("Deployment gateway", f"{OURS}.image", "Thorax/gateway:0.1.0"),
    ("Deployment gateway", f"{OURS}.image", "https://registry.example.org/gateway:0.1.0"),
    ("Deployment gateway", f"{OURS}.image", "thorax/gateway@sha256:abc"),
    ("Deployment gateway", f"{OURS}.imagePullPolicy", "Never"),
    ("Deployment gateway", f"{OURS}.command", []),
    ("Deployment gateway", f"{OURS}.ports.0.name", "metrics-of-prometheus"),
    ("Deployment gateway", f"{OURS}.ports.0.hostPort", 8080),
    ("Deployment gateway", f"{OURS}.env.0.name", "A=B"),
    ("Deployment gateway", f"{OURS}.volumeMounts.0.mountPath", "/tmp:x"),
    ("Deployment gateway", f"{OURS}.volumeMounts.0.subPath", "../x"),
    ("Deployment gateway", f"{OURS}.resources.limits.gpu", "1"),
    ("Deployment gateway", f"{OURS}.resources.limits.memory", "512m"),
    ("Deployment gateway", f"{OURS}.livenessProbe.periodSeconds", 0),
    ("Deployment gateway", f"{OURS}.readinessProbe.terminationGracePeriodSeconds", 5),
    ("Deployment gateway", f"{POD}.containers", []),
    ("Deployment gateway", f"{POD}.initContainers.0.livenessProbe", {"exec": {"command": ["true"]}}),
    ("Deployment gateway", f"{POD}.initContainers.0.restartPolicy", "Never"),
    ("Deployment gateway", f"{POD}.hostNetwork", True),
    ("Deployment gateway", f"{POD}.hostPID", True),
    ("Deployment gateway", f"{POD}.nodeName", "node-1"),
    ("Deployment gateway", f"{POD}.schedulerName", "mine"),
    ("Deployment gateway", f"{POD}.dnsPolicy", "None"),
    ("Deployment gateway", f"{POD}.terminationGracePeriodSeconds", -1),
    ("Deployment gateway", f"{POD}.securityContext.runAsUser", 0),
    ("Deployment gateway", f"{POD}.securityContext.sysctls", [{"name": "kernel.msgmax", "value": "1"}]),
    ("Deployment gateway", f"{POD}.volumes.1", {"name": "tmp", "hostPath": {"path": "/var"}}),
    ("Deployment gateway", f"{POD}.volumes.1.name", "tmp_x"),
    ("Deployment gateway", f"{POD}.volumes.1.emptyDir.medium", "Memory"),
    ("Deployment gateway", f"{POD}.volumes.0.secret.defaultMode", 440),
    ("Deployment gateway", f"{POD}.tolerations", [{**EXISTS, "value": "b"}]),
    ("Deployment gateway", f"{POD}.tolerations", [{**EXISTS, "effect": "noSchedule"}]),
    ("Deployment gateway", f"{POD}.tolerations", [{**EXISTS, "tolerationSeconds": 3}]),
    ("Deployment gateway", f"{SPREAD}.maxSkew", 0),
    ("Deployment gateway", f"{SPREAD}.minDomains", 2),
    (
        "Deployment gateway",
        f"{POD}.affinity",
        {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": FAR}},
    ),
    ("StatefulSet postgres", "spec.volumeClaimTemplates.0.spec.accessModes", ["ReadWrite"]),
    ("StatefulSet postgres", "spec.volumeClaimTemplates.0.spec.resources", None),
    ("Job migrate-0-1-0", "spec.selector", {"matchLabels": {"a": "b"}}),
    ("Job migrate-0-1-0", "spec.suspend", True),
    ("Job migrate-0-1-0", "spec.backoffLimit", -1),
    ("Service gateway", "spec.ports.1", {"port": 9464}),
    ("Service gateway", "spec.ports.0.protocol", "UDP"),
    ("Service gateway", "spec.externalTrafficPolicy", "Local"),
    ("Service dimse", "spec.type", "Loadbalancer"),
    ("Service dimse", "spec.clusterIP", "None"),
    ("Service dimse", "spec.ports.0.nodePort", 11112),
    ("Service dimse", "spec.sessionAffinity", "Client"),
    ("Service dimse", "spec.loadBalancerSourceRanges", ["10.0.0.0"]),
    ("HorizontalPodAutoscaler gateway", "spec.minReplicas", 0),
    ("HorizontalPodAutoscaler gateway", "spec.scaleTargetRef.apiVersion", "apps/v2"),
    ("HorizontalPodAutoscaler gateway", "spec.metrics.0.resource.target.averageUtilization", 0),
    ("HorizontalPodAutoscaler gateway", "spec.behavior", {"scaleDown": {"stabilizationWindowSeconds": 7200}}),
    ("ScaledObject model-worker", f"{UP}.policies.0.periodSeconds", 3600),
    ("ScaledObject model-worker", f"{UP}.selectPolicy", "Most"),
    ("ScaledObject model-worker", "spec.triggers.0.type", "postgres"),
    ("ScaledObject model-worker", "spec.triggers.0.metricType", "Utilization"),
    ("ScaledObject model-worker", "spec.triggers.0.metadata.query", "delete from steps"),
    ("ScaledObject model-worker", "spec.minReplicaCount", -1),
    ("ScaledObject model-worker", "spec.pollingInterval", 0),
    ("ScaledObject model-worker", "spec.scaleTargetRef.apiVersion", "v1"),
    ("ScaledObject model-worker", "metadata.annotations", {"autoscaling.keda.sh/paused": "true"}),
    ("PodDisruptionBudget gateway", "spec.minAvailable", "150%"),
    ("PodDisruptionBudget gateway", "spec.selector", {}),
    ("NetworkPolicy to-postgres", "spec.policyTypes", ["Ingress"]),
    ("NetworkPolicy to-postgres", "spec.policyTypes", None),
    ("NetworkPolicy metrics", "spec.ingress.0.ports.0.port", "metric"),
    ("NetworkPolicy metrics", "spec.ingress.0.ports.0.endPort", 9000),
    ("NetworkPolicy metrics", "spec.ingress.0.ports.0.protocol", "tcp"),
    ("NetworkPolicy dimse", "spec.ingress.0.from.0.podSelector", {}),
    ("NetworkPolicy dimse", "spec.ingress.0.from.0", {}),
    ("NetworkPolicy public", "spec.podSelector.matchExpressions.0.operator", "in"),
    ("NetworkPolicy public", "spec.podSelector.matchExpressions.0.values", []),
    ("HTTPRoute thorax", "spec.rules.0.matches.0.path.value", "/auth/../x"),
    ("HTTPRoute thorax", "spec.rules.0.matches.0.path.value", "//auth"),
    ("HTTPRoute thorax", "metadata.labels", []),
    ("HTTPRoute thorax", "spec.hostnames", ["10.1.2.3"]),
    ("HTTPRoute thorax", "spec.rules.1.backendRefs", []),
    ("HTTPRoute thorax", "spec.rules.1.backendRefs.0.weight", 0),
    ("HTTPRoute thorax", "spec.parentRefs", [{"name": "a"}, {"name": "a"}]),
    ("Deployment gateway", "spec", None),
    ("Deployment gateway", "spec.replicas", 2**33),
    ("Deployment gateway", "spec.strategy.type", "Rolling"),
    ("Deployment gateway", "spec.minReadySeconds", -1),
    ("Deployment gateway", "spec.strategy.rollingUpdate.maxUnavailable", "100%"),
    ("Deployment gateway", f"{POD}.activeDeadlineSeconds", 600),
    ("Deployment gateway", f"{POD}.hostAliases", [{"ip": "10.1.2.3", "hostnames": ["postgres"]}]),
    ("Deployment gateway", f"{POD}.serviceAccount", "thorax"),
    ("Deployment gateway", f"{POD}.securityContext.supplementalGroups", [0]),
    ("Deployment gateway", f"{POD}.volumes.2", TOKEN),
    ("Deployment gateway", f"{POD}.volumes.0.secret", {}),
    ("Deployment gateway", f"{OURS}.image", None),
    ("Deployment gateway", f"{OURS}.lifecycle.preStop", {}),
    ("Deployment gateway", f"{OURS}.envFrom.0.configMapRef", {}),
    ("Deployment gateway", f"{OURS}.envFrom.0.prefix", "X_"),
    ("Deployment gateway", f"{OURS}.env.0.valueFrom", {}),
    ("Deployment gateway", f"{OURS}.env.0.valueFrom", {"fieldRef": {"fieldPath": "metadata.nam"}}),
    ("Deployment gateway", f"{OURS}.env.0.valueFrom", {"resourceFieldRef": {"resource": "limits.memry"}}),
    ("Deployment gateway", f"{OURS}.workingDir", "tmp"),
    ("Deployment gateway", f"{OURS}.terminationMessagePolicy", "Fallback"),
    ("Deployment gateway", f"{OURS}.volumeMounts.1.mountPropagation", "Bidirectional"),
    ("Deployment gateway", f"{OURS}.resources.claims", [{"name": "x"}]),
    ("Deployment gateway", f"{OURS}.livenessProbe.httpGet.scheme", "HTTPS"),
    ("StatefulSet postgres", "spec.replicas", 2),
    ("Job migrate-0-1-0", "spec.parallelism", 3),
    ("Job migrate-0-1-0", "spec.activeDeadlineSeconds", 1),
    ("Deployment sweeper", f"{OURS}.livenessProbe.exec.command", []),
    ("Service gateway", "spec.ports", []),
    ("Service gateway", "spec.ports.0.name", "HTTP"),
    ("Service gateway", "spec.selector", {}),
    ("Service gateway", "spec.selector", None),
    ("Service gateway", "spec.ipFamilyPolicy", "Dual"),
    ("Service gateway", "spec.publishNotReadyAddresses", True),
    ("HorizontalPodAutoscaler gateway", "spec.metrics.0.type", "Resources"),
    ("HorizontalPodAutoscaler gateway", "spec.metrics.0.resource.target.averageUtilization", None),
    ("PodDisruptionBudget gateway", "spec.minAvailable", None),
    ("PodDisruptionBudget gateway", "spec.unhealthyPodEvictionPolicy", "Always"),
    ("PriorityClass thorax-work", "value", 2_000_000_000),
    ("PriorityClass thorax-work", "metadata.name", "system-work"),
    ("PriorityClass thorax-work", "globalDefault", True),
    ("Namespace thorax", "metadata.labels", {"pod-security.kubernetes.io/enforce-version": "1.33"}),
    ("Namespace thorax", "metadata.labels", {"pod-security.kubernetes.io/warn": "strict"}),
]


@pytest.fixture(scope="module")
def rendered(check: ModuleType) -> Any:
    return check.render(K8S / "overlays/trial")


def write(each: Any, place: str, value: Any) -> None:
    """Put a value at a dotted place; None takes away what is there."""
    *way, last = [int(step) if step.isdigit() else step for step in place.split(".")]
    for step in way:
        each = each[step] if isinstance(step, int) else each.setdefault(step, {})
    if value is None:
        del each[last]
    elif last == len(each) and isinstance(each, list):
        each.append(value)
    else:
        each[last] = value


@pytest.mark.parametrize(("which", "place", "value"), WRONG)
def test_a_value_that_is_out_of_bounds_is_found(
    check: ModuleType, rendered: Any, which: str, place: str, value: Any
) -> None:
    wrong = copy.deepcopy(rendered.find(*which.split()))
    write(wrong, place, value)
    assert list(check.validation.complaints(check.Rendered([wrong])))


@pytest.mark.parametrize(
    ("place", "value"),
    [("schedule", "61 * * * *"), ("concurrencyPolicy", "Allow"), ("jobTemplate.spec.backoffLimit", 0)],
)
def test_so_it_is_of_a_cron_job(check: ModuleType, place: str, value: Any) -> None:
    cron, *_ = yaml.safe_load_all((K8S / "components/backup/backup.yaml").read_text())
    assert not list(check.validation.complaints(check.Rendered([cron])))
    write(cron, f"spec.{place}", value)
    assert list(check.validation.complaints(check.Rendered([cron])))


def test_what_is_misshapen_is_told_and_rules_do_not_fall_over_it(check: ModuleType, rendered: Any) -> None:
    def told(**changed: Any) -> list[str]:
        return list(check.complaints(check.Rendered([{**rendered.find("Service", "gateway"), **changed}])))

    assert told(metadata={}) == ["Service without a name: metadata: 'name' is a required property"]
    assert all("Service without a name" in why for why in told(metadata=[])) and told(metadata=[])
    assert "policy/v9 has no Service" in " ".join(told(apiVersion="policy/v9"))
