"""Webhooks and callbacks, from an upload to a server of the test's own over TLS."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.factories.certificates import Authority
from tests.factories.collector import Collector
from tests.factories.https import Receiver, receiver
from tests.factories.images import chest_dicom, chest_png
from tests.factories.patience import PATIENCE_S, until
from tests.factories.platform import Platform, finished, post
from tests.integration.gateway.problem import problem
from thorax.errors import Code
from thorax_client import NotFromThoraxError, job_event


@pytest.fixture(scope="module")
def _served(authority: Authority) -> Iterator[Receiver]:
    with receiver(authority.issue("webhook")) as served:
        yield served


@pytest.fixture
def server(_served: Receiver) -> Receiver:
    _served.status, _served.location = 204, ""
    return _served


@pytest.fixture
def tenant(platform: Platform) -> UUID:
    return platform.tenant()


@pytest.fixture
def secret(platform: Platform, tenant: UUID, server: Receiver) -> str:
    """Of a webhook of the tenant at the server."""
    with platform.client(scope="admin") as admin:
        answer = admin.put(f"/v1/admin/tenants/{tenant}/webhooks/ris", json={"url": f"{server.url}/hook"})
        assert answer.status_code == 200, answer.text
        told = str(answer.json()["secret"])
        assert answer.json()["warning"] is None
        assert told not in admin.get(f"/v1/admin/tenants/{tenant}/destinations").text
    return told


def delivery(client: httpx.Client, job: str, state: str) -> dict[str, Any]:
    def tried() -> dict[str, Any] | None:
        items = client.get(f"{job}/deliveries").json()["items"]
        return dict(items[0]) if items and items[0]["state"] == state and items[0]["attempts"] else None

    return until(tried, lambda: client.get(f"{job}/deliveries").text) or {}


def test_a_job_that_ended_is_told_once_signed_and_without_its_result(
    platform: Platform, tenant: UUID, server: Receiver, secret: str
) -> None:
    with platform.client(tenant) as client:
        job = post(client, chest_png(1), data={"title": "Ada"}).headers["location"]
        path, headers, body = server.posted.get(timeout=PATIENCE_S)
        event = job_event(body, headers, secret)
        assert (path, event.type, f"/v1/jobs/{event.data.job_id}") == ("/hook", "job.succeeded", job)
        assert b"Ada" not in body and b"probab" not in body
        done = delivery(client, job, "delivered")
        assert (done["kind"], done["proof"]) == ("webhook", "answered 204")
    with pytest.raises(NotFromThoraxError):
        job_event(body + b" ", headers, secret)
    assert server.posted.empty()
    sealed = platform.sql("select sealed from destinations where tenant_id = %s", tenant)
    assert secret.encode() not in bytes(sealed[0][0]) and secret not in platform.logs()


def test_a_test_is_sent_at_once_and_its_answer_told(
    platform: Platform, tenant: UUID, server: Receiver, secret: str
) -> None:
    path = f"/v1/admin/tenants/{tenant}/webhooks/{{}}/test"
    with platform.client(scope="admin") as admin:
        for status, delivered in ((204, True), (500, False)):
            server.status = status
            told = admin.post(path.format("ris")).json()
            assert told == {"delivered": delivered, "answer": f"The endpoint answers {status}."}
            posted = server.posted.get(timeout=PATIENCE_S)
            assert job_event(posted.body, posted.headers, secret).type == "webhook.test"
        problem(admin.post(path.format("other")), Code.NOT_FOUND)
        platform.sql("update destinations set url = 'gopher://nowhere' where tenant_id = %s", tenant)
        told = admin.post(path.format("ris")).json()
        assert (told["delivered"], "by a fault of its own" in told["answer"]) == (False, True)


def test_one_trace_leads_from_the_upload_to_the_delivery(
    platform: Platform, tenant: UUID, server: Receiver, secret: str, collected: Collector
) -> None:
    trace, clients = uuid4().hex, "00f067aa0ba902b7"
    with platform.client(tenant) as client:
        answer = post(client, chest_png(6), headers={"traceparent": f"00-{trace}-{clients}-01"})
        job = answer.json()["id"]
        delivery(client, f"/v1/jobs/{job}", "delivered")
        server.posted.get(timeout=PATIENCE_S)
    backbones = [f"infer.{spec.name}" for spec in platform.bundle.manifest.backbones]
    steps = ["prepare", *backbones, "aggregate", "deliver.webhook"]
    upload, *others = collected.until(trace, {"POST /v1/jobs", *steps})
    assert (upload.service, upload.name, upload.parent) == ("gateway", "POST /v1/jobs", clients)
    assert upload.attributes["http.response.status_code"] == 202
    assert {span.name for span in others} == {*steps}
    for span in others:
        assert (span.parent, span.attributes["thorax.job"], span.failed) == (upload.id, job, False), span
        assert upload.began < span.began <= span.ended, span
    services = {span.name.partition(".")[0]: span.service for span in others}
    assert (services["prepare"], services["infer"], services["deliver"]) == (
        *("model-worker", "model-worker", "sweeper"),
    )
    assert services["aggregate"] in ("model-worker", "aggregator")  # of one image, or of several
    ends = {span.name: span.ended for span in others}
    assert max(ends[name] for name in backbones) <= ends["aggregate"] <= ends["deliver.webhook"]


def test_a_callback_stands_for_the_webhook_of_its_origin_and_no_other_is_taken(
    platform: Platform, tenant: UUID, server: Receiver, secret: str
) -> None:
    with platform.client(tenant) as client:
        refused = post(client, chest_png(2), data={"callback_url": "https://example.org/x"})
        problem(refused, Code.CALLBACK_NOT_ALLOWED)
        plain = post(client, chest_png(2), data={"callback_url": server.url.replace("https", "http")})
        assert "callback_url" in problem(plain, Code.VALIDATION)["detail"]
        taken = post(client, chest_png(2), data={"callback_url": f"{server.url}/reply?to=4711"})
        assert taken.status_code == 202, taken.text
        posted = server.posted.get(timeout=PATIENCE_S)
        assert posted.path == "/reply?to=4711"
        assert str(job_event(posted.body, posted.headers, secret).data.job_id) == taken.json()["id"]
    with httpx.Client(base_url=platform.base) as anonymous:
        data = {"callback_url": f"{server.url}/x"}
        files = [("files", ("x.png", chest_png(2), "image/png"))]
        refused = anonymous.post("/v1/anonymous/jobs", files=files, data=data)
        problem(refused, Code.CALLBACK_NOT_ALLOWED)


def test_a_callback_of_known_images_is_told_that_they_are_done(
    platform: Platform, tenant: UUID, server: Receiver, secret: str
) -> None:
    image, called = chest_dicom(2), list[tuple[str, str]]()
    with platform.client(tenant) as client:
        job = post(client, image).headers["location"]
        assert finished(client, job)["state"] == "succeeded"
        assert server.posted.get(timeout=PATIENCE_S).path == "/hook"
        for path in ("/late", "/late", "/other"):
            answer = post(client, image, data={"callback_url": f"{server.url}{path}"})
            assert answer.headers["location"] == job
            posted = server.posted.get(timeout=PATIENCE_S)
            assert job_event(posted.body, posted.headers, secret).data.state == "succeeded"
            called.append((posted.path, posted.headers["webhook-id"]))
            until(
                lambda: all(
                    d["state"] == "delivered" for d in client.get(f"{job}/deliveries").json()["items"]
                )
            )
        assert [path for path, _ in called] == ["/late", "/late", "/other"]
        assert called[0] == called[1] and called[1][1] != called[2][1]
        assert server.posted.empty()


def test_a_callback_of_images_that_are_under_way_takes_the_place_of_the_webhook(
    platform: Platform, tenant: UUID, server: Receiver, secret: str
) -> None:
    platform.pause()
    try:
        with platform.client(tenant) as client:
            image = chest_dicom(3)
            job = post(client, image).headers["location"]
            for path in ("/one", "/two"):
                answer = post(client, image, data={"callback_url": f"{server.url}{path}"})
                assert answer.headers["location"] == job
    finally:
        platform.resume()
    posted = sorted(server.posted.get(timeout=PATIENCE_S).path for _ in range(2))
    assert posted == ["/one", "/two"]


def test_a_callback_takes_the_place_of_the_webhook_whose_address_it_begins_with(
    platform: Platform, tenant: UUID, server: Receiver, secret: str
) -> None:
    with platform.client(scope="admin") as admin:
        for name, path in (("all", ""), ("ris-two", "/hook/two")):
            url = f"{server.url}{path}"
            admin.put(f"/v1/admin/tenants/{tenant}/webhooks/{name}", json={"url": url}).raise_for_status()
    with platform.client(tenant) as client:
        post(client, chest_png(2), data={"callback_url": f"{server.url}/hook/4711"}).raise_for_status()
    posted = [server.posted.get(timeout=PATIENCE_S) for _ in range(3)]
    [called] = [one for one in posted if one.path not in ("", "/", "/hook/two")]
    assert called.path == "/hook/4711"
    assert job_event(called.body, called.headers, secret)


@pytest.mark.slow
def test_a_redirect_is_not_followed_and_the_event_keeps_its_id(
    platform: Platform, tenant: UUID, server: Receiver, secret: str
) -> None:
    server.status, server.location = 307, f"{server.url}/elsewhere"
    with platform.client(tenant) as client:
        job = post(client, chest_png(3)).headers["location"]
        first = server.posted.get(timeout=PATIENCE_S)
        waits = delivery(client, job, "waiting")
        assert waits["error_code"] == "destination_unavailable" and "307" in waits["error_detail"]
        server.status, server.location = 204, ""
        platform.sql("update deliveries set not_before = now() where tenant_id = %s", tenant)
        again = server.posted.get(timeout=PATIENCE_S)
        assert first.path == again.path == "/hook"
        assert first.headers["webhook-id"] == again.headers["webhook-id"]
        assert delivery(client, job, "delivered")["attempts"] == 2
        [(id_,)] = platform.sql("select id from deliveries where tenant_id = %s", tenant)
        again_ = problem(client.post(f"/v1/deliveries/{id_}/resend"), Code.CONFLICT)
        assert again_["detail"] == "This delivery is delivered. Only a dead one is sent again."


def test_an_endpoint_that_is_gone_is_listed_and_can_be_replayed(
    platform: Platform, tenant: UUID, server: Receiver, secret: str
) -> None:
    server.status = 410
    with platform.client(tenant) as client, platform.client(scope="admin") as admin:
        job = post(client, chest_png(4)).headers["location"]
        server.posted.get(timeout=PATIENCE_S)
        delivery(client, job, "dead")
        items = admin.get("/v1/admin/deliveries").json()["items"]
        (dead,) = [one for one in items if one["tenant_id"] == str(tenant)]
        assert (dead["kind"], dead["error_code"]) == ("webhook", "destination_refuses")
        with platform.client() as other, platform.client(tenant, scope="studies:read") as reader:
            assert other.get("/v1/deliveries").json()["items"] == []
            assert other.post(f"/v1/deliveries/{dead['id']}/resend").status_code == 404
            assert reader.post(f"/v1/deliveries/{dead['id']}/resend").status_code == 403
        assert client.get("/v1/deliveries").json()["items"] == [dead]
        assert client.post(f"/v1/deliveries/{dead['id']}/resend").status_code == 202
        server.posted.get(timeout=PATIENCE_S)
        delivery(client, job, "dead")
        server.status = 200
        assert admin.post(f"/v1/admin/deliveries/{dead['id']}/resend").status_code == 202
        posted = server.posted.get(timeout=PATIENCE_S)
        assert job_event(posted.body, posted.headers, secret).data.state == finished(client, job)["state"]
        delivery(client, job, "delivered")
        again = problem(admin.post(f"/v1/admin/deliveries/{dead['id']}/resend"), Code.CONFLICT)
        assert again["detail"] == "This delivery is delivered. Only a dead one is sent again."
        problem(admin.post(f"/v1/admin/deliveries/{uuid4()}/resend"), Code.NOT_FOUND)


def test_what_a_pacs_did_not_take_is_listed_and_not_for_its_tenant_to_resend(
    platform: Platform, tenant: UUID, server: Receiver, secret: str
) -> None:
    server.status = 410
    with platform.client(tenant) as client:
        job = post(client, chest_png(6)).headers["location"]
        delivery(client, job, "dead")
        platform.sql("update destinations set kind = 'dicomweb' where tenant_id = %s", tenant)
        [dead] = client.get("/v1/deliveries").json()["items"]
        problem(client.post(f"/v1/deliveries/{dead['id']}/resend"), Code.NOT_FOUND)


def test_an_untrusted_certificate_is_no_endpoint(
    platform: Platform, tenant: UUID, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Authority(tmp_path_factory.mktemp("other"), "other")
    with (
        receiver(other.issue("stranger")) as stranger,
        platform.client(tenant) as client,
        platform.client(scope="admin") as admin,
    ):
        admin.put(f"/v1/admin/tenants/{tenant}/webhooks/ris", json={"url": stranger.url}).raise_for_status()
        job = post(client, chest_png(5)).headers["location"]
        assert delivery(client, job, "waiting")["error_code"] == "destination_unavailable"
        assert stranger.posted.empty()


@pytest.mark.parametrize("host", ["10.1.2.3", "[fd00::1]", "0xa.1", "[::ffff:10.0.0.1]"])
def test_a_private_address_is_refused_before_it_is_stored(
    platform: Platform, tenant: UUID, host: str
) -> None:
    place = f"/v1/admin/tenants/{tenant}"
    with platform.client(scope="admin") as admin:
        told = problem(
            admin.put(f"{place}/webhooks/x", json={"url": f"https://{host}/"}), Code.ADDRESS_NOT_ALLOWED
        )
        assert "public address" in told["detail"] and "operator" in told["remedy"]
        assert admin.get(f"{place}/destinations").json()["items"] == []


def test_a_name_that_only_the_sweeper_may_know_is_taken_with_a_warning(
    platform: Platform, tenant: UUID
) -> None:
    with platform.client(scope="admin") as admin:
        place = f"/v1/admin/tenants/{tenant}/webhooks/x"
        told = admin.put(place, json={"url": "https://ris.invalid/"})
        assert told.status_code == 200 and told.json()["warning"].startswith("ris.invalid has no address")


def test_a_tenant_that_does_not_exist_gets_no_webhook(platform: Platform, server: Receiver) -> None:
    with platform.client(scope="admin") as admin:
        place = f"/v1/admin/tenants/{uuid4()}"
        problem(admin.put(f"{place}/webhooks/x", json={"url": server.url}), Code.NOT_FOUND)
        problem(admin.put(f"{place}/destinations/x", json={"url": server.url}), Code.NOT_FOUND)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "https://a:b@example.org/",
        "https://example.org/#x",
        "https://a..b/",
        "ftp://x/",
    ],
)
def test_a_webhook_is_an_https_address_without_credentials(
    platform: Platform, tenant: UUID, url: str
) -> None:
    with platform.client(scope="admin") as admin:
        problem(admin.put(f"/v1/admin/tenants/{tenant}/webhooks/x", json={"url": url}), Code.VALIDATION)
