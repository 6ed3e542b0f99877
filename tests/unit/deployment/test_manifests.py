"""docker-compose.yml, k8s/ and `make run` describe the same processes with the same settings."""

import json
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from local_stack.roles import ROLES
from local_stack.services import Places, services
from local_stack.settings import LocalSettings
from thorax.version import VERSION
from thorax.work.metrics import OUR_FAULTS

ROOT = Path(__file__).parents[3]
STORES = {"postgres", "valkey"}
SECRETS = {"THORAX_DATABASE_URL", "THORAX_REDIS_URL"}
# Settings of the place and not of the process: a container has its own folders, addresses and probes.
OF_THE_PLACE = {
    "THORAX_SECRETS_DIR",
    "THORAX_HEARTBEAT_FILE",
    "THORAX_TRUSTED_PROXIES",
    "THORAX_LOG_LEVEL",
    "THORAX_METRICS_HOST",  # loopback on a laptop
    "THORAX_GRACE_S",  # a laptop's Ctrl-C should be quick
    "THORAX_DICOM_SPOOL",
    "THORAX_PAGE",  # in the gateway's image
    "THORAX_PUBLIC_URL",  # a laptop has no door
}

Told = dict[str, set[str]]


def local() -> Told:
    """Process name to the names of its variables, as `make run` starts them."""
    places = Places(dict.fromkeys(ROLES, "db"), "redis", 1, Path("secret"), Path("secret"), 2, Path("aes"))
    auth, needed, more = services(LocalSettings(model_workers=1), places)
    return {row.name.removesuffix("-1"): set(row.env) for row in [auth, *needed, *more]}


def compose() -> dict[str, Any]:
    """The services of docker-compose.yml, anchors resolved; those of profiles too."""
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"])


def composed() -> Told:
    """Without profiles."""
    told = {}
    for name, service in compose().items():
        if "profiles" in service:
            continue
        files = {s["target"].upper() for s in service.get("secrets", []) if isinstance(s, dict)}
        told[name] = set(service.get("environment", {})) | files
    return told


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(
        ["kubectl", "kustomize", str(ROOT / "k8s")], capture_output=True, text=True, check=True
    )
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installation") / "secrets"
    subprocess.run(["bash", ROOT / "k8s" / "make_secrets.sh", folder], check=True, capture_output=True)
    return folder


def clustered(documents: list[dict[str, Any]], secrets: Path) -> Told:
    config = next(d["data"] for d in documents if d["kind"] == "ConfigMap" and "THORAX_BLOBS" in d["data"])
    told = {}
    for document in documents:
        if "template" in document.get("spec", {}):
            name = document["metadata"]["name"].removesuffix(f"-{VERSION.replace('.', '-')}")
            own = {e["name"] for e in document["spec"]["template"]["spec"]["containers"][0].get("env", [])}
            files = {f.name.upper() for f in (secrets / name).iterdir()}
            told[name] = own | files | set(config)
    return told


def test_the_same_processes_everywhere(documents: list[dict[str, Any]], secrets: Path) -> None:
    expected = set(local()) | STORES | {"migrate"}
    assert set(composed()) == expected
    assert set(clustered(documents, secrets)) == expected


def test_compose_sets_what_make_run_sets() -> None:
    told = composed()
    for name, names in local().items():
        # auth-service sends no hints, and only who loads graphs needs their folder.
        missing = names - told[name] - OF_THE_PLACE - {"THORAX_REDIS_URL", "THORAX_MODELS"}
        assert not missing, (name, missing)
        assert told[name] - OF_THE_PLACE <= names | {"AUTH_SECRET", "DELIVERY_SECRET"}, name


def test_kubernetes_sets_what_make_run_sets(documents: list[dict[str, Any]], secrets: Path) -> None:
    told = clustered(documents, secrets)
    for name, names in local().items():
        missing = names - told[name] - OF_THE_PLACE - {"THORAX_REDIS_URL", "THORAX_MODELS"}
        assert not missing, (name, missing)


def test_compose_limits_logs_and_memory_and_publishes_only_doors() -> None:
    services = compose()
    for name, own in services.items():
        service = services.get(own.get("extends", ""), {}) | own
        assert service["logging"]["options"]["max-size"] and service["mem_limit"], name
        assert name == "postgres" or service["security_opt"] == ["no-new-privileges:true"], name
        assert "door" in service["networks"] or "ports" not in service, name
    assert all(services[name]["networks"] == ["inside"] for name in STORES)


def test_the_example_of_env_has_every_variable_with_its_default() -> None:
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", (ROOT / "docker-compose.yml").read_text()))
    told = re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert dict(told) == used


def test_prometheus_reads_its_configuration() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    for name in ("prometheus.yml", "prometheus-local.yml"):
        subprocess.run(["promtool", "check", "config", ROOT / "ops" / name], check=True)


@pytest.mark.slow
def test_alerts_fire_when_they_should() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    tests = ["promtool", "test", "rules", ROOT / "ops/alerts_test.yml"]
    done = subprocess.run(tests, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_panel_an_entry_in_the_runbook_and_a_test() -> None:
    groups = yaml.safe_load((ROOT / "ops/alerts.yml").read_text())["groups"]
    alerts = {
        rule["alert"]: rule["annotations"]["panel"]
        for group in groups
        for rule in group["rules"]
        if "alert" in rule
    }
    page = (ROOT / "docs/operations.md").read_text()
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == list(alerts)
    table = re.findall(r"^\| .+ \| \[(\w+)\]\(#(\w+)\) \| (.+) \|$", page, re.MULTILINE)
    assert table == [(name, name.lower(), panel) for name, panel in alerts.items()]
    panels = json.loads((ROOT / "ops/grafana-dashboard.json").read_text())["panels"]
    assert set(alerts.values()) <= {panel["title"] for panel in panels}
    tests = yaml.safe_load((ROOT / "ops/alerts_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if "exp_alerts" in case}
    assert fired == set(alerts)


def test_alerts_and_the_dashboard_name_metrics_that_there_are() -> None:
    listed = re.findall(r"`(thorax_\w+)`", (ROOT / "docs/reference/processes.md").read_text())
    asked = [
        name
        for file in ("alerts.yml", "grafana-dashboard.json")
        for name in re.findall(r"\bthorax_\w+", (ROOT / "ops" / file).read_text())
    ]
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in asked} <= set(listed)


def test_each_metric_is_on_the_dashboard_or_in_an_alert() -> None:
    page = (ROOT / "docs/reference/processes.md").read_text()
    listed = set(re.findall(r"`(thorax_\w+)`", page.partition("| metric |")[2].partition("\n\n")[0]))
    shown = "".join((ROOT / "ops" / file).read_text() for file in ("alerts.yml", "grafana-dashboard.json"))
    unshown = {name for name in listed if name not in shown}
    assert unshown == {"thorax_build_info", "thorax_batch_images"}


def test_the_dashboards_queries_are_promql_for_the_provisioned_source(tmp_path: Path) -> None:
    (source,) = yaml.safe_load((ROOT / "ops/grafana-datasource.yml").read_text())["datasources"]
    panels = json.loads((ROOT / "ops/grafana-dashboard.json").read_text())["panels"]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    rules = [{"record": f"panel:{n}", "expr": query} for n, query in enumerate(queries)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yml"], check=True)


def test_the_codes_of_failed_jobs_in_alerts_are_codes() -> None:
    (codes,) = set(re.findall(r'code=~"([^"]+)"', (ROOT / "ops/alerts.yml").read_text()))
    assert codes.split("|") == list(OUR_FAULTS)  # which begin with 0


def test_prometheus_asks_every_process_in_compose() -> None:
    (scraped,) = yaml.safe_load((ROOT / "ops/prometheus.yml").read_text())["scrape_configs"]
    (found,) = scraped["dns_sd_configs"]
    assert set(found["names"]) == set(local()) | {"model-worker-gpu"}
    for name in local():
        service = compose()[name]
        assert service["environment"]["THORAX_METRICS_PORT"] == str(found["port"]), name
        assert not [door for door in service.get("ports", []) if door.endswith(str(found["port"]))], name


def test_metrics_on_kubernetes_have_a_port_that_only_monitoring_reaches(
    documents: list[dict[str, Any]],
) -> None:
    folder = ROOT / "k8s/components/prometheus-operator"
    monitor = yaml.safe_load((folder / "podmonitor.yaml").read_text())["spec"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    wanted = monitor["selector"]["matchLabels"].items()
    port = next(
        d["data"]["THORAX_METRICS_PORT"] for d in documents if "THORAX_METRICS_PORT" in d.get("data", {})
    )
    deployments = [d for d in documents if d["kind"] == "Deployment" and d["metadata"]["name"] in local()]
    assert len(deployments) == len(local())
    for document in deployments:
        pod = document["spec"]["template"]
        assert wanted <= pod["metadata"]["labels"].items()
        named = {each["name"]: each["containerPort"] for each in pod["spec"]["containers"][0]["ports"]}
        assert str(named[endpoint["port"]]) == port, document["metadata"]["name"]
    doors = [
        (d["metadata"]["name"], rule["from"])
        for d in documents
        if d["kind"] == "NetworkPolicy"
        for rule in d["spec"].get("ingress", [])
        if int(port) in [each["port"] for each in rule.get("ports", [])]
    ]
    monitoring = {"kubernetes.io/metadata.name": "monitoring"}
    assert doors == [("metrics", [{"namespaceSelector": {"matchLabels": monitoring}}])]
    assert not [d for d in documents if d["kind"] == "Service" and port in str(d["spec"]["ports"])]


def test_the_trials_postgres_holds_the_connections_of_all_replicas(documents: list[dict[str, Any]]) -> None:
    """The most of each scaler, or the replicas."""
    each = dict.fromkeys(("model-worker", "aggregator"), 4)
    each |= {"sweeper": 9, "gateway": 21, "dimse": 20, "auth-service": 20}
    scalers = {
        d["metadata"]["name"]: d["spec"]
        for d in documents
        if d["kind"] in {"ScaledObject", "HorizontalPodAutoscaler"}
    }
    needed = 4  # KEDA, and superusers
    for deployment in (d for d in documents if d["kind"] == "Deployment" and d["metadata"]["name"] in each):
        name = deployment["metadata"]["name"]
        scaler = scalers.get(name, {})
        most = scaler.get("maxReplicas") or scaler.get("maxReplicaCount") or deployment["spec"]["replicas"]
        needed += each.pop(name) * most
    (postgres,) = (d for d in documents if d["kind"] == "StatefulSet")
    args = " ".join(postgres["spec"]["template"]["spec"]["containers"][0]["args"])
    assert not each
    assert int(args.split("max_connections=")[1]) >= needed


def test_no_secret_is_in_git() -> None:
    texts = [path.read_text() for path in (ROOT / "k8s").rglob("*.yaml")]
    texts.append((ROOT / "docker-compose.yml").read_text())
    assert not [t for t in texts if re.search(r"(?i)password: *[a-z0-9]|kind: Secret$", t, re.M)]


def test_every_service_gets_only_its_own_login(secrets: Path) -> None:
    logins = {
        name: (secrets / name / "thorax_database_url").read_text().split("//")[1].split(":")[0]
        for name in local()
    }
    assert logins == {
        "auth-service": "thorax_auth_login",
        "gateway": "thorax_gateway_login",
        "dimse": "thorax_gateway_login",
        "model-worker": "thorax_worker_login",
        "aggregator": "thorax_aggregator_login",
        "sweeper": "thorax_aggregator_login",
    }


def test_secrets_are_kept_when_made_again(secrets: Path) -> None:
    before = {path: path.read_text() for path in secrets.rglob("*") if path.is_file()}
    subprocess.run(["bash", ROOT / "k8s" / "make_secrets.sh", secrets], check=True, capture_output=True)
    assert {path: path.read_text() for path in before} == before
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    for name, secret in yaml.safe_load((ROOT / "docker-compose.yml").read_text())["secrets"].items():
        assert (secrets.parent / secret["file"]).is_file(), name


def test_keda_counts_in_the_ledgers_own_words(documents: list[dict[str, Any]], database_url: str) -> None:
    import psycopg

    scaled = next(d for d in documents if d["kind"] == "ScaledObject")
    with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
        query = scaled["spec"]["triggers"][0]["metadata"]["query"]
        assert connection.execute(query).fetchone() == (0,)


def test_the_login_script_and_the_migration_agree() -> None:
    script = (ROOT / "k8s" / "stores" / "logins.sh").read_text()
    assert all(role in script for role in ROLES)
