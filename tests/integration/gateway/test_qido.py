"""QIDO-RS as viewers and `dicomweb-client` use it."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.factories.platform import Platform
from tests.integration.gateway.problem import problem
from tests.integration.gateway.test_wado import new, send, uid, viewer
from thorax.errors import Code

STUDY, SERIES, SOP = "0020000D", "0020000E", "00080018"
FIRST, SECOND = f"{uid()}", f"{uid()}"


@pytest.fixture(scope="module")
def reader(platform: Platform) -> Iterator[httpx.Client]:
    """A client of a tenant with two studies: of two series, and of one."""
    first = {"StudyDate": "20260301", "AccessionNumber": "A_1"}
    second = {"StudyDate": "20260401", "AccessionNumber": "AX1"}
    with platform.client() as client:
        send(client, *(new(seed, FIRST, **first) for seed in (1, 2)))
        send(
            client,
            new(3, FIRST, SeriesInstanceUID=f"{FIRST}.2", Modality="DX", **first),
            new(4, SECOND, **second),
        )
        for study, elements in ((FIRST, first), (SECOND, second)):  # as a worker does, later
            platform.sql(
                "update studies set study_date = %s::date, accession = %s where study_instance_uid = %s",
                *elements.values(),
                study,
            )
        yield client


def found(client: httpx.Client, path: str = "/studies", tag: str = STUDY, **query: Any) -> list[str]:
    answer = client.get(f"/dicomweb{path}", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/dicom+json"
    return [item[tag]["Value"][0] for item in answer.json()]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [SECOND, FIRST]),
        ({"limit": 1}, [SECOND]),
        ({"limit": 1, "offset": 1}, [FIRST]),
        ({"offset": 2}, []),
        ({"StudyDate": "20260301"}, [FIRST]),
        ({"00080020": "20260302-"}, [SECOND]),
        ({"StudyDate": "-20260315"}, [FIRST]),
        ({"AccessionNumber": "A_1"}, [FIRST]),
        ({"AccessionNumber": "A?1"}, [SECOND, FIRST]),
        ({"AccessionNumber": "*X*"}, [SECOND]),
        ({"AccessionNumber": "*X1"}, [SECOND]),
        ({"AccessionNumber": "*AX1*"}, [SECOND]),
        ({"AccessionNumber": "*A?1*"}, [SECOND, FIRST]),
        ({"AccessionNumber": "?*A_1*"}, []),
        ({"AccessionNumber": "*A_1*", "StudyDate": "20260301"}, [FIRST]),
        ({"AccessionNumber": "*A_1*", "StudyDate": "20260401"}, []),
        ({"AccessionNumber": "*AXX1*"}, []),
        ({"AccessionNumber": "?_1"}, [FIRST]),
        ({"AccessionNumber": "A*1 "}, [SECOND, FIRST]),
        ({"AccessionNumber": "*1A"}, []),
        ({"AccessionNumber": "%"}, []),
        ({"AccessionNumber": "A*"}, [SECOND, FIRST]),
        ({"AccessionNumber": "A_*"}, [FIRST]),
        ({"AccessionNumber": "B*"}, []),
        ({"ModalitiesInStudy": "MR"}, []),
        ({"StudyInstanceUID": f"{FIRST},1.2.3"}, [FIRST]),
        ({"ModalitiesInStudy": "DX"}, [FIRST]),
        ({"StudyDate": "", "fuzzymatching": "false", "includefield": "00081030,00080060"}, [SECOND, FIRST]),
    ],
)
def test_studies_are_matched(reader: httpx.Client, query: dict[str, Any], expected: list[str]) -> None:
    assert found(reader, **query) == expected


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"PatientName": "A*"}, Code.UNKNOWN_PARAMETER),
        ({"00100020": "7"}, Code.UNKNOWN_PARAMETER),
        ({"StudyDescription": "x"}, Code.UNKNOWN_PARAMETER),
        ({"fuzzymatching": "true"}, Code.VALIDATION),
        ({"StudyDate": "yesterday"}, Code.VALIDATION),
        ({"limit": "-1"}, Code.VALIDATION),
        ({"offset": "10001"}, Code.VALIDATION),
        ({"AccessionNumber": "a\0"}, Code.VALIDATION),
        ({"includefield": "Study Date"}, Code.VALIDATION),
        ({"StudyDate": ["20260301", "20260401"]}, Code.VALIDATION),
        ({"StudyDate": "20260301", "00080020": "20260401"}, Code.VALIDATION),
        ({"limit": ["1", "2"]}, Code.VALIDATION),
    ],
)
def test_what_is_not_matched_is_refused(reader: httpx.Client, query: dict[str, Any], code: Code) -> None:
    problem(reader.get("/dicomweb/studies", params=query), code)


def test_a_study_says_what_it_has_and_nothing_of_its_patient(reader: httpx.Client) -> None:
    [study] = reader.get("/dicomweb/studies", params={"StudyInstanceUID": FIRST}).json()
    own = [tag for tag in ("SR", "OT", "PR") if tag in study["00080061"]["Value"]]  # once it was analysed
    assert study["00080061"]["Value"] == sorted(["CR", "DX", *own])
    assert study["00201206"]["Value"] == [2 + len(own)]
    assert study["00100010"] == {"vr": "PN"}
    assert study["00100020"] == {"vr": "LO"}


def test_series_and_instances_of_a_study_are_listed(reader: httpx.Client) -> None:
    path = f"/studies/{FIRST}"
    came = [uid for uid in found(reader, f"{path}/series", SERIES) if uid.startswith(FIRST)]
    assert came == [f"{FIRST}.1", f"{FIRST}.2"]
    assert found(reader, f"{path}/series", SERIES, Modality="DX") == [f"{FIRST}.2"]
    all_ = [
        *found(reader, f"{path}/instances", SOP, Modality="CR"),
        *found(reader, f"{path}/instances", SOP, Modality="DX"),
    ]
    assert len(all_) == 3
    assert len(found(reader, f"{path}/series/{FIRST}.1/instances", SOP)) == 2
    assert found(reader, f"{path}/instances", SOP, SOPInstanceUID=all_[1]) == [all_[1]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [f"{SECOND}.1", f"{FIRST}.1", f"{FIRST}.2"]),
        ({"limit": 1, "offset": 1}, [f"{FIRST}.1"]),
        ({"Modality": "DX"}, [f"{FIRST}.2"]),
        ({"Modality": "CR", "StudyDate": "20260301"}, [f"{FIRST}.1"]),
        ({"SeriesInstanceUID": f"{FIRST}.2,1.2.3"}, [f"{FIRST}.2"]),
        ({"SeriesInstanceUID": "1.2.3"}, []),
        ({"ModalitiesInStudy": "DX", "Modality": "CR"}, [f"{FIRST}.1"]),
        ({"StudyInstanceUID": SECOND}, [f"{SECOND}.1"]),
    ],
)
def test_series_of_all_studies_are_matched(
    reader: httpx.Client, query: dict[str, Any], expected: list[str]
) -> None:
    came = [uid for uid in found(reader, "/series", SERIES, **query) if uid.startswith((FIRST, SECOND))]
    assert came == expected


def test_instances_of_all_studies_are_matched(reader: httpx.Client) -> None:
    assert len(found(reader, "/instances", SOP, Modality="CR")) == 3
    [one] = found(reader, "/instances", SOP, SeriesInstanceUID=f"{SECOND}.1")
    assert found(reader, "/instances", SOP, SOPInstanceUID=one) == [one]
    assert found(reader, "/instances", STUDY, SOPInstanceUID=one, StudyDate="20260301") == []
    assert found(reader, "/instances", SOP, SOPClassUID="1.2.3") == []


def test_an_answer_has_the_levels_above_where_the_path_does_not_say_them(reader: httpx.Client) -> None:
    study, of_series, rows = "00080020", "00201209", "00280010"
    path = f"/dicomweb/studies/{FIRST}"
    whole = {"Modality": "CR", "StudyDate": "20260301"}
    [series] = reader.get("/dicomweb/series", params=whole).json()
    assert (series[study]["Value"], series[of_series]["Value"]) == (["20260301"], [2])
    assert series["00081190"]["Value"][0].endswith(f"/series/{FIRST}.1")
    instance = reader.get("/dicomweb/instances", params=whole).json()[0]
    assert instance.keys() >= {study, of_series, "00080018"}
    assert reader.get(f"{path}/instances").json()[0].keys() & {study, of_series} == {of_series}
    assert not reader.get(f"{path}/series/{FIRST}.1/instances").json()[0].keys() & {study, of_series}
    assert rows not in series


@pytest.mark.parametrize(
    ("fields", "more"),
    [
        ("StudyDate", {"00080020"}),
        ("00080020,ModalitiesInStudy", {"00080020", "00080061"}),
        (["StudyDate", "0020000e"], {"00080020"}),
        ("Rows,PatientFoo,PatientComments,RequestAttributesSequence.StudyInstanceUID", set()),
        ("all", {"00080020", "00080061", "00100010", "00201206", "00201208"}),
    ],
)
def test_includefield_adds_what_is_known_of_the_levels_above(
    reader: httpx.Client, fields: str | list[str], more: set[str]
) -> None:
    path, one = f"/dicomweb/studies/{FIRST}/series", {"Modality": "DX"}
    [usual] = reader.get(path, params=one).json()
    [asked] = reader.get(path, params={**one, "includefield": fields}).json()
    assert asked.keys() - usual.keys() >= more
    assert fields == "all" or asked.keys() - usual.keys() == more
    assert asked | usual == asked


def test_a_study_that_came_twice_is_listed_once(reader: httpx.Client, platform: Platform) -> None:
    platform.sql(
        "insert into studies (id, tenant_id, study_instance_uid) select gen_random_uuid(), tenant_id, study_instance_uid"
        " from studies where study_instance_uid = %s",
        FIRST,
    )
    assert found(reader) == [SECOND, FIRST]


def test_a_study_stays_listed_once_while_any_of_its_rows_has_an_image(platform: Platform) -> None:
    study = uid()
    with platform.client() as client:
        send(client, new(11, study))
        [(first, tenant)] = platform.sql(
            "select id, tenant_id from studies where study_instance_uid = %s", study
        )
        late, again, empty = uuid4(), uuid4(), uuid4()
        for row, called in ((late, None), (again, study), (empty, study)):
            platform.sql("insert into studies values (%s, %s, '', %s)", row, tenant, called)
        for row in (late, again):
            platform.sql(
                "insert into instances (id, study_id, tenant_id, position, file_name, media_type, size_bytes, sha256, sop_instance_uid,"
                " transfer_syntax) select gen_random_uuid(), %s, %s, 0, '', 'application/dicom', 1, '', %s, '1.2'",
                row,
                tenant,
                uid(),
            )
        platform.sql("update studies set study_instance_uid = %s where id = %s", study, late)  # by a worker
        for row in (first, late, again):
            assert found(client) == [study]
            platform.sql("delete from studies where id = %s", row)
        assert found(client) == []


def test_dicomweb_client_searches(reader: httpx.Client, platform: Platform) -> None:
    dicomweb = viewer(platform, reader)
    assert len(dicomweb.search_for_studies(search_filters={"StudyDate": "20260301"})) == 1
    assert len(dicomweb.search_for_series(FIRST)) >= 2
    assert len(dicomweb.search_for_instances(FIRST, f"{FIRST}.1")) == 2
    everywhere = {"search_filters": {"Modality": "CR"}, "fields": ["StudyDate", "00080061"], "limit": 2}
    assert [one[STUDY]["Value"] for one in dicomweb.search_for_series(**everywhere)] == [[SECOND], [FIRST]]
    assert len(dicomweb.search_for_instances(**everywhere, get_remaining=True)) == 3


def test_other_tenants_find_nothing(reader: httpx.Client, platform: Platform) -> None:
    with platform.client() as stranger:
        for path in ("", f"/{FIRST}/series", f"/{FIRST}/instances", f"/{FIRST}/series/{FIRST}.1/instances"):
            assert found(stranger, f"/studies{path}") == []
        for path in ("/series", "/instances", "/studies/1.2,1.3/series"):
            assert found(stranger, path) == []
        assert found(stranger, AccessionNumber="*AX1*") == []


def test_the_index_of_what_accession_numbers_hold_answers_for_the_callers_tenant_only(
    reader: httpx.Client, platform: Platform
) -> None:
    asked = "select studies_containing(tenant_id, '{AX1}', '%%AX1%%', 9) from studies where study_instance_uid = %s"
    assert platform.sql(asked, SECOND) == []  # the owner has no tenant either
