"""A real API server against `check.py`: `kubectl proxy --port 8001 &`, then `python k8s/against_server.py http://127.0.0.1:8001`.

Every object of every overlay as a dry run; then changes to single values of `trial`: what the server refuses, `check.py` has to
complain about. Namespaces and PriorityClasses are left alone. An older server: `--older autoscaling/v2=autoscaling/v2beta2`.
"""

import argparse
import copy
import sys
from collections.abc import Iterator
from typing import Any

import httpx
from check import HERE, OVERLAYS, complaints, render
from rules.objects import Object, Rendered

OTHERS: dict[type, list[Any]] = {
    str: ["x y!", "", "ä", "A" * 300, "1.5", "-1"],
    int: [-1, 0, 99_999_999, "x", 2**33],
    bool: ["x"],
    dict: [{}, []],
    list: [[], {}],
}
CLUSTER_WIDE = {"Namespace", "PriorityClass"}


class Server:
    """An API server behind `kubectl proxy`; its default namespace takes the dry runs."""

    def __init__(self, url: str, older: dict[str, str]) -> None:
        self._client, self._older = httpx.Client(base_url=url, timeout=60), older
        self._names: dict[str, dict[str, str]] = {}

    def has(self, each: Object) -> bool:
        """Whether it knows the kind, and this may try it."""
        return each["kind"] not in CLUSTER_WIDE and each["kind"] in self._resources(self._version(each))

    def refusal(self, each: Object) -> str:
        """Why it does not take an object; empty if it does."""
        version = self._version(each)
        place = f"{_path(version)}/namespaces/default/{self._resources(version)[each['kind']]}"
        sent = {**each, "apiVersion": version}
        if isinstance(each.get("metadata"), dict):
            sent["metadata"] = {**each["metadata"], "namespace": "default"}
        answer = self._client.post(place, params={"dryRun": "All"}, json=sent)
        return "" if answer.is_success else str(answer.json()["message"])

    def _version(self, each: Object) -> str:
        return self._older.get(f"{each['apiVersion']}", each["apiVersion"])

    def _resources(self, version: str) -> dict[str, str]:
        if version not in self._names:
            answer = self._client.get(_path(version))
            found = answer.json()["resources"] if answer.is_success else []
            self._names[version] = {each["kind"]: each["name"] for each in found if "/" not in each["name"]}
        return self._names[version]


def _path(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def changes(each: Object) -> Iterator[tuple[tuple[Any, ...], Object]]:
    """Copies of an object in which one value is another or missing, and where."""
    for place, value in _places(each):
        for other in (None, *OTHERS.get(type(value), [])):
            changed = copy.deepcopy(each)
            holder: Any = changed
            for step in place[:-1]:
                holder = holder[step]
            if other is None:
                del holder[place[-1]]
            else:
                holder[place[-1]] = other
            yield place, changed


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        if (*place, step) not in (("apiVersion",), ("kind",), ("metadata", "namespace")):
            yield (*place, step), inner
            yield from _places(inner, (*place, step))


def main() -> None:
    """Print what the server refuses and nothing here complains about; exit code 1 if there is anything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--older", action="append", default=[], metavar="VERSION=OLDER")
    given = parser.parse_args()
    server = Server(given.url, dict(each.split("=") for each in given.older))
    wrong = []
    for overlay in OVERLAYS:
        taken = [each for each in render(overlay).objects if server.has(each)]
        wrong += [
            f"{each['kind']} of {overlay.name}: {why}" for each in taken if (why := server.refusal(each))
        ]
        print(f"{overlay.name}: {len(taken)} objects shown to the server")
    trial, seen, refused = render(HERE / "overlays/trial"), set(), 0
    for each in filter(server.has, trial.objects):
        before = frozenset(seen)
        for place, changed in changes(each):
            kind_of_place = (each["kind"], *("#" if isinstance(step, int) else step for step in place))
            seen.add(kind_of_place)
            if kind_of_place in before or not (why := server.refusal(changed)):
                continue
            refused += 1
            others = [changed if one is each else one for one in trial.objects]
            if not any(complaints(Rendered(others, trial.secrets))):
                wrong.append(f"{each['kind']} {each['metadata']['name']}: {place}: {why}")
    print(f"{len(seen)} kinds of places; {refused} changes that the server refuses", *wrong, sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
