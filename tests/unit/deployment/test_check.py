"""`k8s/check.py` finds each mistake that is put into a rendered overlay; the overlays themselves have none."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

K8S = Path(__file__).parents[3] / "k8s"
OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
Rendered = Any
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed"),
]


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


def _migration(each: Rendered) -> Any:
    return each.find("Job", "migrate-0-1-0")["spec"]["template"]["spec"]


def _scaled(each: Rendered) -> Any:
    return each.find("ScaledObject", "model-worker")["spec"]


def _policy(each: Rendered, name: str) -> Any:
    return each.find("NetworkPolicy", name)["spec"]


def _blocks(each: Rendered) -> Any:
    return _policy(each, "dimse")["ingress"][0]["from"][0]["ipBlock"]


def _budget(each: Rendered) -> Any:
    return each.find("PodDisruptionBudget", "gateway")["spec"]


def _settings(each: Rendered) -> Any:
    return next(c for c in each.of("ConfigMap") if c["metadata"]["name"].startswith("site"))["data"]


def _set(each: Rendered, name: str, variable: str, value: str) -> None:
    next(v for v in container(each, name)["env"] if v["name"] == variable)["value"] = value


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
        lambda r: _settings(r).update(HTTPS_PROXY="http://proxy.example.org:3128"),
        "proxy.example.org:3128 is not allowed by an egress policy",
    ),
    "policy": (
        lambda r: r.find("NetworkPolicy", "to-valkey")["spec"]["podSelector"]["matchLabels"].update(a="b"),
        "selects no pod",
    ),
    "pods without a policy": (
        lambda r: _drop(r, "NetworkPolicy", "nothing-by-default"),
        "no policy binds its",
    ),
    "no names": (lambda r: _no_egress_to(r, "nothing-by-default"), "does not reach the cluster's DNS"),
    "names by TCP only": (
        lambda r: _policy(r, "nothing-by-default")["egress"][0]["ports"].pop(0),
        "DNS (kube-system, UDP 53)",
    ),
    "protocol": (
        lambda r: _policy(r, "to-postgres")["egress"][0]["ports"][0].update(protocol="UDP"),
        "local:5432 is not allowed by an egress policy",
    ),
    "door": (
        lambda r: _policy(r, "public")["ingress"][0]["from"].pop(0),
        "HTTPRoute thorax: no ingress policy lets a door reach gateway at 8080",
    ),
    "door to auth": (
        lambda r: _policy(r, "public")["ingress"][0]["ports"].pop(1),
        "lets a door reach auth-service at 8001",
    ),
    "network": (lambda r: _blocks(r).update(cidr="10.0.0.0/33"), "10.0.0.0/33"),
    "network with a host's bits": (lambda r: _blocks(r).update(cidr="10.1.2.3/8"), "has host bits set"),
    "exception": (lambda r: _blocks(r).update({"except": ["192.168.0.0/24"]}), "is not within"),
    "everybody": (
        lambda r: _policy(r, "dimse")["ingress"][0].update({"from": []}),
        "an empty list in its ingress allows everything",
    ),
    "port of a policy": (
        lambda r: _policy(r, "to-a-pacs")["egress"][0]["ports"].append({"port": 111112}),
        "port 111112 is out of range",
    ),
    "setting": (lambda r: _settings(r).update(THORAX_LOG_LEVL="INFO"), "THORAX_LOG_LEVEL is"),
    "setting's value": (lambda r: _settings(r).update(THORAX_LOG_LEVEL="LOUD"), "cannot be 'LOUD'"),
    "setting's number": (lambda r: _settings(r).update(THORAX_LEASE_S="30s"), "cannot be '30s'"),
    "proxies": (
        lambda r: _set(r, "gateway", "THORAX_TRUSTED_PROXIES", "10.0.0.0/33"),
        "THORAX_TRUSTED_PROXIES",
    ),
    "port that it listens on": (lambda r: _set(r, "gateway", "THORAX_PORT", "8081"), "not among its ports"),
    "secret's file": (
        lambda r: _set(r, "gateway", "THORAX_DELIVERY_SECRET_FILE", "/run/secrets/delivery-secret"),
        "which its volume secrets does not have",
    ),
    "secret's folder": (
        lambda r: _set(r, "auth-service", "THORAX_AUTH_SECRET_FILE", "/etc/secrets/auth_secret"),
        "where nothing is mounted",
    ),
    "config map's file": (
        lambda r: _set(r, "dimse", "THORAX_DICOM_AES", "/etc/thorax/aes.toml"),
        "which its volume aes does not have",
    ),
    "heartbeat": (
        lambda r: _set(r, "sweeper", "THORAX_HEARTBEAT_FILE", "/run/heartbeat"),
        "where it cannot write",
    ),
    "heartbeat that no probe looks at": (
        lambda r: _set(r, "sweeper", "THORAX_HEARTBEAT_FILE", "/tmp/beat"),
        "does not look at /tmp/beat",
    ),
    "probe of metrics": (
        lambda r: container(r)["readinessProbe"]["httpGet"].update(port="metrics"),
        "answers no probes",
    ),
    "probe's path": (
        lambda r: container(r)["readinessProbe"]["httpGet"].update(path="/health"),
        "not an address of probes",
    ),
    "all out at once": (
        lambda r: container(r)["readinessProbe"]["httpGet"].update(path="/readyz"),
        "would take them out at once",
    ),
    "scratch": (lambda r: container(r)["volumeMounts"].pop(), "cannot write to /tmp"),
    "mode": (
        lambda r: pod(r)["volumes"][0]["secret"].update(defaultMode=0o400),
        "does not let its group read",
    ),
    "group": (lambda r: pod(r)["securityContext"].pop("fsGroup"), "without fsGroup"),
    "size of a volume": (
        lambda r: pod(r)["volumes"][1]["emptyDir"].update(sizeLimit="1GB"),
        "1GB is not a quantity",
    ),
    "storage": (
        lambda r: r.find("StatefulSet", "postgres")["spec"]["volumeClaimTemplates"][0]["spec"]["resources"][
            "requests"
        ].update(storage="20GB"),
        "20GB is not a quantity",
    ),
    "claim": (
        lambda r: pod(r)["volumes"].append(
            {"name": "x", "persistentVolumeClaim": {"claimName": "blobs"}},
        ),
        "nothing makes PersistentVolumeClaim blobs",
    ),
    "drain": (
        lambda r: _budget(r).update(minAvailable=2),
        "with 2 pods it keeps a node from being drained",
    ),
    "drain in percent": (lambda r: _budget(r).update(minAvailable="60%"), "keeps a node from being drained"),
    "drain of none": (
        lambda r: r.find("PodDisruptionBudget", "model-worker")["spec"].update(maxUnavailable=0),
        "keeps a node from being drained",
    ),
    "share of nothing": (
        lambda r: container(r)["resources"]["requests"].pop("cpu"),
        "gateway requests no cpu",
    ),
    "two scalers": (
        lambda r: r.find("HorizontalPodAutoscaler", "gateway")["spec"]["scaleTargetRef"].update(
            name="model-worker"
        ),
        "both scale it",
    ),
    "parameter of KEDA": (
        lambda r: r.find("TriggerAuthentication", "ledger")["spec"]["secretTargetRef"][0].update(
            parameter="dsn"
        ),
        "is given no `connection`",
    ),
    "authentication": (
        lambda r: _scaled(r)["triggers"][0].pop("authenticationRef"),
        "is given no `connection`",
    ),
    "query": (lambda r: _scaled(r)["triggers"][0]["metadata"].pop("query"), "no query for the steps"),
    "images for a worker": (
        lambda r: _scaled(r)["triggers"][0]["metadata"].update(targetQueryValue="0"),
        "a number above 0",
    ),
    "idle": (lambda r: _scaled(r).update(idleReplicaCount=1), "below the least"),
    "topology": (
        lambda r: pod(r)["topologySpreadConstraints"][0].update(topologyKey="zone"),
        "no node has the label zone",
    ),
    "update": (
        lambda r: r.find("Deployment", "gateway")["spec"]["strategy"]["rollingUpdate"].update(maxSurge=0),
        "neither add nor take away",
    ),
    "pull secret": (
        lambda r: pod(r).update(imagePullSecrets=[{"name": "registry"}]),
        "nothing makes secret registry",
    ),
    "account": (lambda r: pod(r).update(serviceAccountName="thorax"), "ServiceAccount thorax does not exist"),
    "namespace": (
        lambda r: r.find("Service", "gateway")["metadata"].update(namespace="default"),
        "is in namespace default",
    ),
    "name": (lambda r: r.find("Service", "gateway")["metadata"].update(name="Gateway_1"), "small letters"),
    "host": (
        lambda r: r.find("HTTPRoute", "thorax")["spec"].update(hostnames=["https://thorax.example.org"]),
        "is not a host's name",
    ),
    "headless service": (
        lambda r: r.find("StatefulSet", "postgres")["spec"].update(serviceName="pg"),
        "is not a headless Service",
    ),
    "two ports": (
        lambda r: r.find("Service", "gateway")["spec"]["ports"].append(
            {"name": "x", "port": 8080, "targetPort": "metrics"}
        ),
        "two of its ports are the same",
    ),
    "no way to the accounts": (
        lambda r: r.find("HTTPRoute", "thorax")["spec"]["rules"].pop(0),
        "Service auth-service: no route leads to it",
    ),
    "another's secrets": (
        lambda r: pod(r)["volumes"][0]["secret"].update(secretName="sweeper"),
        "has the secrets of sweeper",
    ),
    "pause by a shell": (
        lambda r: container(r)["lifecycle"]["preStop"]["exec"].update(command=["sh", "-c", "sleep 60"]),
        "is killed before its pause and grace of 90 s",
    ),
    "pause without a shell": (
        lambda r: container(r)["lifecycle"].update(preStop={"sleep": {"seconds": 60}}),
        "is killed before its pause and grace of 90 s",
    ),
    "a part of a GPU": (
        lambda r: container(r)["resources"]["limits"].update({"nvidia.com/gpu": "0.5"}),
        "takes whole ones",
    ),
    "a GPU that is only requested": (
        lambda r: container(r)["resources"]["requests"].update({"nvidia.com/gpu": 1}),
        "takes whole ones",
    ),
    "cores": (lambda r: container(r)["resources"]["requests"].update(cpu="250"), "250 of cpu can't be meant"),
    "memory": (lambda r: container(r)["resources"]["limits"].update(memory="512"), "512 of memory can't be"),
    "no time to start": (
        lambda r: container(r, "model-worker")["startupProbe"].update(failureThreshold=1),
        "is killed if its start takes 60 s",
    ),
    "the same spread": (
        lambda r: pod(r)["topologySpreadConstraints"].append(pod(r)["topologySpreadConstraints"][0]),
        "spread over kubernetes.io/hostname, ScheduleAnyway occurs 2 times",
    ),
    "spread by one label twice": (
        lambda r: pod(r)["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"].update(
            {"app.kubernetes.io/name": "gateway"}
        ),
        "in labelSelector and in matchLabelKeys",
    ),
    "two budgets": (
        lambda r: r.objects.append(
            {**r.find("PodDisruptionBudget", "gateway"), "metadata": {"name": "b", "namespace": "thorax"}}
        ),
        "has 2 budgets",
    ),
    "use of nothing": (
        lambda r: (
            container(r, "model-worker")["resources"]["requests"].pop("cpu"),
            _scaled(r)["triggers"].append({"type": "cpu", "metadata": {"value": "70"}}),
        ),
        "model-worker requests no cpu",
    ),
    "triggers of one name": (
        lambda r: (
            _scaled(r)["triggers"][0].update(name="a"),
            _scaled(r)["triggers"].append(_scaled(r)["triggers"][0]),
        ),
        "two of its triggers have one name",
    ),
    "no gate": (lambda r: pod(r).pop("initContainers"), "does not wait for its schema"),
    "a gate without secrets": (
        lambda r: pod(r)["initContainers"][0].pop("volumeMounts"),
        "schema: its secrets are not mounted where THORAX_SECRETS_DIR says",
    ),
    "secrets elsewhere": (
        lambda r: container(r)["volumeMounts"][0].update(mountPath="/run/secret"),
        "gateway: its secrets are not mounted",
    ),
    "program": (lambda r: container(r, "sweeper").update(command=["sweper"]), "has no program sweper"),
    "another program": (lambda r: container(r, "sweeper").pop("command"), "does not run sweeper"),
    "another image": (
        lambda r: container(r).update(image="thorax/aggregator:0.1.0"),
        "does not run gateway",
    ),
    "command": (
        lambda r: _migration(r)["containers"][0].update(command=["thorax", "migrat"]),
        "thorax has no command migrat",
    ),
    "no bundle": (
        lambda r: _migration(r)["containers"][0].update(command=["thorax", "migrate"]),
        "nothing migrates the schema and makes a bundle known",
    ),
    "an image without a bundle": (
        lambda r: _migration(r)["containers"][0].update(image="thorax/aggregator:0.1.0"),
        "the image aggregator has no bundle",
    ),
    "end before the start": (
        lambda r: r.find("Deployment", "gateway")["spec"].update(strategy={"type": "Recreate"}),
        "ends its pods before others",
    ),
    "readiness": (lambda r: container(r, "sweeper").pop("readinessProbe"), "has no readiness probe"),
    "no pause": (lambda r: container(r).pop("lifecycle"), "still sent requests while it stops"),
    "links": (lambda r: pod(r).pop("enableServiceLinks"), "a Service called thorax would set its variables"),
    "volume for nobody": (
        lambda r: pod(r)["volumes"].append({"name": "x", "emptyDir": {}}),
        "volume x: no container mounts it",
    ),
    "key of a volume": (
        lambda r: pod(r)["volumes"][0]["secret"].update(items=[{"key": "no", "path": "delivery_secret"}]),
        "volume secrets: there is no no",
    ),
    "file of a volume": (
        lambda r: container(r, "dimse")["volumeMounts"][-1].update(name="aes", subPath="dicom.tml"),
        "volume aes: there is no dicom.tml",
    ),
    "secret that may be missing": (
        lambda r: container(r)["envFrom"][1]["secretRef"].update(name="blob"),
        "nothing makes secret blob",
    ),
    "config map that may be missing": (
        lambda r: container(r)["envFrom"][0]["configMapRef"].update(name="no", optional=True),
        "nothing makes ConfigMap no",
    ),
    "secret's name": (
        lambda r: r.secrets["sweeper"].update(thorax_redis_ulr="redis://valkey"),
        "secret thorax_redis_ulr is not a setting",
    ),
    "secret's value": (
        lambda r: r.secrets["sweeper"].update(thorax_database_url="mysql://postgres/thorax"),
        "secret thorax_database_url is not a setting, or cannot be",
    ),
    "no login": (
        lambda r: r.secrets["sweeper"].pop("thorax_database_url"),
        "has no secret thorax_database_url",
    ),
    "password": (
        lambda r: _settings(r).update(THORAX_REDIS_URL="redis://:hunter2@valkey:6379/0"),
        "THORAX_REDIS_URL holds a password",
    ),
    "loopback": (lambda r: _set(r, "gateway", "THORAX_HOST", "127.0.0.1"), "where no other pod reaches it"),
    "blobs in a container": (
        lambda r: _settings(r).update(THORAX_BLOBS="/var/lib/thorax/blobs"),
        "which is neither a bucket nor a volume",
    ),
    "issuer": (
        lambda r: r.find("HTTPRoute", "thorax")["spec"].update(hostnames=["other.example.org"]),
        "which is at no host of a route",
    ),
    "path": (
        lambda r: r.find("HTTPRoute", "thorax")["spec"]["rules"][0]["matches"][0]["path"].update(
            value="/ath"
        ),
        "/ath leads to auth-service",
    ),
    "path by itself": (
        lambda r: r.find("HTTPRoute", "thorax")["spec"]["rules"][0]["matches"][0]["path"].update(
            type="Exact"
        ),
        "Service auth-service: no route leads to it from /auth",
    ),
    "port of a Service": (
        lambda r: r.find("Service", "valkey")["spec"]["ports"][0].update(port=6380),
        ":6379 is not a port of this Service",
    ),
    "another namespace": (
        lambda r: r.secrets["keda"].update(connection="host=postgres.default.svc.cluster.local"),
        "is in namespace default, unlike the Service of that name here",
    ),
    "metrics": (lambda r: _drop(r, "NetworkPolicy", "metrics"), "lets Prometheus reach its metrics at 9464"),
    "scaled by nobody": (lambda r: _drop(r, "ScaledObject", "model-worker"), "has one pod for ever"),
    "no budget": (lambda r: _drop(r, "PodDisruptionBudget", "gateway"), "has no budget"),
    "query for something else": (
        lambda r: _scaled(r)["triggers"][0]["metadata"].update(query="select count(*) from step"),
        "no query for the steps that wait or run",
    ),
    "unversioned, by a registry's port": (
        lambda r: container(r).update(image="registry.example.org:5000/gateway"),
        "no version",
    ),
    "no namespace": (lambda r: _drop(r, "Namespace", "thorax"), "is in namespace thorax, not in None"),
    "several versions": (lambda r: container(r).update(image="thorax/gateway:0.2.0"), "images of 2 versions"),
    "job of another version": (
        lambda r: r.find("Job", "migrate-0-1-0")["metadata"].update(name="migrate"),
        "is not named after 0.1.0",
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


def test_openshift_has_other_names(check: ModuleType, overlays: dict[str, Rendered]) -> None:
    rendered = copy.deepcopy(overlays["openshift"])
    rendered.find("NetworkPolicy", "nothing-by-default")["spec"]["egress"][0]["ports"] = [
        {"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")
    ]
    assert [why for why in check.broken_rules(rendered) if "DNS (openshift-dns, UDP 5353)" in why]


def test_a_volume_of_one_node_is_not_for_pods_of_several(
    check: ModuleType, overlays: dict[str, Rendered]
) -> None:
    rendered = copy.deepcopy(overlays["dev"])
    del pod(rendered, "sweeper")["affinity"]
    assert list(check.broken_rules(rendered)) == [
        "Deployment sweeper: volume blobs: several pods mount blobs, which one node may write"
    ]


def test_no_id_is_fixed_on_openshift(check: ModuleType, overlays: dict[str, Rendered]) -> None:
    assert [why for why in check.fixed_ids(overlays["managed"]) if "runAsUser" in why]


def test_the_ingress_that_stands_as_an_example_is_right(
    check: ModuleType, overlays: dict[str, Rendered]
) -> None:
    rendered = copy.deepcopy(overlays["trial"])
    _drop(rendered, "HTTPRoute", "thorax")
    rendered.objects.append(yaml.safe_load((K8S / "examples/ingress.yaml").read_text()))
    assert list(check.complaints(rendered)) == []
    _drop(rendered, "Service", "auth-service")
    assert [why for why in check.broken_rules(rendered) if "Ingress thorax: leads to Service auth" in why]
