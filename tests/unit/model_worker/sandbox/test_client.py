"""The worker's side of the sandbox: what it passes on, and that it believes nothing."""

import json
import os
import socket
import struct
import threading
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.factories.hostile import DICOM, PNG, dicom, png_of

from model_worker.sandbox import client
from model_worker.sandbox.answers import Decoded
from model_worker.sandbox.fork_servers import ForkServer, server_of
from thorax.bundle import InputSpec
from thorax.errors import Code, CodedError
from thorax.image_warnings import WarningCode

decode = partial(client.decode, force=True)  # noise is not a chest, which is not the matter here
PICTURE = np.random.default_rng(0).integers(0, 255, (300, 2000), dtype=np.uint8)


def test_one_decoding_serves_every_backbone() -> None:
    inputs = [
        InputSpec(size=224),
        InputSpec(size=224),
        InputSpec(size=96, equalise=True),
        InputSpec(size=64, crop=0.8),
    ]
    decoded = decode(png_of(PICTURE), PNG, inputs)
    assert {key: (a.shape, a.dtype) for key, a in decoded.inputs.items()} == {
        "224": ((224, 224), np.uint8),
        "96-eq": ((96, 96), np.uint8),
        "64-crop0.8": ((64, 64), np.uint8),
    }
    assert (decoded.rows, decoded.columns, decoded.dicom_attributes) == (300, 2000, None)
    shown = cv2.imdecode(np.frombuffer(decoded.display_png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert (shown.shape, shown.dtype) == ((154, 1024), np.uint8)


def test_a_dicom_files_attributes_are_passed_on() -> None:
    data = dicom(BodyPartExamined="CHEST", ViewPosition="PA")
    attributes = decode(data, DICOM, []).dicom_attributes
    assert attributes is not None
    assert (attributes.study_instance_uid, attributes.modality, attributes.view_position) == (
        "1.2.3.4.1",
        "CR",
        "PA",
    )


def test_warnings_and_the_orientation_are_passed_on() -> None:
    decoded = decode(dicom(PatientOrientation=["F", "R"], ViewPosition="LL"), DICOM, [])
    assert [warning.code for warning in decoded.warnings][:2] == [WarningCode.OVERRULED, WarningCode.TURNED]
    assert decoded.orientation == 6


@pytest.mark.parametrize(
    ("charset", "lateral"),
    [
        ("GB18030", "胸部侧位"),
        ("ISO_IR 144", "Грудь боковая"),
        (["", "ISO 2022 IR 87"], "胸部側面"),
        (["", "ISO 2022 IR 149"], "흉부 측면"),
    ],
)
def test_a_child_knows_every_character_set(charset: str | list[str], lateral: str) -> None:
    data = dicom(SpecificCharacterSet=charset, SeriesDescription=lateral)
    with pytest.raises(CodedError) as caught:
        client.decode(data, DICOM, [])
    assert caught.value.code is Code.NOT_FRONTAL


def test_an_image_that_is_not_a_chest_is_refused_unless_forced() -> None:
    with pytest.raises(CodedError) as caught:
        client.decode(png_of(PICTURE), PNG, [])
    assert caught.value.code is Code.NOT_A_CHEST
    assert [warning.code for warning in decode(png_of(PICTURE), PNG, []).warnings] == [WarningCode.OVERRULED]


def test_threads_share_the_fork_server() -> None:
    results: list[Decoded] = []
    threads = [
        threading.Thread(target=lambda: results.append(decode(png_of(PICTURE), PNG, []))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert len({r.display_png for r in results}) == 1


def test_descriptors_do_not_leak() -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    rounds = (
        20  # servers of other tests may open and close connections in this process meanwhile, but not as many
    )
    decode(png_of(PICTURE), PNG, [])
    before = count()
    for _ in range(rounds):
        decode(png_of(PICTURE), PNG, [])
        with pytest.raises(CodedError):
            decode(b"", PNG, [])
    assert count() - before < rounds


def test_the_sandbox_has_no_secrets_and_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    server_of(PNG).stop()
    monkeypatch.setenv("THORAX_DATABASE_URL", "postgresql://secret")
    server = Path(f"/proc/{server_of(PNG)._process.pid}")
    assert b"THORAX" not in (server / "environ").read_bytes()
    try:
        ours, its = (os.readlink(p / "ns/net") for p in (Path("/proc/self"), server))  # noqa: PTH115
    except PermissionError:  # which shows as well that it has left our user namespace
        return
    if ours == its:
        pytest.skip("this kernel gives no namespaces to this user")


def sized(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


HEADER = {"rows": 9, "columns": 9, "dicom_attributes": None, "orientation": 1, "warnings": []}


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\xff\xff\xff\xff",
        sized(b"\x80\x04pickle"),
        sized(b"[" * 60000),
        sized(b"[]"),
        sized(json.dumps({"code": "no_such_code", "detail": ""}).encode()),
        sized(json.dumps(HEADER).encode()),
        sized(json.dumps(HEADER).encode()) + struct.pack(">I", 1 << 31),
        sized(json.dumps({**HEADER, "dicom_attributes": {"surprise": 1}}).encode()) + sized(b"png"),
        sized(json.dumps({**HEADER, "orientation": 9}).encode()) + sized(b"png"),
        sized(json.dumps({**HEADER, "warnings": [["no_such_code", ""]]}).encode()) + sized(b"png"),
    ],
)
def test_an_answer_that_our_code_did_not_write_is_refused(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    def answer(self: object, limits: object, upload: int, connection: socket.socket) -> None:
        connection.sendall(sent)

    monkeypatch.setattr(ForkServer, "fork", answer)
    with pytest.raises(CodedError) as caught:
        decode(b"", PNG, [])
    assert caught.value.code is Code.DECODE_LIMIT


def test_a_child_that_somebody_else_killed_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fork, calls = ForkServer.fork, []

    def killed_once(
        self: ForkServer, limits: dict[str, float], upload: int, connection: socket.socket
    ) -> None:
        calls.append(time.monotonic())
        if len(calls) > 1:
            fork(self, limits, upload, connection)

    monkeypatch.setattr(ForkServer, "fork", killed_once)
    assert decode(png_of(PICTURE), PNG, []).rows == 300
    assert len(calls) == 2
