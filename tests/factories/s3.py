"""A real S3 server (SeaweedFS) with one bucket, killed and started again at will."""

import json
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from tests.factories.patience import PATIENCE_S

from local_stack.parent_death_signal import dying_with_us
from local_stack.server import free_port

WEED = shutil.which("weed", path=str(Path(sys.executable).parent))
BUCKET, KEY = "thorax", "only-for-tests"


class SeaweedFs:
    """A context manager. `environment` is what a process needs to reach it; with `tls` (certificate, key) by HTTPS."""

    def __init__(self, folder: Path, tls: tuple[Path, Path] | None = None) -> None:
        assert WEED
        (folder / "data").mkdir(parents=True)
        ports = {part: free_port() for part in ("master", "volume", "filer", "s3")}
        grpc = {part: free_port() for part in ports}
        identity = {
            "name": "thorax",
            "actions": ["Admin"],
            "credentials": [{"accessKey": "thorax", "secretKey": KEY}],
        }
        (folder / "identities.json").write_text(json.dumps({"identities": [identity]}))
        self._log = folder / "weed.log"
        self._command = [WEED, "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-s3", "-volume.max=3"]
        self._command += [
            f"-s3.config={folder / 'identities.json'}",
            "-master.volumeSizeLimitMB=64",
            "-master.telemetry=false",
        ]
        self._command += [f"-{part}.port={port}" for part, port in ports.items()]
        self._command += [f"-{part}.port.grpc={port}" for part, port in grpc.items()]
        if tls:
            self._command += [f"-s3.cert.file={tls[0]}", f"-s3.key.file={tls[1]}"]
        self.environment = {
            "AWS_ENDPOINT": f"{'https' if tls else 'http'}://127.0.0.1:{ports['s3']}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "thorax",
            "AWS_SECRET_ACCESS_KEY": KEY,
            "AWS_REGION": "us-east-1",
        }
        self.client = boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT"],
            aws_access_key_id="thorax",
            aws_secret_access_key=KEY,
            region_name="us-east-1",
            verify=False if tls else None,
        )

    def __enter__(self) -> "SeaweedFs":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and wait until its bucket takes an object."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                dying_with_us(self._command),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(BotoCoreError, ClientError):
                with suppress(
                    self.client.exceptions.BucketAlreadyExists, self.client.exceptions.BucketAlreadyOwnedByYou
                ):
                    self.client.create_bucket(Bucket=BUCKET)
                self.client.put_object(Bucket=BUCKET, Key="probe", Body=b"x")
                return
            time.sleep(0.2)
        raise AssertionError(self._log.read_text()[-3000:])

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    def keys(self, prefix: str) -> list[str]:
        """The names of the objects that begin so."""
        answer = self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for item in answer.get("Contents", [])]
