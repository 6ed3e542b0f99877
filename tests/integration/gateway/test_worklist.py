"""Lists: sorted and paged, a patient's earlier studies, and what an administrator sees of all tenants."""

from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest

from tests.factories.images import chest_dicom, chest_png
from tests.factories.platform import Platform, finished, post
from tests.integration.gateway.problem import problem
from thorax.errors import Code

Idle = Callable[..., httpx.Response]


def paged(client: httpx.Client, **query: Any) -> list[dict[str, Any]]:
    """All of a list, two at a time."""
    items, cursor = [], {}
    while True:
        answer = client.get("/v1/jobs", params={"limit": 2, **query, **cursor})
        assert answer.status_code == 200, answer.text
        items += answer.json()["items"]
        if answer.json()["next"] is None:
            return items
        cursor = {"cursor": answer.json()["next"]}


def analysed(client: httpx.Client, *images: bytes, **fields: str) -> dict[str, Any]:
    receipt = post(client, *images, data=fields)
    assert receipt.status_code == 202, receipt.text
    return finished(client, receipt.headers["location"])


def test_the_list_is_sorted_as_told_over_all_pages(client: httpx.Client, platform: Platform) -> None:
    jobs = [analysed(client, chest_png(i, 64), title=t) for i, t in enumerate(["b", "C", "a", "b", ""])]
    made = [job["id"] for job in jobs]

    def ids(**query: Any) -> list[str]:
        return [item["id"] for item in paged(client, **query)]

    def above(job: dict[str, Any], finding: str | None = None) -> float:
        views = [view for view in job["study"]["findings"] if finding in (None, view["finding"])]
        return max(view["margin"] for view in views)

    assert ids() == ids(sort="newest") == made[::-1]
    assert ids(sort="oldest") == made
    assert [item["title"] for item in paged(client, sort="title")] == ["a", "b", "b", "C", "image.png"]
    assert ids(sort="suspicion") == sorted(made, key=lambda id: -above(jobs[made.index(id)]))
    items = paged(client, sort="suspicion", finding="edema")
    worst = sorted((job for job in jobs if above(job, "edema") >= 0), key=lambda job: -above(job, "edema"))
    assert [item["id"] for item in items] == [job["id"] for job in worst]
    for item, job in zip(paged(client, sort="oldest"), jobs, strict=True):
        assert item["findings"] == [{**view, "backbones": {}} for view in job["study"]["findings"]]


@pytest.mark.parametrize("order", ["newest", "oldest", "title", "suspicion"])
@pytest.mark.parametrize(
    "place",
    [
        [],
        {},
        "x",
        [1, 2, 3],
        ["newest", "0001-01-01T00:00:00+23:59", str(uuid4())],
        ["oldest", "9999-12-31T23:59:59-23:59", str(uuid4())],
        ["title", "a\0b", str(uuid4())],
        ["title", "x", "no id"],
        ["suspicion", 1e308, str(uuid4())],
        ["suspicion", None, str(uuid4())],
    ],
)
def test_a_forged_cursor_is_not_a_server_error(client: httpx.Client, order: str, place: Any) -> None:
    cursor = urlsafe_b64encode(orjson.dumps(place)).decode()
    answer = client.get("/v1/jobs", params={"cursor": cursor, "sort": order})
    assert answer.status_code == 200 or problem(answer, Code.VALIDATION)


def test_an_open_job_names_its_stages(idle: Idle, client: httpx.Client, platform: Platform) -> None:
    posted = idle().headers["location"]
    stages = client.get(posted).json()["stages"]
    assert [(stage["kind"], stage["backbone"]) for stage in stages] == [
        ("prepare", None),
        ("infer", "tiny_0"),
        ("infer", "tiny_1"),
        ("infer", "tiny_2"),
        ("aggregate", None),
    ]
    assert stages[0] == {"kind": "prepare", "backbone": None, "done": 0, "running": 0, "total": 1}
    platform.resume()
    assert finished(client, posted)["stages"] == []


# --- a patient's earlier studies ------------------------------------------------------------------------------


def of_patient(number: str, seed: int, **elements: Any) -> bytes:
    return chest_dicom(seed, 64, PatientID=number, **elements)


def priors(client: httpx.Client, job: dict[str, Any]) -> list[str]:
    return [item["id"] for item in client.get(f"/v1/jobs/{job['id']}/priors").json()["items"]]


def test_priors_are_the_earlier_studies_of_the_same_patient(client: httpx.Client, platform: Platform) -> None:
    new = analysed(client, of_patient("Z-77", 1, StudyDate="20260301"))
    old = analysed(client, of_patient(" Z-77 ", 2, StudyDate="20240201"))  # sent later, taken earlier
    older = analysed(client, of_patient("Z-77", 3, StudyDate="20230101"))
    analysed(client, of_patient("Z-78", 4, StudyDate="20240101"))
    analysed(client, of_patient("Z-77", 5, StudyDate="20240101", IssuerOfPatientID="elsewhere"))
    assert new["study"]["study_date"] == "2026-03-01"
    assert priors(client, new) == [old["id"], older["id"]]
    assert (priors(client, old), priors(client, older)) == ([older["id"]], [])
    with platform.client() as stranger:
        analysed(stranger, of_patient("Z-77", 6, StudyDate="20250101"))
        problem(stranger.get(f"/v1/jobs/{new['id']}/priors"), Code.NOT_FOUND)
    assert priors(client, new) == [old["id"], older["id"]], "nothing of another tenant"
    kept = platform.sql("select patient from studies where patient is not null")
    assert len({bytes(row[0]) for row in kept}) >= 4, "the same patient looks different in another tenant"
    assert "Z-77" not in platform.logs()
    assert "Z-77" not in client.get(f"/v1/jobs/{new['id']}").text


@pytest.mark.parametrize("number", ["", "0000", "ANONYMOUS", "N/A"])
def test_files_without_a_patient_have_no_priors(client: httpx.Client, number: str) -> None:
    first, second = (analysed(client, of_patient(number, seed)) for seed in (1, 2))
    assert [priors(client, job) for job in (first, second)] == [[], []]
    assert client.get(f"/v1/jobs/{second['id']}/priors").json()["patient_known"] is False


def test_two_patients_make_no_study_and_no_prior(client: httpx.Client) -> None:
    files = [
        of_patient(number, 1)[132:] for number in ("Z-1", "Z-2")
    ]  # without a preamble, as some old files are
    problem(post(client, *files), Code.SEVERAL_PATIENTS)
    assert priors(client, analysed(client, of_patient("Z-1", 3))) == []


def test_two_patients_that_only_a_worker_can_tell_are_no_known_patient(client: httpx.Client) -> None:
    known = analysed(client, of_patient("Z-5", 4))
    hidden = of_patient(
        "Z-6", 5, RecordKey=bytes(1_500_000)
    )  # what the door reads of a file ends before its patient
    mixed = analysed(client, of_patient("Z-5", 6), hidden)
    assert client.get(f"/v1/jobs/{mixed['id']}/priors").json() == {"patient_known": False, "items": []}
    assert mixed["id"] not in priors(client, known)


@pytest.mark.parametrize("role", ["thorax_gateway", "thorax_worker"])
def test_no_service_reads_a_tenants_secret(platform: Platform, role: str) -> None:
    import psycopg

    with (
        psycopg.connect(platform.url_as(role).replace("+psycopg", "")) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("select secret from patient_secrets")


# --- administration -------------------------------------------------------------------------------------------


def test_an_administrator_sees_and_retries_failures_of_all_tenants(
    client: httpx.Client, platform: Platform
) -> None:
    receipts = [post(client, chest_png(i)[:3000], data={"title": "secret"}).json() for i in range(3)]
    for receipt in receipts:
        assert finished(client, receipt["links"]["self"])["state"] == "failed"
    with platform.client(scope="admin studies:read studies:write") as admin:
        seen: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while cursor is not None:
            page = admin.get("/v1/admin/failed", params={"limit": 2, **cursor})
            assert page.status_code == 200, page.text
            seen += page.json()["items"]
            cursor = page.json()["next"] and {"cursor": page.json()["next"]}
        found = [item for item in seen if item["id"] in {receipt["job_id"] for receipt in receipts}]
        assert len(found) == 3
        assert len({item["id"] for item in seen}) == len(seen)
        assert found[0]["error"]["code"] == Code.UNREADABLE_IMAGE
        assert found[0]["error"]["permanent"]
        assert "secret" not in str(seen)
        job = receipts[0]
        problem(admin.get(job["links"]["self"]), Code.NOT_FOUND)  # the study itself stays its tenant's
        blob = platform.folder / "blobs" / "instances" / job["instance_ids"][0] / "original"
        blob.write_bytes(chest_png(1))
        again = admin.post(f"/v1/admin/jobs/{job['job_id']}/retry")
        assert (again.status_code, again.json()) == (202, {"id": job["job_id"], "state": "queued"})
        assert finished(client, job["links"]["self"])["state"] == "succeeded"
        problem(admin.post(f"/v1/admin/jobs/{job['job_id']}/retry"), Code.NOT_FOUND)
        told = admin.get("/v1/admin/platform").json()
        assert any("prepare" in one["kinds"] and one["alive"] for one in told["workers"])
        assert told["bundles"][0]["default"] and told["bundles"][0]["workers"]
        assert 0 < told["disk"]["free_bytes"] <= told["disk"]["total_bytes"]
        assert all(one["waiting"] + one["running"] for one in told["queue"])
        for strange in ("x", "2026-01-01_x", f"x_{uuid4()}", "_"):
            problem(admin.get("/v1/admin/failed", params={"cursor": strange}), Code.VALIDATION)
    problem(client.get("/v1/admin/failed"), Code.FORBIDDEN)
    problem(client.get("/v1/admin/platform"), Code.FORBIDDEN)
    problem(client.post(f"/v1/admin/jobs/{job['job_id']}/retry"), Code.FORBIDDEN)
