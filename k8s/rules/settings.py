"""Every THORAX_ variable has to be a setting, with a value that its process takes; files that it names have to be mounted."""

import functools
import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError
from pydantic_settings import BaseSettings

from aggregator.config import AggregatorSettings
from auth_service.config import AuthSettings
from gateway.config import GatewaySettings
from gateway.dimse.config import DimseSettings
from model_worker.config import WorkerSettings
from rules.objects import Object, Rendered, called, containers_of, labels_of, pod_of
from rules.references import PATHS, ROUTES, files_in, hosts_of
from thorax.settings import PREFIX, SECRETS_DIR, VARIABLES, variables

SERVICES: tuple[type[BaseSettings], ...] = (
    GatewaySettings,
    DimseSettings,
    AuthSettings,
    WorkerSettings,
    AggregatorSettings,
)
PORTS = {"THORAX_PORT", "THORAX_AUTH_PORT", "THORAX_DICOM_PORT", "THORAX_METRICS_PORT"}
WRITTEN = "THORAX_HEARTBEAT_FILE"
LOOPBACK = {"127.0.0.1", "::1", "localhost"}
NEEDED = {"thorax/postgres": "thorax_database_url", "thorax/valkey": "thorax_redis_url"}
"""By a pod's label, the secret that its process needs."""
_PASSWORD = re.compile(r"://[^/\s:@]*:[^/\s@]+@")


def complaints(rendered: Rendered) -> Iterator[str]:
    """Every variable that would stop or mislead a process."""
    yield from _issuer(rendered)
    for workload in rendered.workloads:
        for container in containers_of(workload):
            given = environment(rendered, container)
            for why in (*_unknown(given), *_paths(rendered, workload, container, given)):
                yield f"{called(workload)}: {container['name']}: {why}"
        ours = any(SECRETS_DIR in environment(rendered, each) for each in containers_of(workload))
        for why in (*_secrets(rendered, workload), *_blobs(rendered, workload)) if ours else ():
            yield f"{called(workload)}: {why}"
        for container in pod_of(workload)["containers"]:
            for why in _ports(container, environment(rendered, container)):
                yield f"{called(workload)}: {container['name']}: {why}"


def _issuer(rendered: Rendered) -> Iterator[str]:
    """Whoever makes or reads tokens has to name the address that people see."""
    hosts = {host for route in rendered.of(*ROUTES) for host in hosts_of(route)}
    for workload in filter(None, (rendered.find("Deployment", name) for name in PATHS.values())):
        issuer = environment(rendered, pod_of(workload)["containers"][0]).get("THORAX_ISSUER", "")
        if hosts and urlsplit(issuer).hostname not in hosts:
            yield f"{called(workload)}: THORAX_ISSUER is {issuer!r}, which is at no host of a route"


def environment(rendered: Rendered, container: Object) -> dict[str, str]:
    """A container's variables as far as they are written down, those of its ConfigMaps included."""
    given: dict[str, str] = {}
    for source in container.get("envFrom", []):
        config = rendered.find("ConfigMap", source.get("configMapRef", {}).get("name", ""))
        given |= (config or {}).get("data", {})
    return given | {each["name"]: str(each.get("value", "")) for each in container.get("env", [])}


def _unknown(given: dict[str, str]) -> Iterator[str]:
    for name, value in given.items():
        if name.startswith(PREFIX) and name not in VARIABLES:
            nearest = get_close_matches(name, VARIABLES, 1)
            yield f"{name} is not a setting" + (f"; {nearest[0]} is" if nearest else "")
        elif _refused(name, value):
            yield f"{name} cannot be {value!r}"
        elif name.endswith("_HOST") and value in LOOPBACK:
            yield f"{name} is {value}, where no other pod reaches it"
        if _PASSWORD.search(value):
            yield f"{name} holds a password, which belongs in a secret"


@functools.cache
def _refused(name: str, value: str) -> bool:
    """Whether no process takes this value. A file's content is not looked at: it is on the cluster only."""
    for settings in SERVICES:
        for field, about in settings.model_fields.items():
            if name in variables(settings, field):
                if value.startswith("/"):
                    return False
                try:
                    TypeAdapter(about.rebuild_annotation()).validate_python(value)
                except ValidationError:
                    return True
                return False
    return False


def _paths(rendered: Rendered, workload: Object, container: Object, given: dict[str, str]) -> Iterator[str]:
    volumes = {each["name"]: each for each in pod_of(workload).get("volumes", [])}
    mounts = {PurePosixPath(each["mountPath"]): each for each in container.get("volumeMounts", [])}
    for name, value in given.items():
        path = PurePosixPath(value)
        mount = next((mounts[folder] for folder in path.parents if folder in mounts), None)
        volume = volumes.get(mount["name"], {}) if mount else {}
        if name == WRITTEN and (mount is None or mount.get("readOnly") or "emptyDir" not in volume):
            yield f"{name} is {value}, where it cannot write"
        keys = files_in(rendered, volume)
        if keys is not None and path.name not in keys:
            yield f"{name} is {value}, which its volume {volume['name']} does not have"
        if name.endswith("_FILE") and name.startswith(PREFIX) and mount is None:
            yield f"{name} is {value}, where nothing is mounted"


def _secrets(rendered: Rendered, workload: Object) -> Iterator[str]:
    """Of the secrets that are mounted as settings: names, and what is missing; never a value."""
    volumes = [
        each["secret"]["secretName"] for each in pod_of(workload).get("volumes", []) if "secret" in each
    ]
    found = {key: text for name in volumes for key, text in rendered.secrets.get(name, {}).items()}
    for key, text in found.items():
        if key.upper().startswith(PREFIX) and (
            key.upper() not in VARIABLES or _refused(key.upper(), text.strip())
        ):
            yield f"its secret {key} is not a setting, or cannot be what it is"
    for label, key in NEEDED.items():
        if label in labels_of(workload) and key not in found:
            yield f"has no secret {key}"


def _blobs(rendered: Rendered, workload: Object) -> Iterator[str]:
    """Who stores blobs is told where: in a bucket, or on a volume."""
    (container, *_), volumes = pod_of(workload)["containers"], pod_of(workload).get("volumes", [])
    place = environment(rendered, container).get("THORAX_BLOBS", "")
    kept = {each["name"] for each in volumes if "persistentVolumeClaim" in each}
    mounts = {each["mountPath"] for each in container.get("volumeMounts", []) if each["name"] in kept}
    if "thorax/blobs" in labels_of(workload) and not place.startswith("s3://") and place not in mounts:
        yield f"THORAX_BLOBS is {place!r}, which is neither a bucket nor a volume"


def _ports(container: Object, given: dict[str, str]) -> Iterator[str]:
    """Where the process listens is where the container's ports, and so Services and probes, say."""
    named = {str(port["containerPort"]): port.get("name") for port in container.get("ports", [])}
    for name in sorted(PORTS & given.keys()):
        own = name == "THORAX_METRICS_PORT" or name in {each["name"] for each in container.get("env", [])}
        if own and named and given[name] not in named:
            yield f"{name} is {given[name]}, which is not among its ports"
    listens = {given[name] for name in ("THORAX_PORT", "THORAX_AUTH_PORT") if name in given}
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container.get(kind, {})
        ask, command = probe.get("httpGet"), " ".join(probe.get("exec", {}).get("command", []))
        if ask and listens and not {str(ask["port"]), *_of_name(named, ask["port"])} & listens:
            yield f"{kind} asks port {ask['port']}, where the process answers no probes"
        if ask and ask["path"] not in ("/healthz", "/readyz"):
            yield f"{kind} asks {ask['path']}, which is not an address of probes"
        if ask and ask["path"] == "/readyz" and (kind == "livenessProbe" or "THORAX_PORT" in given):
            yield f"{kind} asks /readyz: what all replicas share would take them out at once"
        if command and WRITTEN in given and given[WRITTEN] not in command:
            yield f"{kind} does not look at {given[WRITTEN]}, the heartbeat"


def _of_name(named: dict[str, str | None], port: object) -> set[str]:
    return {number for number, name in named.items() if name == port}
