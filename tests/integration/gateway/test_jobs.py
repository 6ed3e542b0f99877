"""A job's life as its owner sees it: polled, listed, cancelled, erased, retried, overtaken."""

from collections.abc import Callable
from math import log
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.factories.images import chest_dicom, chest_png
from tests.factories.platform import Platform, finished, post
from tests.integration.gateway.problem import problem
from thorax.errors import Code
from thorax.findings import FINDINGS
from thorax.image_warnings import WarningCode

Done = tuple[httpx.Client, dict[str, Any]]
Idle = Callable[..., httpx.Response]


def test_a_finished_job_says_everything(done: Done) -> None:
    _, job = done
    assert job["progress"] == {"done": 9, "total": 9}  # 2 × (prepare + 3 backbones) + aggregate
    assert set(job["timings"]) == {"queued_s", "prepare_s", "infer_s", "aggregate_s", "total_s"}
    assert job["timings"]["total_s"] > 0
    assert (job["bundle"]["name"], len(job["bundle"]["digest"]) >= 64) == ("tiny", True)
    assert (job["degraded"], job["missing_backbones"], job["error"]) == (False, [], None)
    assert job["created_at"] < job["started_at"] < job["finished_at"]
    assert job["study"]["title"] == "two views"
    for of in (job["study"], *job["images"]):
        assert [view["finding"] for view in of["findings"]] == list(FINDINGS)
        for view in of["findings"]:
            assert 0 <= view["probability"] <= 1
            assert view["positive"] == (view["probability"] >= view["threshold"])
            assert view["disagreement"] >= 0
    for image in job["images"]:
        assert (image["rows"], image["columns"], image["state"]) == (256, 256, "prepared")
        assert image["ran"] == job["backbones"] == ["tiny_0", "tiny_1", "tiny_2"]
        assert all(set(view["backbones"]) == {"tiny_0", "tiny_1", "tiny_2"} for view in image["findings"])
    for place, view in enumerate(job["study"]["findings"]):
        assert view["probability"] == max(image["findings"][place]["probability"] for image in job["images"])


def test_dicom_brings_its_identifiers(client: httpx.Client) -> None:
    image = chest_dicom(
        1,
        StudyInstanceUID="1.2.3.77",
        SOPInstanceUID="1.2.3.78",
        ViewPosition="PA",
        AccessionNumber=" A-7 ",
        PatientID="P-7",
    )
    job = finished(client, post(client, image, name="scans/one.dcm").headers["location"])
    study = job["study"]
    assert (study["study_instance_uid"], study["accession"], len(study["patient"])) == ("1.2.3.77", "A-7", 64)
    assert study["title"] == "one.dcm", "without a title, the file's name"
    assert (job["images"][0]["sop_instance_uid"], job["images"][0]["view_position"]) == ("1.2.3.78", "PA")
    (row,) = client.get("/v1/jobs").json()["items"]
    named = ("study_instance_uid", "accession", "patient", "title", "source")
    assert {name: row[name] for name in named} == {name: study[name] for name in named}
    assert row["bundle"] == job["bundle"]
    of_file = ("id", "file_name", "sop_instance_uid", "view_position")
    assert row["files"] == [{name: image[name] for name in of_file} for image in job["images"]]
    for name, value, other in (
        ("study_instance_uid", "1.2.3.77", "1.2.3.78"),
        ("accession", "A-7", "A"),
        ("patient", study["patient"], "0" * 64),
        ("bundle", "tiny", "small"),
        ("bundle", job["bundle"]["digest"], "tin"),
        ("created_after", job["created_at"], "2126-01-01"),
        ("created_before", "21260101", job["created_at"]),
    ):
        found = [client.get("/v1/jobs", params={name: text}) for text in (value, other)]
        assert [len(answer.json()["items"]) for answer in found] == [1, 0], (name, found[1].text)


@pytest.mark.parametrize(
    "moment", ["yesterday", "2026-01-01T12:00:00", "2026-13-01", "99999-01-01", "2026", "0.5"]
)
def test_an_invalid_time_is_refused(client: httpx.Client, moment: str) -> None:
    problem(client.get("/v1/jobs", params={"created_after": moment}), Code.VALIDATION)


@pytest.mark.parametrize(
    "path", ["/v1/jobs", "/v1/jobs/{}", "/v1/jobs/{}/events", "/v1/models", "/v1/events"]
)
def test_an_unknown_query_parameter_is_refused_with_the_known_ones(done: Done, path: str) -> None:
    client, job = done
    refused = client.get(path.format(job["id"]), params={"created_afer": "2026-01-01"})
    body = problem(refused, Code.UNKNOWN_PARAMETER)
    document = client.get("/openapi.json").json()["paths"][path.format("{job_id}")]["get"]
    assert body["parameters"] == sorted(
        p["name"] for p in document.get("parameters", ()) if p["in"] == "query"
    )
    assert "created_afer" in body["detail"]
    strange = client.get(path.format(job["id"]), params={"<b>Smith^John</b>": ""})
    assert "Smith" not in strange.text and problem(strange, Code.UNKNOWN_PARAMETER)


@pytest.mark.parametrize(("path", "name"), [("/v1/jobs", "state"), ("/v1/jobs/{}", "wait")])
def test_a_query_parameter_with_two_values_is_refused(done: Done, path: str, name: str) -> None:
    client, job = done
    refused = client.get(path.format(job["id"]), params={name: ["1", "2"]})
    assert f"`{name}`" in problem(refused, Code.VALIDATION)["detail"]


def test_force_overrules_a_clinical_refusal_and_the_result_says_so(client: httpx.Client) -> None:
    lateral = chest_dicom(1, ViewPosition="LL", PatientOrientation=["R", "F"])
    refused = finished(client, post(client, lateral).headers["location"])
    assert refused["images"][0]["error"]["code"] == Code.NOT_FRONTAL
    forced = finished(client, post(client, lateral, params={"force": "true"}).headers["location"])
    assert forced["state"] == "succeeded"
    image = forced["images"][0]
    assert [warning["code"] for warning in image["warnings"]] == [WarningCode.OVERRULED, WarningCode.TURNED]
    assert image["warnings"][0]["detail"] == refused["images"][0]["error"]["detail"]
    assert image["orientation"] == 2


def test_a_key_used_without_force_does_not_force(client: httpx.Client) -> None:
    key = {"Idempotency-Key": "forced-or-not"}
    assert post(client, chest_png(1), headers=key).status_code == 202
    again = post(client, chest_png(1), headers=key, params={"force": "true"})
    assert again.json()["code"] == Code.IDEMPOTENCY_MISMATCH


def test_one_unreadable_image_does_not_spoil_the_others(client: httpx.Client) -> None:
    job = finished(client, post(client, chest_png(1)[:2000], chest_png(2)).headers["location"])
    assert job["state"] == "succeeded"
    assert [image["state"] for image in job["images"]] == ["failed", "prepared"]
    assert job["images"][0]["error"]["code"] == Code.UNREADABLE_IMAGE
    assert job["images"][0]["findings"] == []


def test_an_entity_tag_spares_what_did_not_change(done: Done) -> None:
    client, job = done
    first = client.get(job["links"]["self"])
    again = client.get(job["links"]["self"], headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("etag", "cache-control", "vary"):
        assert again.headers[name] == first.headers[name], name


@pytest.mark.parametrize("known", ['"1", {}', "*", '{}, "x"'])
def test_a_list_of_entity_tags_is_understood(done: Done, known: str) -> None:
    client, job = done
    tag = client.get(job["links"]["self"]).headers["etag"]
    for path in (job["links"]["self"], job["images"][0]["links"]["image"]):
        assert client.get(path, headers={"If-None-Match": known.format(tag)}).status_code == 304


def test_head_answers_without_a_body_also_for_streams(done: Done) -> None:
    client, job = done
    for path in (*job["links"].values(), "/v1/jobs", "/v1/events", "/v1/models", "/openapi.json", "/"):
        head = client.head(path)
        assert (head.status_code, head.content) == (503 if path == "/" else 200, b""), path
        assert head.headers.get("content-length") != "0", path


@pytest.mark.parametrize("name", ["title", "accession", "study_instance_uid", "bundle"])
def test_a_filter_that_nothing_can_match_is_refused(done: Done, name: str) -> None:
    client, _ = done
    problem(client.get("/v1/jobs", params={name: "two\0"}), Code.VALIDATION)
    assert client.get("/v1/jobs", params={name: "胸部　正面"}).status_code == 200


def test_a_form_whose_file_was_not_chosen_has_no_file(client: httpx.Client) -> None:
    def sent(*parts: bytes) -> httpx.Response:
        head = b'--x\r\nContent-Disposition: form-data; name="files"; filename=""\r\n\r\n'
        body = b"".join(head + part + b"\r\n" for part in parts) + b"--x--\r\n"
        return client.post(
            "/v1/jobs", content=body, headers={"Content-Type": "multipart/form-data; boundary=x"}
        )

    problem(sent(b""), Code.NO_FILES)
    assert len(sent(b"", chest_png(1, 64)).json()["instance_ids"]) == 1
    problem(sent(*[b""] * 21), Code.TOO_MANY_FILES)


def test_a_receipt_says_where_the_events_are_and_how_much_room_is_left(client: httpx.Client) -> None:
    receipt = post(client, chest_png(1, 64))
    assert receipt.json()["id"] == receipt.json()["job_id"]
    assert receipt.json()["links"]["events"] == f"{receipt.headers['location']}/events"
    assert client.get(receipt.json()["links"]["events"]).status_code == 200
    assert receipt.headers["ratelimit-policy"] == '"open-jobs";q=500;qu="concurrent-requests"'
    assert receipt.headers["ratelimit"] == '"open-jobs";r=499'


def test_a_long_list_is_packed(done: Done) -> None:
    client, _ = done
    answer = client.get("/v1/jobs", headers={"Accept-Encoding": "gzip"})
    assert (answer.headers["content-encoding"], len(answer.json()["items"])) == ("gzip", 1)


@pytest.mark.parametrize(
    "tag", ['"999"', "W/", '"\u00b2"', '"' + "9" * 90 + '"', '"' + "9" * 900 + '"', "nonsense"]
)
def test_an_invalid_entity_tag_is_not_an_error(done: Done, tag: str) -> None:
    client, job = done
    answer = client.get(job["links"]["self"], headers={"If-None-Match": tag.encode()})
    assert answer.status_code == 200, answer.text


def test_the_list_pages_through_everything_once_newest_first(idle: Idle, client: httpx.Client) -> None:
    posted = [idle(i, title=f"n{i}").json()["job_id"] for i in range(25)]
    seen: list[str] = []
    cursor, pages = None, 0
    while True:
        page = client.get("/v1/jobs", params={"limit": 7, **({"cursor": cursor} if cursor else {})}).json()
        seen += [item["id"] for item in page["items"]]
        pages += 1
        if pages == 2:
            idle(99, title="late")  # a job that arrives between two pages shifts nothing
        if (cursor := page["next"]) is None:
            break
    assert (seen, pages) == (posted[::-1], 4)


def test_jobs_of_one_moment_are_neither_lost_nor_doubled(
    idle: Idle, client: httpx.Client, platform: Platform
) -> None:
    posted = {idle(i).json()["job_id"] for i in range(9)}
    platform.sql("update jobs set created_at = '2026-01-01' where id = any(%s::uuid[])", list(posted))
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = client.get("/v1/jobs", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
    assert (len(seen), set(seen)) == (9, posted)


def test_the_list_filters(done: Done) -> None:
    client, job = done

    def ids(**query: Any) -> list[str]:
        answer = client.get("/v1/jobs", params=query)
        assert answer.status_code == 200, answer.text
        return [item["id"] for item in answer.json()["items"]]

    assert ids(state="succeeded") == ids(priority="routine") == ids(title="WO vi") == ids() == [job["id"]]
    assert ids(state="failed") == ids(priority="stat") == ids(title="wo%vi") == ids(title="_") == []
    for view in job["study"]["findings"]:
        assert ids(finding=view["finding"]) == ([job["id"]] if view["positive"] else [])
    (item,) = client.get("/v1/jobs").json()["items"]
    assert (item["images"], item["first_image"]) == (2, job["images"][0]["id"])
    best = max(job["study"]["findings"], key=lambda view: view["margin"])
    for view in job["study"]["findings"]:
        p, t = view["probability"], view["threshold"]
        assert view["margin"] == pytest.approx(log(p / (1 - p)) - log(t / (1 - t)), abs=1e-3)
    assert item["top_finding"]["finding"] == best["finding"]


def test_an_open_job_is_cancelled_and_a_cancelled_one_erased(
    idle: Idle, client: httpx.Client, platform: Platform
) -> None:
    receipt = idle().json()
    job = f"/v1/jobs/{receipt['job_id']}"
    problem(client.delete(job, params={"only": "erase"}), Code.CONFLICT)
    cancelled = client.delete(job, params={"only": "cancel"})
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    problem(
        client.delete(job, params={"only": "cancel"}), Code.CONFLICT
    )  # a request to cancel erases nothing
    assert cancelled.json()["error"]["code"] == Code.CANCELLED
    steps = platform.sql("select distinct state from steps where job_id = %s", receipt["job_id"])
    assert steps == [("cancelled",)]
    assert client.delete(job).status_code == 204
    problem(client.get(job), Code.NOT_FOUND)
    problem(client.delete(job), Code.NOT_FOUND)


def test_a_writer_without_read_scope_changes_a_job_but_does_not_see_it(
    idle: Idle, client: httpx.Client, platform: Platform
) -> None:
    job = idle().headers["location"]
    tenant = platform.sql("select tenant_id from jobs where id = %s", job.rpartition("/")[2])[0][0]
    with platform.client(tenant, scope="studies:write") as writer:
        cancelled = writer.delete(job)
        retried = writer.post(f"{job}/retry")
        for answer, code, state in ((cancelled, 200, "cancelled"), (retried, 202, "queued")):
            assert (answer.status_code, answer.json()["state"]) == (code, state)
            assert set(answer.json()) == {"id", "state", "links"}
    assert set(client.delete(job).json()) > {"id", "state", "links", "study", "images"}


def test_erasing_a_job_leaves_no_row_and_no_blob(client: httpx.Client, platform: Platform) -> None:
    receipt = post(client, chest_png(8), chest_png(9)).json()
    job = finished(client, receipt["links"]["self"])
    folders = [platform.folder / "blobs" / "instances" / image["id"] for image in job["images"]]
    assert all(len(list(folder.iterdir())) >= 3 for folder in folders), "original, display and an input"
    assert client.delete(job["links"]["self"]).status_code == 204
    assert not any(folder.exists() for folder in folders)
    for table in ("steps", "predictions", "study_findings", "heatmaps", "idempotency_keys"):
        assert platform.sql(f"select count(*) from {table} where job_id = %s", receipt["job_id"]) == [(0,)], (
            table
        )
    assert platform.sql("select count(*) from jobs where id = %s", receipt["job_id"]) == [(0,)]
    assert platform.sql("select count(*) from instances where study_id = %s", receipt["study_id"]) == [(0,)]
    assert platform.sql("select count(*) from studies where id = %s", receipt["study_id"]) == [(0,)]


def test_a_failed_job_can_be_retried(client: httpx.Client, platform: Platform) -> None:
    receipt = post(client, chest_png(1)[:3000]).json()
    job = finished(client, receipt["links"]["self"])
    assert (job["state"], job["error"]["code"]) == ("failed", Code.UNREADABLE_IMAGE)
    blob = platform.folder / "blobs" / "instances" / receipt["instance_ids"][0] / "original"
    blob.write_bytes(chest_png(1))  # as if the fault had been on our side
    again = client.post(f"{receipt['links']['self']}/retry")
    assert (again.status_code, again.json()["error"]) == (202, None)
    assert again.json()["version"] > job["version"]
    job = finished(client, receipt["links"]["self"])
    assert (job["state"], job["progress"]) == ("succeeded", {"done": 5, "total": 5})
    problem(client.post(f"{receipt['links']['self']}/retry"), Code.CONFLICT)


def test_all_networks_are_asked_for_at_the_upload_or_afterwards(client: httpx.Client) -> None:
    path = post(client, chest_png(1)).headers["location"]
    assert finished(client, path)["full"] is False
    again = client.post(f"{path}/analyse", params={"full": "true"}).headers["location"]
    assert finished(client, again)["full"] is True
    uploaded = post(client, chest_png(2), params={"full": "true"}).headers["location"]
    assert finished(client, uploaded)["full"] is True


def test_a_cancelled_job_can_be_retried(
    idle: Idle, client: httpx.Client, platform: Platform, request: pytest.FixtureRequest
) -> None:
    job = idle().headers["location"]
    problem(client.post(f"{job}/retry"), Code.CONFLICT)
    client.delete(job)
    again = client.post(f"{job}/retry")
    assert (again.status_code, again.json()["state"]) == (202, "queued")
    platform.resume()
    assert finished(client, job)["state"] == "succeeded"


def test_a_job_is_done_again_as_a_new_version_of_its_studys_result(
    client: httpx.Client, platform: Platform
) -> None:
    dicom = chest_dicom(7, SOPInstanceUID=f"2.25.{uuid4().int}")
    first = finished(client, post(client, dicom).headers["location"])
    assert post(client, dicom).json()["id"] == first["id"], "the same image is the same job"
    before = client.get(first["links"]["self"])
    assert before.json()["superseded_by"] is None
    answer = client.post(f"/v1/jobs/{first['id']}/analyse")
    assert (answer.status_code, answer.json()["supersedes"]) == (202, first["id"]), answer.text
    second = finished(client, answer.headers["location"])
    assert second["state"] == "succeeded"
    assert [one["probability"] for one in second["study"]["findings"]] == [
        one["probability"] for one in first["study"]["findings"]
    ]
    assert second["study"]["id"] == first["study"]["id"]
    links = {
        row["id"]: (row["supersedes"], row["superseded_by"]) for row in client.get("/v1/jobs").json()["items"]
    }
    assert (links[first["id"]], links[second["id"]]) == ((None, second["id"]), (first["id"], None))
    seen = {"If-None-Match": before.headers["etag"]}
    after = client.get(first["links"]["self"], headers=seen)
    assert (after.status_code, after.json()["superseded_by"]) == (200, second["id"]), "no 304 hides it"
    known = {"If-None-Match": f"{before.headers['etag']}, {after.headers['etag']}"}
    unchanged = client.get(first["links"]["self"], headers=known)
    assert (unchanged.status_code, unchanged.headers["etag"]) == (304, after.headers["etag"])
    assert client.delete(f"/v1/jobs/{first['id']}").status_code == 204
    assert client.get(second["images"][0]["links"]["original"]).content == dicom, "its image stays"


def test_a_second_click_finds_the_job_that_the_first_one_made(
    client: httpx.Client, platform: Platform, request: pytest.FixtureRequest
) -> None:
    first = finished(client, post(client, chest_png(9, 64)).headers["location"])
    request.getfixturevalue("standstill")
    made = [client.post(f"/v1/jobs/{first['id']}/analyse").json() for _ in range(2)]
    assert (made[0]["state"], made[0]["id"]) == ("queued", made[1]["id"])


def test_only_a_result_is_made_again(idle: Idle, client: httpx.Client, platform: Platform) -> None:
    job = idle().headers["location"]
    problem(client.post(f"{job}/analyse"), Code.CONFLICT)
    with platform.client() as stranger:
        problem(stranger.post(f"{job}/analyse"), Code.NOT_FOUND)


def test_stat_overtakes_routine(idle: Idle, client: httpx.Client, platform: Platform) -> None:
    routine = [idle(i).json()["job_id"] for i in range(6)]
    stat = [idle(i, priority="stat").json()["job_id"] for i in range(6, 8)]
    platform.resume()
    for job in routine:
        finished(client, f"/v1/jobs/{job}")
    rows = platform.sql(
        "select id::text from jobs where id = any(%s::uuid[]) order by finished_at", routine + stat
    )
    assert set(stat) <= {row[0] for row in rows[:3]}  # one routine job may have started earlier


@pytest.mark.parametrize(
    "job_id",
    [
        "0b5c5a1e-6d3e-4b8e-9a57-2f6d1c7e4a90",
        "1",
        "%00",
        "..%2f..%2fetc",
        "a" * 3000,
        "'; drop table jobs --",
    ],
)
@pytest.mark.parametrize("rest", ["", "/events", "/images/{}/image.png"])
def test_an_invalid_id_is_refused(client: httpx.Client, job_id: str, rest: str) -> None:
    answer = client.get(f"/v1/jobs/{job_id}{rest.format(uuid4())}")
    problem(answer, Code.NOT_FOUND, Code.VALIDATION)
