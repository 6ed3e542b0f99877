"""The audit of a running platform: who sent and looked, in a chain, seen by administrators alone."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.factories.images import chest_dicom, chest_png
from tests.factories.patience import until
from tests.factories.platform import Platform, finished, post


def trail(platform: Platform, tenant: str) -> list[dict[str, Any]]:
    """A tenant's rows, the first first."""
    with platform.client(scope="admin") as admin:
        page = (
            admin.get("/v1/admin/audit", params={"tenant_id": tenant, "limit": 200}).raise_for_status().json()
        )
    assert page["next"] is None
    return list(reversed(page["items"]))


@pytest.mark.slow
def test_sending_looking_and_erasing_are_seen(platform: Platform) -> None:
    tenant = uuid4()
    with platform.client(tenant) as client:
        job = post(client, chest_dicom(5), name="DOE^JANE.dcm").headers["location"]
        view = finished(client, job)
        image = view["images"][0]["id"]
        client.get(f"{job}/fhir").raise_for_status()
        client.get(f"{job}/images/{image}/image.png").raise_for_status()
        client.get(f"{job}/images/{image}/image.png?size=64").raise_for_status()  # the same within a minute
        client.get(f"{job}/images/{image}/overlay/edema.png").raise_for_status()
        client.get(f"{job}/images/{image}/original").raise_for_status()
        study, of = view["study"]["study_instance_uid"], view["images"][0]
        series = f"/dicomweb/studies/{study}/series/{of['series_instance_uid']}"
        client.get(
            f"{series}/instances/{of['sop_instance_uid']}", headers={"Accept": "*/*"}
        ).raise_for_status()
        client.delete(job).raise_for_status()
    job_id = job.rpartition("/")[2]
    until(lambda: [row["place"] is None for row in trail(platform, str(tenant))][9:] == [False])
    rows = trail(platform, str(tenant))
    assert [(row["action"], row["subject"]) for row in rows] == [
        ("sent", job_id),
        ("answered", job_id),
        *[("looked", job_id)] * 2,
        *[("looked", image)] * 4,
        ("erased", job_id),
        ("files_erased", image),
    ]
    assert [row["actor"] for row in rows[:1] + rows[2:9]] == [str(tenant)] * 8  # the token's subject
    assert [row["detail"]["result"] for row in rows[2:4]] == ["json", "fhir"]
    looks = [row["detail"]["pixels"] for row in rows[4:8]]
    assert looks == ["image", "overlay/edema", "original", "dicomweb"]
    assert rows[1]["detail"]["bundle"] == platform.bundle.digest
    assert set(rows[1]["detail"]["findings"]) >= {"edema"}
    assert [row["place"] for row in rows] == list(range(1, 11))
    assert "DOE" not in str(rows)


def test_only_administrators_see_it(platform: Platform, client: httpx.Client) -> None:
    assert client.get("/v1/admin/audit").status_code == 403
    assert httpx.get(f"{platform.base}/v1/admin/audit").status_code == 401


def test_it_comes_in_pages(platform: Platform) -> None:
    with platform.client(scope="admin") as admin:
        tenant = uuid4()
        with platform.client(tenant) as client:
            jobs = [post(client, chest_png(seed, 64)) for seed in range(3)]
            for job in jobs:
                finished(client, job.headers["location"])
        first = admin.get("/v1/admin/audit", params={"tenant_id": str(tenant), "limit": 4}).json()
        rest = admin.get("/v1/admin/audit", params={"tenant_id": str(tenant), "before": first["next"]}).json()
    ids = [row["id"] for row in first["items"] + rest["items"]]
    assert ids == sorted(ids, reverse=True)
    assert (len(ids), rest["next"]) == (9, None)  # sent, answered, looked
