"""A patient's name, planted everywhere a client can put one, appears in no log, metric, message or URL."""

import json
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any
from uuid import uuid4

import httpx
import pytest
import redis
from pydicom import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, build_context, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from tests.factories.certificates import Authority
from tests.factories.collector import Collector
from tests.factories.https import receiver
from tests.factories.images import chest_dicom, chest_png
from tests.factories.patience import PATIENCE_S, until
from tests.factories.platform import Platform, destine, finished, post
from tests.integration.gateway.scp import Scp, data_set, instance, uid
from tests.integration.gateway.test_deliveries import delivery

NAME = "Zyzzyva"  # a weevil, and nobody's name


@pytest.fixture
def overheard(platform: Platform) -> Iterator[list[str]]:
    """Every command that reaches Redis while the test runs."""
    heard: list[str] = []
    stop = threading.Event()

    def listen() -> None:
        with (
            redis.Redis.from_url(
                platform.redis_url, socket_timeout=None, socket_connect_timeout=PATIENCE_S
            ) as client,
            client.monitor() as monitor,
        ):
            started.set()
            while not stop.is_set():
                heard.append(repr(monitor.next_command()))

    started = threading.Event()
    thread = threading.Thread(target=listen)
    thread.start()
    assert started.wait(PATIENCE_S)
    yield heard
    stop.set()
    with redis.Redis.from_url(platform.redis_url) as client:
        client.ping()  # the listener wakes up
    thread.join()


def planted(client: httpx.Client, image: bytes) -> httpx.Response:
    headers = {"User-Agent": NAME, "X-Request-Id": NAME, "Referer": f"http://x/{NAME}"}
    return post(client, image, name=f"{NAME}^Ada.dcm", data={"title": f"{NAME}, Ada"}, headers=headers)


def stowed(client: httpx.Client, *parts: bytes) -> None:
    """Store by STOW-RS, at a study and in a part whose headers carry the name."""
    head = f'Content-Type: application/dicom\r\nContent-Location: "{NAME}"\r\n\r\n'.encode()
    content = b"".join(b"--x\r\n" + head + part + b"\r\n" for part in parts) + b"--x--\r\n"
    related = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x', "User-Agent": NAME}
    for path in ("/dicomweb/studies", f"/dicomweb/studies/{NAME}"):
        answer = client.post(path, content=content, headers=related)
        assert answer.status_code < 500, answer.text


def test_a_planted_name_is_nowhere_but_in_the_answers(
    platform: Platform, client: httpx.Client, overheard: list[str], collected: Collector
) -> None:
    names = {
        "PatientName": f"{NAME}^Ada",
        "PatientID": NAME,
        "InstitutionName": NAME,
        "StudyDescription": NAME,
    }
    good = planted(client, chest_dicom(1, **names))
    truncated = planted(client, chest_dicom(1, **names)[:3000])
    strange = planted(
        client,
        chest_dicom(1, Modality=NAME, PatientName=NAME, BodyPartExamined=NAME, PixelRepresentation=None),
    )
    text = planted(client, f"{NAME} is not an image".encode())
    assert (good.status_code, text.status_code) == (202, 415)
    views = []
    for answer in (good, truncated, strange):
        if answer.status_code == 202:
            views.append(finished(client, answer.headers["location"]))
            client.get(answer.headers["location"], params={"x": NAME})
    assert views[0]["state"] == "succeeded"
    assert {view["state"] for view in views[1:]} <= {"failed", "succeeded"}
    assert "failed" in {view["state"] for view in views}
    stowed(client, chest_dicom(2, 64, **names), b"DICM" + NAME.encode())
    for path in ("studies", "series", "instances"):
        for query in ({"PatientName": f"{NAME}^Ada"}, {"00100020": NAME}, {"AccessionNumber": NAME}):
            client.get(f"/dicomweb/{path}", params=query)
    for query in ({"title": NAME}, {"finding": NAME}, {"state": NAME}, {"cursor": NAME}):
        client.get("/v1/jobs", params=query)
    client.get(f"/v1/jobs/{NAME}")
    client.get(f"/{NAME}")
    for view in views:
        links = [
            *view["links"].values(),
            *(link for image in view["images"] for link in image["links"].values()),
        ]
        assert not any(NAME in link for link in links)
        assert client.get("/v1/jobs", params={"title": NAME}).json()["items"], "it can be found by its owner"
    token = client.headers["Authorization"].removeprefix("Bearer ")
    for secret in (NAME, token, token.rpartition(".")[2]):
        assert secret not in platform.logs()
        assert not any(secret in command for command in overheard)
        assert not any(secret.encode() in body for body in collected.received)
    assert not [name for name in platform.processes if NAME in platform.scrape(name)]
    assert len(overheard) > 5
    assert collected.received


def test_a_name_that_c_store_brings_is_in_no_log(scp: Scp) -> None:
    names = {
        "PatientName": f"{NAME}^Ada",
        "PatientID": NAME,
        "AccessionNumber": NAME,
        "StudyDescription": NAME,
    }
    good, broken = (data_set(instance(uid(), n, **names)) for n in (1, 2))
    del broken.PixelData
    association = scp.associate()
    statuses = [association.send_c_store(each).Status for each in (good, broken)]
    association.release()
    assert statuses[0] == 0
    states = {job["state"] for job in scp.jobs(statuses.count(0))}
    assert "succeeded" in states
    assert any(statuses) or "failed" in states, "one of them is not an image"
    assert NAME not in scp.platform.logs()
    assert NAME not in httpx.get(f"http://127.0.0.1:{scp.metrics}/metrics").text


def nowhere(platform: Platform, collected: Collector) -> None:
    """The name is in no log, no metric and no span."""
    assert NAME not in platform.logs()
    assert not [name for name in platform.processes if NAME in platform.scrape(name)]
    assert not any(NAME.encode() in body for body in collected.received)


def talkative(event: evt.Event) -> Dataset:
    """A refusal that repeats whose image it is."""
    answer = Dataset()
    answer.Status, answer.ErrorComment, answer.OffendingElement = 0xA900, f"{NAME}^Ada is another", 0x00100010
    return answer


def matched(event: evt.Event) -> Iterator[tuple[int | Dataset, Dataset | None]]:
    """A match with more than was asked for, and then a refusal."""
    match = Dataset()
    match.SOPInstanceUID, match.PatientName, match.PatientID = event.identifier.SOPInstanceUID, NAME, NAME
    yield 0xFF00, match
    yield talkative(event), None


@pytest.mark.parametrize("takes", [False, True])
def test_a_name_that_a_peer_s_answer_over_dimse_repeats_is_in_no_log(
    platform: Platform, collected: Collector, takes: bool
) -> None:
    pacs, tenant, heard = AE("PACS"), uuid4(), SimpleQueue[str]()
    pacs.supported_contexts = [
        *AllStoragePresentationContexts,
        build_context(StudyRootQueryRetrieveInformationModelFind),
    ]

    def store(event: evt.Event) -> Dataset | int:
        heard.put(str(event.dataset.PatientName))
        return 0 if takes else talkative(event)

    handlers = [(evt.EVT_C_STORE, store), (evt.EVT_C_FIND, matched)]
    server = pacs.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        destine(platform, tenant, f"dicom://127.0.0.1:{server.server_address[1]}/PACS")
        with platform.client(tenant) as client:
            image = chest_dicom(7, PatientName=f"{NAME}^Ada", PatientID=NAME)
            told = delivery(client, planted(client, image).headers["location"], "dead", "delivered")
    finally:
        server.shutdown()
    assert (told["state"], told["error_code"]) == (
        ("delivered", None) if takes else ("dead", "destination_refuses")
    ), told
    assert heard.get() == f"{NAME}^Ada", "the peer was told whose result it is"
    assert NAME not in json.dumps(told)
    until(lambda: takes or "not_delivered" in platform.log("sweeper").read_text())
    nowhere(platform, collected)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (f"HTTP/1.1 410 {NAME}\r\nX-Patient: {NAME}\r\nContent-Length: 7\r\n\r\n{NAME}", "dead"),
        (f"HTTP/1.1 200 OK\r\n{NAME} Ada\r\n\r\n", "waiting"),
        (f"{NAME}^Ada\r\n\r\n", "waiting"),
    ],
)
def test_a_name_that_a_server_s_answer_repeats_is_in_no_log(
    platform: Platform, collected: Collector, authority: Authority, answer: str, state: str
) -> None:
    tenant = platform.tenant()
    with receiver(authority.issue("echo")) as peer:
        peer.bytes = answer.encode()
        destine(platform, tenant, f"{peer.url}/dicom-web")
        with platform.client(scope="admin") as admin:
            hook = f"/v1/admin/tenants/{tenant}/webhooks/ris"
            assert admin.put(hook, json={"url": f"{peer.url}/hook"}).status_code == 200
            assert NAME not in admin.post(f"{hook}/test").text
        with platform.client(tenant) as client:
            image = chest_dicom(8, PatientName=f"{NAME}^Ada", PatientID=NAME)
            job = planted(client, image).headers["location"]
            finished(client, job)

            def tried() -> list[tuple[str, str]]:
                items = client.get(f"{job}/deliveries").json()["items"]
                return sorted((item["kind"], item["state"]) for item in items if item["error_code"])

            until(lambda: tried() == [("dicomweb", state), ("webhook", state)], tried)
            assert NAME not in client.get(f"{job}/deliveries").text
        bodies = [peer.posted.get(timeout=PATIENCE_S).body for _ in range(3)]
        assert any(NAME.encode() in body for body in bodies), "the peer was told whose result it is"
    nowhere(platform, collected)


def test_a_job_is_followed_by_its_lines(platform: Platform, client: httpx.Client) -> None:
    named = "7f0d0f3e-5a0e-4d0e-9d67-3b0c7f2b6a11"
    receipt = post(client, chest_png(3), chest_png(4), headers={"X-Request-Id": named})
    view = finished(client, receipt.headers["location"])

    def lines() -> list[dict[str, Any]]:
        text = [line for file in platform.folder.glob("*.log") for line in file.open()]
        # A process that can't start says why in one plain line, as the tests of the port do; the last line may be half written.
        whole = [json.loads(line) for line in text if not line.startswith("THORAX_") and line.endswith("\n")]
        return [line for line in whole if view["id"] in (line.get("job"), *line.get("jobs", ()))]

    def ended() -> bool:
        """Lines are written after the commit, that of a job before that of its last step."""
        told = lines()
        kinds = {line["kind"] for line in told if line["event"] == "steps_done"}
        return {"prepare", "aggregate"} <= kinds and "job_accepted" in {line["event"] for line in told}

    until(ended, lines)
    told = lines()
    (accepted,) = [line for line in told if line["event"] == "job_accepted"]
    assert accepted["request"] == f"urn:uuid:{named}"
    assert {line["event"] for line in told} == {"job_accepted", "steps_done", "job_ended"}
    (end,) = [line for line in told if line["event"] == "job_ended"]
    assert end["state"] == "succeeded"
    assert end["tenant"] == accepted["tenant"]
    assert 0 < end["seconds"] <= view["timings"]["total_s"] + 0.1


def test_an_internal_error_does_not_log_a_name(
    idle: Callable[..., httpx.Response], client: httpx.Client, platform: Platform
) -> None:
    receipt = post(client, chest_dicom(1, PatientName=NAME), name=f"{NAME}.dcm", data={"title": NAME}).json()
    blob = platform.folder / "blobs" / "instances" / receipt["instance_ids"][0] / "original"
    blob.unlink()  # the worker cannot read it now
    logged = platform.log("worker-0").stat().st_size
    platform.resume()
    until(lambda: "step_failed" in platform.log("worker-0").read_text()[logged:])
    assert NAME not in platform.logs()
    client.delete(receipt["links"]["self"])


def test_errors_of_the_database_carry_no_values(platform: Platform) -> None:
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    from thorax.database import engine

    with engine(platform.owner_url).connect() as connection, pytest.raises(DBAPIError) as caught:
        connection.execute(text("select cast(:name as text), 1 / 0"), {"name": NAME})
    assert NAME not in str(caught.value)


def test_problem_documents_do_not_repeat_what_was_sent(client: httpx.Client) -> None:
    answers: list[Any] = [
        planted(client, b"no image"),
        client.get("/v1/jobs", params={"limit": NAME}),
        client.get("/v1/jobs", params={"state": NAME}),
        client.get("/v1/jobs", params={"cursor": NAME}),
        client.get(f"/v1/jobs/{NAME}"),
        post(client, chest_png(1, 64), data={"priority": NAME}),
        post(client, chest_png(1, 64), data={NAME: "x"}),
    ]
    for answer in answers:
        assert answer.status_code >= 400
        assert NAME not in answer.text, answer.text
