"""The pictures of a job: rendered when asked, from what was stored."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from tests.factories.images import chest_dicom, chest_jpeg, chest_png, grey, npz
from tests.factories.platform import Platform, finished, post
from tests.integration.gateway.problem import problem
from thorax.errors import Code
from thorax.findings import FINDINGS

Done = tuple[httpx.Client, dict[str, Any]]


def picture(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    return cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.fixture
def base(done: Done) -> str:
    _, job = done
    return f"{job['links']['self']}/images/{job['images'][0]['id']}"


def test_the_image_is_the_one_that_was_sent(done: Done, base: str) -> None:
    client, _ = done
    shown = picture(client.get(f"{base}/image.png?size=256"))
    assert (shown.shape, shown.dtype) == ((256, 256), np.uint8)
    assert np.corrcoef(shown.ravel(), grey(1).ravel())[0, 1] > 0.99


@pytest.mark.parametrize("kind", [chest_png, chest_jpeg, chest_dicom])
def test_each_of_many_images_is_answered_with_its_own_picture(
    client: httpx.Client, kind: Callable[[int], bytes]
) -> None:
    """Sent together and one after another by one tenant, and alike but for their grain."""
    sent = np.stack([grey(seed) for seed in range(8)]).astype(np.int16)
    receipts = [post(client, *map(kind, seeds)) for seeds in ((0, 1, 2), (3,), (4, 5), (6,), (7,))]
    jobs = [finished(client, receipt.headers["location"]) for receipt in receipts]
    images = [image for job in jobs for image in job["images"]]
    shown = [picture(client.get(image["links"]["image"], params={"size": 256})) for image in images]
    assert [int(np.abs(sent - each).mean((1, 2)).argmin()) for each in shown] == list(range(8))


@pytest.mark.parametrize("size", [64, 100, 256, 512, 2048])
def test_the_longest_side_has_the_size_that_was_asked_for(done: Done, base: str, size: int) -> None:
    client, _ = done
    for name in ("image.png", "heatmaps/edema.png", "overlay/edema.png"):
        assert picture(client.get(f"{base}/{name}", params={"size": size})).shape[:2] == (size, size)


def test_a_shape_is_kept(client: httpx.Client) -> None:
    tall = cv2.imencode(".png", cv2.resize(grey(1, 300), (200, 300)))[1].tobytes()
    job = finished(client, post(client, tall).headers["location"])
    assert picture(client.get(job["images"][0]["links"]["image"], params={"size": 150})).shape == (150, 100)
    assert picture(client.get(job["images"][0]["links"]["overlay:edema"], params={"size": 150})).shape == (
        150,
        100,
        3,
    )


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_heatmap_is_transparent_where_it_is_cold(done: Done, base: str, finding: str) -> None:
    client, _ = done
    maps = npz(client.get(f"{base}/heatmaps.npz").content)["ensemble"]
    heat = maps[list(FINDINGS).index(finding)].astype(np.float32)
    rgba = picture(client.get(f"{base}/heatmaps/{finding}.png", params={"size": 280}))
    assert rgba.shape == (280, 280, 4)
    alpha = cv2.resize(rgba[:, :, 3], (28, 28), interpolation=cv2.INTER_AREA) / 255
    assert np.abs(alpha - heat).mean() < 0.05


def test_an_overlay_changes_with_opacity_colour_and_size_and_is_the_image_without_any(
    done: Done, base: str
) -> None:
    client, _ = done
    maps = npz(client.get(f"{base}/heatmaps.npz").content)["ensemble"]
    finding = FINDINGS[int(maps.sum(axis=(1, 2)).argmax())]

    def overlay(**query: Any) -> Any:
        return picture(client.get(f"{base}/overlay/{finding}.png", params={"size": 256, **query}))

    plain = picture(client.get(f"{base}/image.png?size=256"))
    none = overlay(opacity=0)
    assert np.abs(none.astype(int) - plain[:, :, None]).max() <= 1
    strengths = [np.abs(overlay(opacity=o).astype(int) - none).mean() for o in (0.2, 0.5, 1)]
    assert 0 < strengths[0] < strengths[1] < strengths[2]
    colours = [overlay(colormap=c).tobytes() for c in ("inferno", "viridis", "magma", "plasma", "turbo")]
    assert len(set(colours)) == 5
    assert overlay().tobytes() == overlay(opacity=0.5, colormap="inferno").tobytes()


def test_the_archive_loads_without_pickle_and_holds_everybodys_maps(done: Done, base: str) -> None:
    client, _ = done
    answer = client.get(f"{base}/heatmaps.npz")
    assert "attachment" in answer.headers["content-disposition"]
    arrays = npz(answer.content)
    assert list(arrays["findings"]) == list(FINDINGS)
    assert (arrays["ensemble"].shape, arrays["ensemble"].dtype) == ((5, 28, 28), np.float16)
    assert arrays["ensemble"].min() >= 0 and arrays["ensemble"].max() <= 1
    assert {name: array.shape for name, array in arrays.items() if name.startswith("backbone_")} == {
        "backbone_tiny_0": (5, 7, 7),
        "backbone_tiny_1": (5, 5, 5),
        "backbone_tiny_2": (5, 7, 7),
    }


def test_the_maps_have_absolute_values(done: Done, base: str, platform: Platform) -> None:
    client, _ = done
    image = client.get(base.partition("/images")[0]).json()["images"][0]
    grid = {
        name: {"rows": side, "columns": side} for name, side in (("tiny_0", 7), ("tiny_1", 5), ("tiny_2", 7))
    }
    assert image["maps"] == {"ensemble": {"rows": 28, "columns": 28}, "backbones": grid}
    scale = {"unit": "logit", "full": [2.0, 3, 4, 5, 6], "cuts": [0.5, 0.4, 0.3, 0.2, 0.1]}
    with of_format_2(platform, {**scale, "members": ["tiny_1"]}):
        fused = client.get(base.partition("/images")[0]).json()["images"][0]["maps"]["backbones"]
        assert fused == {"tiny_1": grid["tiny_1"]}  # how coarse the picture is, the others' grids do not say
    with of_format_2(platform, scale):
        archive = np.load(BytesIO(client.get(f"{base}/heatmaps.npz").content))
        absolute = (
            archive["ensemble"] * archive["full"][:, None, None]
        )  # as docs/how-to/send-studies.md has it
        told = client.get(base.partition("/images")[0]).json()["map_scale"]
    assert (str(archive["unit"]), list(archive["cuts"])) == ("logit", scale["cuts"])
    assert absolute.max() > 1 and absolute.shape == (5, 28, 28)
    assert told == {
        "unit": "logit",
        "full": dict(zip(FINDINGS, scale["full"], strict=True)),
        "cuts": dict(zip(FINDINGS, scale["cuts"], strict=True)),
    }


@contextmanager
def of_format_2(platform: Platform, scale: dict[str, Any]) -> Iterator[None]:
    """While it lasts, the platform's bundle states a scale of its maps."""
    platform.sql("update bundles set manifest = jsonb_set(manifest, '{maps}', %s)", json.dumps(scale))
    try:
        yield
    finally:
        platform.sql("update bundles set manifest = jsonb_set(manifest, '{maps}', 'null')")


def test_the_original_comes_back_byte_for_byte(client: httpx.Client) -> None:
    sent = [chest_png(4), chest_jpeg(5), chest_dicom(6)]
    job = finished(client, post(client, *sent).headers["location"])
    for image, data in zip(job["images"], sent, strict=True):
        answer = client.get(image["links"]["original"])
        assert answer.content == data
        assert answer.headers["content-type"] == image["media_type"]
        assert int(answer.headers["content-length"]) == len(data)
        assert answer.headers["content-disposition"].startswith(
            "attachment;"
        )  # never opened inside our origin
        assert answer.headers["content-security-policy"] == "sandbox"


def test_a_part_of_the_original_is_sent_on_request(client: httpx.Client) -> None:
    image = chest_dicom(5, 64)
    receipt = post(client, image, name="Übersicht 1.dcm").json()
    path = f"{receipt['links']['self']}/images/{receipt['instance_ids'][0]}/original"
    whole = client.get(path)
    tag = whole.headers["etag"]
    assert (whole.content, whole.headers["accept-ranges"]) == (image, "bytes")
    assert "filename*=UTF-8''%C3%9Cbersicht%201.dcm" in whole.headers["content-disposition"]

    def part(asked: str, **headers: str) -> httpx.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.get(path, headers={"Range": asked, **names})

    for asked, expected in (("bytes=128-131", b"DICM"), ("bytes=-4", image[-4:])):
        answer = part(asked)
        assert (answer.status_code, answer.content) == (206, expected)
        start = image.rindex(expected)
        assert answer.headers["content-range"] == f"bytes {start}-{start + 3}/{len(image)}"
    assert part("bytes=0-1", If_Range=tag).status_code == 206
    assert part("bytes=0-1", If_Range='"other"').content == image
    assert part("bytes=0-1,4-5").content == image
    refused = part(f"bytes={len(image)}-")
    problem(refused, Code.RANGE)
    assert refused.headers["content-range"] == f"bytes */{len(image)}"
    for known in (tag, f'"other", W/{tag}', "*"):
        assert client.get(path, headers={"If-None-Match": known}).status_code == 304
    head = client.head(path)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(image)))


def test_before_the_analysis_only_the_original_is_there(
    idle: Callable[..., httpx.Response], client: httpx.Client
) -> None:
    receipt = idle(3).json()
    base = f"{receipt['links']['self']}/images/{receipt['instance_ids'][0]}"
    assert client.get(f"{base}/original").status_code == 200
    for name in ("image.png", "heatmaps/edema.png", "overlay/edema.png", "heatmaps.npz"):
        answer = client.get(f"{base}/{name}")
        problem(answer, Code.NOT_READY)
        assert int(answer.headers["retry-after"]) > 0


def test_an_image_that_failed_says_why_instead_of_a_picture(client: httpx.Client) -> None:
    job = finished(client, post(client, chest_png(1)[:2000], chest_png(2)).headers["location"])
    bad = f"{job['links']['self']}/images/{job['images'][0]['id']}"
    for name in ("image.png", "overlay/edema.png", "heatmaps.npz"):
        problem(client.get(f"{bad}/{name}"), Code.UNREADABLE_IMAGE)
    assert client.get(f"{bad}/original").status_code == 200


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("overlay/pneumonia.png", Code.UNKNOWN_FINDING),
        ("heatmaps/Edema.png", Code.UNKNOWN_FINDING),
        ("heatmaps/%00.png", Code.NOT_FOUND),
        ("image.png?size=63", Code.VALIDATION),
        ("image.png?size=2049", Code.VALIDATION),
        ("image.png?size=99999999999999999999", Code.VALIDATION),
        ("overlay/edema.png?opacity=1.1", Code.VALIDATION),
        ("overlay/edema.png?opacity=nan", Code.VALIDATION),
        ("overlay/edema.png?colormap=jet", Code.VALIDATION),
        ("image.jpg", Code.NOT_FOUND),
    ],
)
def test_a_picture_that_cannot_be_rendered_is_refused(done: Done, base: str, name: str, code: Code) -> None:
    client, _ = done
    problem(client.get(f"{base}/{name}"), code)


@pytest.mark.parametrize("name", ["image.png", "overlay/edema.png", "heatmaps/edema.png"])
def test_a_browser_may_keep_a_picture_but_asks_each_time_whether_a_retry_replaced_it(
    done: Done, base: str, name: str
) -> None:
    client, job = done
    answer = client.get(f"{base}/{name}")
    assert answer.headers["cache-control"] == "private, no-cache"
    tag = answer.headers["etag"]
    assert tag == f'W/"{job["version"]}"'
    again = client.get(f"{base}/{name}", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(f"{base}/{name}", headers={"If-None-Match": 'W/"1"'}).status_code == 200


def test_twenty_viewers_at_once_get_the_same_picture(done: Done, base: str, platform: Platform) -> None:
    import asyncio

    client, _ = done

    async def crowd() -> set[bytes]:
        async with httpx.AsyncClient(base_url=platform.base, headers=client.headers) as many:
            answers = await asyncio.gather(
                *(many.get(f"{base}/overlay/edema.png?size=512") for _ in range(20))
            )
        return {answer.content for answer in answers}

    assert len(asyncio.run(crowd())) == 1
