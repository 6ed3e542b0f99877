"""`k8s/values/values.yaml` is the one file that a site edits: what it says arrives in every overlay, and nothing else does."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

K8S = Path(__file__).parents[3] / "k8s"
EXTERNAL = ["managed", "cpu", "gpu", "openshift"]
OVERLAYS = ["trial", "dev", *EXTERNAL]
DIGEST = f"sha256:{'a' * 64}"
OTHER: dict[str, Any] = {
    "host": "chest.hospital.test",
    "gateways": [{"name": "inner", "namespace": "edge"}],
    "proxies": "100.64.0.0/10",
    "postgres": {
        "host": "pg.hospital.test",
        "port": 6432,
        "sslmode": "verify-full",
        "networks": [{"ipBlock": {"cidr": "192.0.2.0/28"}}],
    },
    "valkey": {
        "host": "cache.hospital.test",
        "port": 6380,
        "scheme": "redis",
        "networks": [{"ipBlock": {"cidr": "192.0.2.16/28"}}],
    },
    "bucket": {
        "url": "s3://chests/x",
        "port": 9000,
        "networks": [{"ipBlock": {"cidr": "192.0.2.32/28"}}],
    },
    "storage": {
        "accessModes": ["ReadWriteOncePod"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "7Gi"}},
    },
    "backups": {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "cheap",
        "resources": {"requests": {"storage": "70Gi"}},
    },
    "workers": {"least": 0, "most": 5, "images": 2},
    "cpu": {
        "nodeSelector": {"pool": "epyc"},
        "tolerations": [{"key": "epyc", "operator": "Exists"}],
        "limits": {"memory": "5Gi"},
    },
    "gpu": {
        "nodeSelector": {"pool": "a100"},
        "tolerations": [{"key": "a100", "operator": "Exists"}],
        "limits": {"memory": "6Gi", "nvidia.com/mig-1g.5gb": 1},
    },
    "dicom": {"port": 104, "networks": [{"ipBlock": {"cidr": "192.0.2.48/28"}}]},
    "pacs": {"ports": [{"port": 8443}], "networks": [{"ipBlock": {"cidr": "192.0.2.64/28"}}]},
    "webhooks": {"ports": [{"port": 8444}], "networks": [{"ipBlock": {"cidr": "192.0.2.80/28"}}]},
    "monitoring": {"team": "watching"},
    "settings": {"HTTPS_PROXY": "http://proxy.hospital.test:9000", "THORAX_LOG_LEVEL": "WARNING"},
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed"),
]


@pytest.fixture(scope="module")
def overlays(check: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every overlay of a site that has changed each value."""
    tree = tmp_path_factory.mktemp("site") / "k8s"
    shutil.copytree(K8S, tree)
    file = tree / "values/values.yaml"
    values = yaml.safe_load(file.read_text())
    images = {name: f"registry.test/{name}@{DIGEST}" for name in values["images"]}
    assert {*values} - {*OTHER, "apiVersion", "kind", "metadata", "images"} == set()
    file.write_text(yaml.safe_dump({**values, **OTHER, "images": images}))
    names = OVERLAYS
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda name: check.render(tree / "overlays" / name), names))
    return dict(zip(names, made, strict=True))


def told(values: Any) -> Iterator[str]:
    """Every text or number of the values, as it must be found again."""
    for each in values.values() if isinstance(values, dict) else values:
        if isinstance(each, dict | list):
            yield from told(each)
        else:
            yield str(each)


def needed(name: str) -> dict[str, Any]:
    """The values that an overlay has a use for."""
    without = {"storage"} if name in EXTERNAL else {"postgres", "valkey"}
    without |= {"cpu", "gpu", "backups"} - {name}
    without |= {"openshift": {"gateways"}, "dev": {"host", "gateways", "bucket", "workers"}}.get(name, set())
    return {key: value for key, value in OTHER.items() if key not in without}


@pytest.mark.parametrize("name", OVERLAYS)
def test_each_value_arrives(overlays: dict[str, Any], name: str) -> None:
    text = json.dumps([overlays[name].objects, dict(overlays[name].secrets)])
    assert [value for value in told(needed(name)) if value not in text] == []
    before = set(
        told(
            {
                k: v
                for k, v in yaml.safe_load((K8S / "values/values.yaml").read_text()).items()
                if k in needed(name)
            }
        )
    )
    assert [value for value in before if value.endswith("example.org") and value in text] == []


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_image_is_the_sites_own_by_digest(overlays: dict[str, Any], name: str) -> None:
    pods = [workload["spec"]["template"]["spec"] for workload in overlays[name].workloads]
    images = {c["image"] for pod in pods for c in (*pod["containers"], *pod.get("initContainers", []))}
    assert all(image.startswith("registry.test/") and image.endswith(DIGEST) for image in images), images
    assert (f"registry.test/model-worker-gpu@{DIGEST}" in images) == (name == "gpu")


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_rules_hold_with_other_values(check: Any, overlays: dict[str, Any], name: str) -> None:
    assert list(check.broken_rules(overlays[name])) == []


def test_policies_follow_a_port(check: Any, overlays: dict[str, Any]) -> None:
    policy = overlays["managed"].find("NetworkPolicy", "to-external-postgres")
    assert policy["spec"]["egress"] == [
        {
            "to": OTHER["postgres"]["networks"],
            "ports": [{"port": OTHER["postgres"]["port"], "protocol": "TCP"}],
        }
    ]
    policy["spec"]["egress"][0]["ports"][0]["port"] = 5432
    assert [why for why in check.broken_rules(overlays["managed"]) if "pg.hospital.test:6432" in why]
    policy["spec"]["egress"][0]["ports"][0]["port"] = 6432


def test_external_stores_need_the_caches_password(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", K8S / "make_secrets.sh", tmp_path],
        env={"PATH": "/usr/bin:/bin", "STORES": "external", "NAMESPACE": "thorax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0 and "VALKEY_PASSWORD" in done.stderr


@pytest.mark.parametrize("name", ["trial", "managed", "openshift"])
def test_a_backup_keeps_the_rules(check: Any, tmp_path: Path, name: str) -> None:
    rendered = check.render(check.with_components(tmp_path, name, "../../components/backup"))
    assert [*check.complaints(rendered, any_id=name == "openshift")] == []
    values = yaml.safe_load((K8S / "values/values.yaml").read_text())
    pod = rendered.find("CronJob", "backup")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == values["images"]["aggregator"]
    assert rendered.find("PersistentVolumeClaim", "backups")["spec"] == values["backups"]


def test_the_monitor_keeps_the_rules_and_a_typo_in_it_is_told(check: Any, tmp_path: Path) -> None:
    folder = check.with_components(tmp_path, "managed", "../../components/prometheus-operator")
    rendered = check.render(folder)
    assert [*check.complaints(rendered)] == []
    (endpoint,) = rendered.find("PodMonitor", "thorax")["spec"]["podMetricsEndpoints"]
    endpoint["intervall"] = endpoint.pop("interval")
    (complaint,) = check.complaints(rendered)
    assert complaint.startswith("PodMonitor thorax: ") and "'intervall'" in complaint


def test_own_authorities_reach_every_process(check: Any, tmp_path: Path) -> None:
    from rules.objects import containers_of

    folder = check.with_components(
        tmp_path, "managed", "../../components/backup", "../../components/own-ca, "
    )
    rendered = check.render(folder)
    assert {*check.broken_rules(rendered)} == {
        f"{each['kind']} {each['metadata']['name']}: nothing makes ConfigMap ca"
        for each in rendered.workloads
    }
    assert rendered.find("CronJob", "backup") in rendered.workloads
    mount = {"name": "ca", "mountPath": "/etc/thorax-ca", "readOnly": True}
    for container in (c for workload in rendered.workloads for c in containers_of(workload)):
        assert mount in container["volumeMounts"]


def test_the_airgap_list_has_every_image() -> None:
    done = subprocess.run(
        ["bash", K8S / "airgap.sh", "list", "."], capture_output=True, text=True, check=True
    )
    listed = dict(line.split() for line in done.stdout.splitlines())
    assert listed == yaml.safe_load((K8S / "values/values.yaml").read_text())["images"]
