"""WADO-RS as viewers and `dicomweb-client` use it, on native and compressed instances."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from uuid import uuid4

import cv2
import httpx
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import get_frame
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless

from tests.factories.hostile import dicom
from tests.factories.images import chest_dicom, grey, without_loss
from tests.factories.platform import Platform
from tests.integration.gateway.problem import problem
from thorax.errors import Code

web = pytest.importorskip("dicomweb_client")
RELATED = 'multipart/related; type="application/dicom"'
STORED = {"Accept": f"{RELATED}; transfer-syntax=*"}


@dataclass(frozen=True)
class Sent:
    """One instance that was stored."""

    data: bytes

    @property
    def ds(self) -> Any:
        return dcmread(BytesIO(self.data))

    @property
    def uids(self) -> tuple[str, str, str]:
        return self.ds.StudyInstanceUID, self.ds.SeriesInstanceUID, self.ds.SOPInstanceUID

    @property
    def path(self) -> str:
        study, series, sop = self.uids
        return f"/dicomweb/studies/{study}/series/{series}/instances/{sop}"


def uid() -> str:
    return f"2.25.{uuid4().int}"


def viewer(platform: Platform, client: httpx.Client) -> Any:
    headers = {"Authorization": client.headers["authorization"]}
    return web.DICOMwebClient(f"{platform.base}/dicomweb", headers=headers)


def send(client: httpx.Client, *files: bytes) -> list[Sent]:
    body = b"".join(b"--x\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n" for file in files)
    kind = f"{RELATED}; boundary=x"
    answer = client.post("/dicomweb/studies", content=body + b"--x--\r\n", headers={"Content-Type": kind})
    assert answer.status_code == 200, answer.text
    return [Sent(file) for file in files]


def new(seed: int, study: str, **elements: Any) -> bytes:
    own = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1", "SOPInstanceUID": uid()}
    return chest_dicom(seed, 96, **{**own, **elements})


@pytest.fixture(scope="module")
def reader(platform: Platform) -> Iterator[httpx.Client]:
    with platform.client() as client:
        yield client


@pytest.fixture(scope="module")
def native(reader: httpx.Client) -> Sent:
    return send(reader, new(1, uid(), PatientName="MÜLLER^ÄNNE", SpecificCharacterSet="ISO_IR 100"))[0]


@pytest.fixture(scope="module")
def compressed(reader: httpx.Client) -> Sent:
    return send(reader, without_loss(new(2, uid())))[0]


@pytest.fixture(scope="module")
def implicit(reader: httpx.Client) -> Sent:
    ds, file = dcmread(BytesIO(new(3, uid()))), BytesIO()
    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    ds.save_as(file, implicit_vr=True, little_endian=True)
    return send(reader, file.getvalue())[0]


def part(answer: httpx.Response) -> tuple[bytes, bytes]:
    """Head and content of an answer's only part."""
    assert answer.status_code == 200, answer.text
    boundary = answer.headers["content-type"].partition("boundary=")[2].encode()
    [_, body, end] = answer.content.split(b"--" + boundary)
    assert end == b"--\r\n"
    head, _, content = body.partition(b"\r\n\r\n")
    return head, content.removesuffix(b"\r\n")


@pytest.mark.parametrize("which", ["native", "compressed", "implicit"])
def test_an_instance_is_sent_as_it_is_stored_when_any_transfer_syntax_will_do(
    which: str, platform: Platform, reader: httpx.Client, request: pytest.FixtureRequest
) -> None:
    sent: Sent = request.getfixturevalue(which)
    assert viewer(platform, reader).retrieve_instance(*sent.uids) == sent.ds
    head, content = part(reader.get(sent.path, headers=STORED))
    assert content == sent.data
    assert sent.ds.file_meta.TransferSyntaxUID.encode() in head


@pytest.mark.parametrize("which", ["native", "compressed", "implicit"])
def test_an_instance_is_explicit_little_endian_when_none_is_named(
    which: str, reader: httpx.Client, request: pytest.FixtureRequest
) -> None:
    sent: Sent = request.getfixturevalue(which)
    got = dcmread(BytesIO(part(reader.get(sent.path, headers={"Accept": RELATED}))[1]))
    assert got.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert np.array_equal(got.pixel_array, sent.ds.pixel_array)
    assert "LossyImageCompression" not in got
    for element in sent.ds:
        if element.tag != (0x7FE0, 0x0010):
            assert got[element.tag].value == element.value


def test_a_study_and_a_series_have_all_their_instances(platform: Platform, reader: httpx.Client) -> None:
    study = uid()
    files = [new(1, study), without_loss(new(2, study)), new(3, study, SeriesInstanceUID=f"{study}.2")]
    sent = send(reader, *files)
    dicomweb = viewer(platform, reader)
    assert {ds.SOPInstanceUID for ds in dicomweb.retrieve_study(study)} == {one.uids[2] for one in sent}
    assert {ds.SOPInstanceUID for ds in dicomweb.retrieve_series(study, f"{study}.1")} == {
        one.uids[2] for one in sent[:2]
    }
    assert len(dicomweb.retrieve_study_metadata(study)) == 3
    assert len(dicomweb.retrieve_series_metadata(study, f"{study}.2")) == 1


def test_metadata_are_the_data_set_in_utf_8_with_links_to_bulk_data(
    platform: Platform, reader: httpx.Client, native: Sent
) -> None:
    answer = reader.get(f"{native.path}/metadata")
    assert answer.headers["content-type"] == "application/dicom+json"
    [found] = answer.json()
    assert found["00100010"]["Value"] == [{"Alphabetic": "MÜLLER^ÄNNE"}]
    assert found["00080005"]["Value"] == ["ISO_IR 192"]
    [link] = [value["BulkDataURI"] for value in found.values() if "BulkDataURI" in value]
    assert link == f"{platform.base}{native.path}/bulkdata/7FE00010"
    assert reader.get(link).content == native.ds.PixelData
    dicomweb = viewer(platform, reader)
    assert dicomweb.retrieve_bulkdata(link) == [native.ds.PixelData]
    read = Dataset.from_json(dicomweb.retrieve_instance_metadata(*native.uids), lambda *_: b"")
    assert read.Rows == 96


@pytest.mark.parametrize("which", ["native", "compressed", "implicit"])
def test_frames_are_native_by_default(
    which: str, platform: Platform, reader: httpx.Client, request: pytest.FixtureRequest
) -> None:
    sent: Sent = request.getfixturevalue(which)
    [frame] = viewer(platform, reader).retrieve_instance_frames(*sent.uids, [1])
    assert np.array_equal(np.frombuffer(frame, np.uint8).reshape(96, 96), sent.ds.pixel_array)


@pytest.mark.parametrize(
    "accept",
    [
        "multipart/related; type=application/octet-stream; transfer-syntax=*",  # as OHIF asks
        'multipart/related; type="image/jp2"',
        f'multipart/related; type="image/jp2"; transfer-syntax={JPEG2000Lossless}',
    ],
)
def test_frames_stay_compressed_when_that_is_accepted(
    accept: str, reader: httpx.Client, compressed: Sent
) -> None:
    head, frame = part(reader.get(f"{compressed.path}/frames/1", headers={"Accept": accept}))
    assert f"image/jp2; transfer-syntax={JPEG2000Lossless}".encode() in head
    assert frame == get_frame(compressed.ds.PixelData, 0, number_of_frames=1)


def test_several_frames_come_in_the_order_they_are_named(platform: Platform, reader: httpx.Client) -> None:
    frames = [np.full((64, 64), level, np.uint8).tobytes() for level in (10, 20, 30)]
    own = {"StudyInstanceUID": (study := uid()), "SeriesInstanceUID": f"{study}.1", "SOPInstanceUID": uid()}
    [sent] = send(reader, dicom(b"".join(frames), NumberOfFrames=3, **own))
    got = viewer(platform, reader).retrieve_instance_frames(*sent.uids, [3, 1])
    assert got == [frames[2], frames[0]]
    problem(reader.get(f"{sent.path}/frames/4"), Code.NOT_FOUND)
    problem(reader.get(f"{sent.path}/frames/one"), Code.VALIDATION)


def pixels(content: bytes) -> Any:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_rendered_image_has_the_files_window_and_light_bones(
    reader: httpx.Client, photometric: str
) -> None:
    stored = grey(4, 96)
    window = {"WindowCenter": 128, "WindowWidth": 101, "PhotometricInterpretation": photometric}
    [sent] = send(reader, new(4, uid(), **window))
    answer = reader.get(f"{sent.path}/rendered", headers={"Accept": "image/png"})
    shown = np.clip((stored.astype(float) - 127.5) / 100 + 0.5, 0, 1)  # PS3.3, C.11.2.1.2.1
    expected = 1 - shown if photometric == "MONOCHROME1" else shown
    assert answer.headers["content-type"] == "image/png"
    assert np.abs(pixels(answer.content) / 255 - expected).max() < 0.01


def test_pictures_are_jpeg_by_default_and_thumbnails_small(
    platform: Platform, reader: httpx.Client, compressed: Sent
) -> None:
    dicomweb = viewer(platform, reader)
    assert pixels(dicomweb.retrieve_instance_rendered(*compressed.uids)).shape == (96, 96)
    assert pixels(dicomweb.retrieve_instance_rendered(*compressed.uids, ("image/png",))).shape == (96, 96)
    for path in (compressed.path, f"/dicomweb/studies/{compressed.uids[0]}"):
        answer = reader.get(f"{path}/thumbnail", headers={"Accept": "image/jpeg"})
        assert answer.headers["content-type"] == "image/jpeg"
        assert pixels(answer.content).shape == (96, 96)


def test_each_call_of_dicomweb_client_that_retrieves_is_answered(
    platform: Platform, reader: httpx.Client
) -> None:
    study = uid()
    native, packed = send(reader, new(1, study), without_loss(new(2, study, SeriesInstanceUID=f"{study}.2")))
    web, one = viewer(platform, reader), packed.uids
    assert {ds.SOPInstanceUID for ds in web.iter_study(study)} >= {native.uids[2], one[2]}
    assert [ds.SOPInstanceUID for ds in web.iter_series(*one[:2])] == [one[2]]
    [found] = web.retrieve_series_metadata(*one[:2])
    assert found["7FE00010"]["BulkDataURI"].endswith("/bulkdata/7FE00010")
    link = f"{platform.base}{packed.path}/bulkdata/7FE00010"  # its Host header lacks the port, and so do the links that it gets
    assert [*web.iter_bulkdata(link)] == [packed.ds.pixel_array.tobytes()]
    assert [*web.iter_instance_frames(*one, [1])] == [packed.ds.pixel_array.tobytes()]
    frame = get_frame(packed.ds.PixelData, 0, number_of_frames=1)
    assert web.retrieve_instance_frames(*one, [1], ("image/jp2",)) == [frame]
    for picture in (
        web.retrieve_series_rendered(*one[:2]),
        web.retrieve_series_rendered(*one[:2], ("image/png",)),
        web.retrieve_instance_frames_rendered(*one, [1]),
        web.retrieve_instance_frames_rendered(*one, [1], ("image/jpeg",)),
    ):
        assert pixels(picture).shape == (96, 96)


def test_a_viewport_is_filled_with_the_part_of_the_image_that_it_names(
    platform: Platform, reader: httpx.Client, compressed: Sent
) -> None:
    png = {"Accept": "image/png"}
    whole = pixels(reader.get(f"{compressed.path}/rendered", headers=png).content)
    part = reader.get(f"{compressed.path}/rendered?viewport=100,16,8,4,-32,16", headers=png).content
    assert (pixels(part) == whole[4:20, 8:40][:, ::-1]).all()
    small = reader.get(f"{compressed.path}/frames/1/rendered?viewport=48,1000", headers=png).content
    assert (pixels(small) == cv2.resize(whole, (48, 48), interpolation=cv2.INTER_AREA)).all()
    params = {"params": {"viewport": "24,48"}}
    assert pixels(viewer(platform, reader).retrieve_instance_rendered(*compressed.uids, **params)).shape == (
        24,
        24,
    )
    study = f"/dicomweb/studies/{compressed.uids[0]}"
    assert pixels(reader.get(f"{study}/thumbnail?viewport=32,64").content).shape == (32, 32)
    several = reader.get(
        f"{study}/rendered?viewport=9,9", headers={"Accept": 'multipart/related; type="image/png"'}
    )
    boundary = several.headers["content-type"].partition("boundary=")[2].encode()
    bodies = [body.partition(b"\r\n\r\n")[2] for body in several.content.split(b"--" + boundary)[1:-1]]
    assert bodies and all(max(pixels(body).shape) == 9 for body in bodies)


def test_of_a_study_all_images_are_rendered_in_one_answer(reader: httpx.Client) -> None:
    study = uid()
    first, second = send(reader, new(1, study), new(2, study))
    path = f"/dicomweb/studies/{study}/series/{study}.1"
    for accept in (
        'multipart/related; type="image/png"',
        "multipart/related; type=image/png; q=0.5, image/gif",
    ):
        answer = reader.get(f"{path}/rendered", headers={"Accept": accept})
        assert answer.headers["content-type"].startswith('multipart/related; type="image/png"')
        boundary = answer.headers["content-type"].partition("boundary=")[2].encode()
        bodies = [body.partition(b"\r\n\r\n")[2] for body in answer.content.split(b"--" + boundary)[1:-1]]
        assert len(bodies) == 2
        alone = {
            reader.get(f"{sent.path}/rendered", headers={"Accept": "image/png"}).content
            for sent in (first, second)
        }
        assert {body.removesuffix(b"\r\n") for body in bodies} == alone
    problem(reader.get(f"{path}/rendered", headers={"Accept": "image/jpeg"}), Code.NOT_ACCEPTABLE)
    problem(reader.get(f"/dicomweb/studies/{uid()}/rendered"), Code.NOT_FOUND)


@pytest.mark.parametrize(
    ("path", "accept", "code"),
    [
        ("", "application/zip", Code.NOT_ACCEPTABLE),
        ("", "application/dicom;q=0", Code.NOT_ACCEPTABLE),
        ("", f"{RELATED}; transfer-syntax=1.2.840.10008.1.2.4.50", Code.NOT_ACCEPTABLE),
        ("/metadata", "application/dicom+xml", Code.NOT_ACCEPTABLE),
        ("/rendered", "image/gif", Code.NOT_ACCEPTABLE),
        ("/frames/1", 'multipart/related; type="image/jls"', Code.NOT_ACCEPTABLE),
        ("/rendered?window=1,2,linear", "*/*", Code.UNKNOWN_PARAMETER),
        ("/rendered?viewport=64", "*/*", Code.VALIDATION),
        ("/rendered?viewport=64,64,96,0,8,8", "*/*", Code.VALIDATION),
        ("/frames/1/rendered?viewport=64,64,&viewport=8,8", "*/*", Code.VALIDATION),
        ("/frames/1/rendered?quality=50", "*/*", Code.UNKNOWN_PARAMETER),
        ("/thumbnail?viewport=64,64,8", "*/*", Code.VALIDATION),
        ("/rendered?annotation=patient", "*/*", Code.UNKNOWN_PARAMETER),
        ("/rendered?iccprofile=srgb", "*/*", Code.UNKNOWN_PARAMETER),
        ("/bulkdata/00100010", "*/*", Code.NOT_FOUND),
    ],
)
def test_what_is_not_served_is_refused(
    path: str, accept: str, code: Code, reader: httpx.Client, compressed: Sent
) -> None:
    problem(reader.get(f"{compressed.path}{path}", headers={"Accept": accept}), code)


@pytest.mark.parametrize(
    "accept",
    [
        *("text/plain", "application/dicom+json", "application/dicom;q=0"),
        "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90",
    ],
)
def test_a_file_that_needs_no_conversion_is_as_strict(
    accept: str, reader: httpx.Client, native: Sent
) -> None:
    refused = problem(reader.get(native.path, headers={"Accept": accept}), Code.NOT_ACCEPTABLE)
    assert ExplicitVRLittleEndian in refused["detail"]
    for known in ("*/*", "application/*", "application/dicom", f"{RELATED}; transfer-syntax=*", RELATED):
        assert reader.get(native.path, headers={"Accept": f"{accept}, {known}"}).status_code == 200


def test_an_instance_that_cannot_be_decoded_is_still_fetched_as_stored(reader: httpx.Client) -> None:
    broken = without_loss(new(5, uid()))
    at = broken.index(b"\xff\x4f\xff\x51")
    [sent] = send(reader, broken[: at + 20] + bytes(200) + broken[at + 220 :])
    assert part(reader.get(sent.path, headers=STORED))[1] == sent.data
    problem(reader.get(sent.path), Code.NOT_ACCEPTABLE)
    problem(reader.get(f"{sent.path}/frames/1"), Code.NOT_ACCEPTABLE)
    problem(reader.get(f"{sent.path}/rendered"), Code.UNREADABLE_IMAGE)
    assert reader.get(f"{sent.path}/metadata").json()[0]["00280010"]["Value"] == [96]


def test_other_tenants_and_other_series_find_nothing(
    platform: Platform, reader: httpx.Client, native: Sent
) -> None:
    study, _, sop = native.uids
    with platform.client() as stranger:
        for path in ("", "/metadata", "/frames/1", "/rendered", "/thumbnail", "/bulkdata/7FE00010"):
            problem(stranger.get(f"{native.path}{path}", headers={"Accept": "*/*"}), Code.NOT_FOUND)
    problem(reader.get(f"/dicomweb/studies/{study}/series/1.2/instances/{sop}"), Code.NOT_FOUND)
    problem(reader.get("/dicomweb/studies/not-a-uid/metadata"), Code.NOT_FOUND)
