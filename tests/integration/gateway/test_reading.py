"""A tenant's own thresholds: an administrator sets them, and a result keeps those that it was read by."""

from uuid import uuid4

import httpx

from tests.factories.images import chest_png
from tests.factories.platform import Platform, finished, post
from tests.integration.gateway.problem import problem
from thorax.errors import Code

BUNDLE = {"point": "likely", "thresholds": {}, "prevalence": {}}


def edema(client: httpx.Client, job: str) -> dict[str, object]:
    (found,) = (v for v in client.get(job).json()["study"]["findings"] if v["finding"] == "edema")
    return {name: found[name] for name in ("threshold", "operating_point", "positive", "verdict")}


def test_a_choice_holds_for_results_to_come(platform: Platform) -> None:
    tenant = uuid4()
    path = f"/v1/admin/readings/{tenant}"
    with platform.client(tenant) as client, platform.client(scope="admin") as admin:
        assert client.get("/v1/reading").json() == BUNDLE
        low, high = ({**BUNDLE, "thresholds": {"edema": t}} for t in (1e-6, 0.999999))
        jobs = []
        for reading in (low, high):
            assert admin.put(path, json=reading).json() == reading == client.get("/v1/reading").json()
            jobs.append(post(client, chest_png(1, 64)).headers["location"])
            finished(client, jobs[-1])
        assert admin.delete(path).status_code == 204
        assert client.get("/v1/reading").json() == BUNDLE
        own = {"operating_point": "own"}
        assert edema(client, jobs[0]) == {**own, "threshold": 1e-6, "positive": True, "verdict": "likely"}
        assert edema(client, jobs[1]) == {
            **own,
            "threshold": 0.999999,
            "positive": False,
            "verdict": "unlikely",
        }
        rows = client.get("/v1/jobs", params={"finding": "edema"}).json()["items"]
        assert [f"/v1/jobs/{row['id']}" for row in rows] == jobs[:1], "lists go by the same columns"
        with platform.client() as stranger:
            assert stranger.get("/v1/reading").json() == BUNDLE


def test_only_an_administrator_sets_it(platform: Platform) -> None:
    tenant = uuid4()
    with platform.client(tenant) as client, platform.client(scope="admin") as admin:
        for method in ("PUT", "DELETE"):
            problem(client.request(method, f"/v1/admin/readings/{tenant}", json=BUNDLE), Code.FORBIDDEN)
        for wrong in ({"point": "own"}, {"thresholds": {"edema": 2}}, {"prevalence": {"gout": 0.1}}, []):
            problem(admin.put(f"/v1/admin/readings/{tenant}", json=wrong), Code.VALIDATION)
        for extreme in (1e-300, 1 - 1e-9):
            wrong = {"prevalence": {"edema": extreme}}
            problem(admin.put(f"/v1/admin/readings/{tenant}", json=wrong), Code.VALIDATION)
        problem(admin.put("/v1/admin/readings/x", json=BUNDLE), Code.VALIDATION)
