"""What a client sees of data that are held, or gone by their age."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.factories.images import chest_dicom, chest_png
from tests.factories.platform import Platform, finished, post
from tests.integration.gateway.problem import problem
from thorax.errors import Code
from thorax.states import ALL_TENANTS

NONE = {"originals": None, "inputs": None, "maps": None, "results": None}


@pytest.fixture
def analysed(client: httpx.Client) -> Iterator[tuple[str, dict[str, Any]]]:
    """A job's path and its view."""
    job = post(client, chest_png(11)).headers["location"]
    yield job, finished(client, job)


def test_a_held_study_cannot_be_erased(
    platform: Platform, client: httpx.Client, analysed: tuple[str, dict[str, Any]]
) -> None:
    job, view = analysed
    platform.sql("update studies set held_since = now() where id = %s", view["study"]["id"])
    refused = problem(client.delete(job), Code.CONFLICT)
    assert "legal hold" in refused["detail"]
    assert client.get(job).json()["state"] == "succeeded"
    platform.sql("update studies set held_since = null where id = %s", view["study"]["id"])
    client.delete(job).raise_for_status()
    assert client.get(job).status_code == 404


def test_maps_that_are_gone_are_not_waited_for(
    platform: Platform, client: httpx.Client, analysed: tuple[str, dict[str, Any]]
) -> None:
    job, view = analysed
    image = view["images"][0]["id"]
    platform.sql("delete from heatmaps where instance_id = %s", image)
    platform.sql("update predictions set maps = '' where instance_id = %s", image)
    platform.sql("update instances set expired = '{maps}' where id = %s", image)
    for file in ("heatmaps.npz", "overlay/edema.png", "heatmaps/edema.png"):
        problem(client.get(f"{job}/images/{image}/{file}"), Code.NOT_FOUND)
    assert client.get(f"{job}/images/{image}/image.png").status_code == 200
    assert client.get(job).json()["images"][0]["findings"] == view["images"][0]["findings"]


def test_an_administrator_sets_how_long_a_tenants_data_are_kept(platform: Platform) -> None:
    tenant = platform.tenant()
    place = f"/v1/admin/retention/{tenant}"
    with platform.client(scope="admin") as admin, platform.client(tenant) as member:
        own = lambda: [one for one in admin.get("/v1/admin/retention").json()["items"] if one["tenant_id"] == str(tenant)]  # noqa: E731  # fmt: skip
        assert admin.put(place, json={**NONE, "maps": 30}).json() == {
            **NONE,
            "maps": 30,
            "tenant_id": str(tenant),
        }
        admin.put(place, json={**NONE, "inputs": 7, "results": 3650}).raise_for_status()
        assert own() == [{**NONE, "inputs": 7, "results": 3650, "tenant_id": str(tenant)}]
        for days in (0, -1, 10**9, "x", "7", True, 7.5):
            problem(admin.put(place, json={**NONE, "maps": days}), Code.VALIDATION)
        for incomplete in ({}, {"maps": 30}, {**NONE, "original": 30}):
            problem(admin.put(place, json=incomplete), Code.VALIDATION)
        assert own() == [{**NONE, "inputs": 7, "results": 3650, "tenant_id": str(tenant)}]
        problem(admin.put(f"/v1/admin/retention/{uuid4()}", json={**NONE, "maps": 1}), Code.NOT_FOUND)
        for refused in (
            member.get("/v1/admin/retention"),
            member.put(place, json=NONE),
            member.delete(place),
        ):
            problem(refused, Code.FORBIDDEN)
        assert admin.delete(place).status_code == 204
        assert own() == []
        audit = admin.get("/v1/admin/audit", params={"tenant_id": str(tenant)}).json()["items"]
    changes = [row for row in audit if row["action"] == "retention_changed"]
    assert [row["detail"].get("maps_days") for row in changes] == [None, None, 30]
    assert {row["actor"] for row in changes} != {"thorax_gateway"} and len(
        {row["actor"] for row in changes}
    ) == 1


def test_days_of_all_tenants_are_set_by_zeros(platform: Platform) -> None:
    place = f"/v1/admin/retention/{ALL_TENANTS}"
    with platform.client(scope="admin") as admin:
        admin.put(place, json={**NONE, "originals": 36_500}).raise_for_status()
        (first, *_) = admin.get("/v1/admin/retention").json()["items"]
        assert (first["tenant_id"], first["originals"]) == (str(ALL_TENANTS), 36_500)
        admin.delete(place).raise_for_status()


def test_an_administrator_holds_a_study_and_releases_it(
    platform: Platform, client: httpx.Client, analysed: tuple[str, dict[str, Any]]
) -> None:
    job, view = analysed
    study = view["study"]["id"]
    ((tenant,),) = platform.sql("select tenant_id from studies where id = %s", study)
    holds = f"/v1/admin/retention/{tenant}/holds"
    with platform.client(scope="admin") as admin:
        (held,) = admin.put(f"{holds}/{study}").raise_for_status().json()["items"]
        assert held["study_id"] == study and admin.get(holds).json()["items"] == [held]
        assert admin.put(f"{holds}/{study.upper()}").json()["items"] == [held]
        problem(client.delete(job), Code.CONFLICT)
        problem(client.put(f"{holds}/{study}"), Code.FORBIDDEN)
        problem(admin.put(f"/v1/admin/retention/{uuid4()}/holds/{study}"), Code.NOT_FOUND)
        (released,) = admin.delete(f"{holds}/{study}").raise_for_status().json()["items"]
        assert released["since"] is None and admin.get(holds).json()["items"] == []
    actions = platform.sql("select action from audit where subject = %s and action like '%%hold%%' or subject = %s and action = 'held'", study, study)  # fmt: skip
    assert {action for (action,) in actions} == {"held", "hold_released"}


def test_what_comes_under_the_uid_of_a_held_study_is_held(platform: Platform) -> None:
    tenant, uid = platform.tenant(), "1.2.826.0.1.3680043.8.498.77"
    holds = f"/v1/admin/retention/{tenant}/holds"
    with platform.client(scope="admin") as admin, platform.client(tenant) as member:
        send = lambda seed: post(member, chest_dicom(seed, StudyInstanceUID=uid)).headers["location"]  # noqa: E731
        first = send(1)
        assert len(admin.put(f"{holds}/{uid}").raise_for_status().json()["items"]) == 1
        later = send(2)
        assert len(admin.get(holds).json()["items"]) == 2
        for job in (first, later):
            finished(member, job)
            problem(member.delete(job, params={"only": "erase"}), Code.CONFLICT)
        assert len(admin.delete(f"{holds}/{uid}").json()["items"]) == 2
        assert member.delete(later).status_code == 204
