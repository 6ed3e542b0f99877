"""Blobs in a folder and in S3 behave alike; a store that is full or unreachable is reported, and nothing is lost."""

import os
import resource
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from uuid import UUID, uuid4

import httpx
import pytest

from tests.factories.images import chest_png
from tests.factories.platform import Platform, finished, post
from tests.integration.gateway.problem import problem
from tests.integration.gateway.stored import stored
from thorax import storage
from thorax.errors import Code
from thorax.storage import DISPLAY, ORIGINAL, BlobStore

BUCKET = "thorax"


class S3:
    """An S3 server of our own with one bucket. `environment` is what a process needs to reach it."""

    def __init__(self) -> None:
        import boto3  # two seconds, which no other test process needs
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.environment = {
            "AWS_ENDPOINT": f"http://{host}:{port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }
        self._client = boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT"],
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
        )
        self._client.create_bucket(Bucket=BUCKET)

    def keys(self, prefix: str) -> list[str]:
        answer = self._client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for item in answer.get("Contents", [])]

    def close(self) -> None:
        self._server.stop()


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    server = S3()
    yield server
    server.close()


@pytest.fixture(params=["folder", "s3"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> BlobStore:
    if request.param == "folder":
        return BlobStore(str(tmp_path / "blobs"))
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return BlobStore(f"s3://{BUCKET}/{uuid4()}")


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


async def test_a_stored_blob_can_be_read_in_every_way(store: BlobStore) -> None:
    one, other = uuid4(), uuid4()
    large = os.urandom(12_000_000)  # several parts of an S3 upload
    await store.put_stream(
        one, ORIGINAL, pieces(*(large[i : i + 65_536] for i in range(0, len(large), 65_536)))
    )
    await store.put_stream(other, ORIGINAL, pieces(b"a", b"", b"b"))
    store.put(one, DISPLAY, b"picture")
    assert store.get(one, ORIGINAL) == await store.get_async(one, ORIGINAL) == large
    for part, expected in ((None, large), ((7, 9_000_001), large[7:9_000_001])):
        chunks = await store.stream(one, ORIGINAL, part)
        assert b"".join([chunk async for chunk in chunks]) == expected
    assert (store.get(one, DISPLAY), store.get(other, ORIGINAL)) == (b"picture", b"ab")
    store.put(one, DISPLAY, b"another")
    assert store.get(one, DISPLAY) == b"another"
    store.check()


@pytest.mark.parametrize("disk", ["the same", "another"])
def test_a_file_becomes_a_blob(store: BlobStore, tmp_path: Path, disk: str) -> None:
    with TemporaryDirectory(dir=None if disk == "the same" else "/dev/shm") as other:
        file = (tmp_path if disk == "the same" else Path(other)) / "received"
        file.write_bytes(large := os.urandom(12_000_000))
        one = uuid4()
        store.adopt(one, ORIGINAL, file)
        assert store.get(one, ORIGINAL) == large
        with pytest.raises(OSError):
            store.adopt(gone := uuid4(), ORIGINAL, tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        store.get(gone, ORIGINAL)
    assert sorted(store.older_than(timedelta(seconds=-10))) == [one]


async def test_only_the_erased_blobs_are_deleted(store: BlobStore) -> None:
    one, other = uuid4(), uuid4()
    for instance in (one, other):
        store.put(instance, ORIGINAL, b"x")
        store.put(instance, DISPLAY, b"x")
    store.erase(one)
    store.erase(one)
    store.erase(uuid4())
    for read in (store.get, store.get_async, store.stream):
        with pytest.raises(FileNotFoundError):
            answer = read(one, ORIGINAL)
            if not isinstance(answer, bytes):
                await answer  # type: ignore[misc]
    assert store.get(other, DISPLAY) == b"x"


async def test_a_stream_that_breaks_off_leaves_nothing_and_says_why(store: BlobStore) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(6_000_000)
        raise LookupError("the client went away")

    one = uuid4()
    with pytest.raises(LookupError):
        await store.put_stream(one, ORIGINAL, broken())
    with pytest.raises(FileNotFoundError):
        store.get(one, ORIGINAL)
    assert list(store.older_than(timedelta(seconds=-10))) == []


async def test_old_instances_are_found_each_once(store: BlobStore) -> None:
    ids = {uuid4() for _ in range(5)}
    for one in ids:
        store.put(one, ORIGINAL, b"x")
        store.put(one, DISPLAY, b"x")
    found: list[UUID] = list(store.older_than(timedelta(seconds=-10)))
    assert (len(found), set(found)) == (5, ids)
    assert list(store.older_than(timedelta(hours=1))) == []


def test_blobs_belong_to_the_first_platform_that_asks(store: BlobStore) -> None:
    ours, theirs = uuid4(), uuid4()
    assert [store.belong_to(platform) for platform in (ours, theirs, ours)] == [True, False, True]
    assert list(store.older_than(timedelta(seconds=-10))) == []


async def test_uploads_are_refused_when_the_disk_is_nearly_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def bytes_of_an_image() -> AsyncIterator[bytes]:
        yield b"x"

    store, one = BlobStore(str(tmp_path)), uuid4()
    disk = os.statvfs(tmp_path)
    nearly = SimpleNamespace(f_bavail=disk.f_blocks // 50, f_blocks=disk.f_blocks, f_frsize=disk.f_frsize)
    monkeypatch.setattr(storage, "RESERVE_BYTES", 2**60)
    monkeypatch.setattr(os, "statvfs", lambda _: nearly)
    with pytest.raises(OSError, match="No space left"):
        await store.put_stream(one, ORIGINAL, bytes_of_an_image())
    store.put(one, DISPLAY, b"what has been taken is still worked on")


def test_half_written_blobs_of_a_killed_process_are_erased(tmp_path: Path) -> None:
    store, one = BlobStore(str(tmp_path)), uuid4()
    folder = tmp_path / "instances" / str(one)
    folder.mkdir(parents=True)
    (folder / "original#1").write_bytes(b"half")  # how obstore names what it has not renamed yet
    os.utime(folder, (0, 0))
    assert list(store.older_than(timedelta(hours=1))) == [one]
    store.erase(one)
    assert not folder.exists()


async def test_a_blob_is_synced_before_put_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    store, one = BlobStore(str(tmp_path)), uuid4()
    folder = tmp_path / "instances" / str(one)
    await store.put_stream(one, ORIGINAL, pieces(b"x"))
    assert synced == [str(folder / ORIGINAL), str(folder), str(folder.parent)]
    synced.clear()
    store.put(one, DISPLAY, b"x")
    assert str(folder / DISPLAY) in synced and str(folder) in synced


# --- full -----------------------------------------------------------------------------------------------------


def test_a_full_disk_is_a_507_and_nothing_is_stored(platform: Platform) -> None:
    """A limit on the size of a file stands in for the disk: the same call fails at the same place."""
    before = stored(platform)
    with platform.beside("narrow") as narrow, narrow.client() as client:
        resource.prlimit(narrow.processes["narrow"].pid, resource.RLIMIT_FSIZE, (10_000, 10_000))
        answer = post(client, chest_png(1, 64), chest_png(1, 400))
        problem(answer, Code.STORAGE_FULL)
        assert stored(platform) <= before
        assert client.get("/v1/jobs").json()["items"] == []
        assert post(client, chest_png(1, 64)).status_code == 202, "what fits is still taken"


def test_a_disk_that_is_really_full_is_a_507(platform: Platform, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", small], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        with platform.beside("full", BLOBS=str(small)) as full, full.client() as client:
            for seed in range(10):
                answer = post(client, chest_png(seed, 400))
                if answer.status_code != 202:
                    break
                client.delete(answer.headers["location"])
                files = {path for path in small.rglob("*") if path.is_file()}
            problem(answer, Code.STORAGE_FULL)
            ready = httpx.get(f"{full.base}/readyz")
            assert (ready.status_code, ready.json()["missing"]) == (
                503,
                ["blob store: No space left on device"],
            )
            assert client.get("/v1/jobs").status_code == 200
            assert {path for path in small.rglob("*") if path.is_file()} <= files
    finally:
        subprocess.run(["umount", "-l", small], check=True)


# --- S3 -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_study_is_analysed_with_its_blobs_in_s3(
    stage: Callable[..., AbstractContextManager[Platform]], s3: S3
) -> None:
    with (
        stage(THORAX_BLOBS=f"s3://{BUCKET}/whole", **s3.environment) as platform,
        platform.client() as client,
    ):
        image = chest_png(1)
        receipt = post(client, image)
        assert receipt.status_code == 202, receipt.text
        job = finished(client, receipt.headers["location"])
        assert job["state"] == "succeeded", job
        prefix = f"whole/instances/{job['images'][0]['id']}/"
        assert {f"{prefix}original", f"{prefix}display.png"} < set(s3.keys(prefix))
        links = job["images"][0]["links"]
        assert client.get(links["original"]).content == image
        assert client.get(links["overlay:edema"]).headers["content-type"] == "image/png"
        assert not (platform.folder / "blobs").exists()
        assert client.delete(job["links"]["self"]).status_code == 204
        assert s3.keys(prefix) == []


def test_s3_away_is_a_503_soon(platform: Platform) -> None:
    nowhere = {"AWS_ENDPOINT": "http://127.0.0.1:1", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
               "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}  # fmt: skip
    with platform.beside("cut-off", ready=False, environment=nowhere, BLOBS=f"s3://{BUCKET}/x") as far:
        with far.client() as client:
            client.timeout = 70
            began = time.monotonic()
            answer = post(client, chest_png(1, 64))
            problem(answer, Code.UNAVAILABLE)
            assert int(answer.headers["retry-after"]) > 0
            assert time.monotonic() - began < 60
        answer = httpx.get(f"{far.base}/readyz")
        assert answer.status_code == 503
        assert any(reason.startswith("blob store") for reason in answer.json()["missing"])
