"""Every bomb ends as a coded error in under two seconds, and neither the worker nor its fork server grows."""

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from tests.factories.cpu import cpu_s
from tests.factories.hostile import BOMBS, DICOM, JPEG, PNG, dicom, png, png_of
from tests.factories.patience import PATIENCE_S, until

from model_worker.sandbox import client as decoding
from model_worker.sandbox import seccomp
from model_worker.sandbox.answers import CODES, Decoded
from model_worker.sandbox.children import Child
from model_worker.sandbox.fork_servers import server_of
from thorax.bundle import InputSpec
from thorax.errors import Code, CodedError

decode = partial(decoding.decode, force=True)  # noise is not a chest, which is not the matter here
GROWTH = 50 * 2**20
NOISE = np.random.default_rng(0).integers(0, 255, (200, 200), dtype=np.uint8)


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    decode(png_of(NOISE), PNG, [InputSpec()])
    decode(dicom(NOISE.tobytes(), Rows=200, Columns=200), DICOM, [InputSpec()])


def code_of(data: bytes, media_type: str) -> Code:
    with pytest.raises(CodedError) as caught:
        decoding.decode(data, media_type, [InputSpec()])
    assert caught.value.code in CODES
    assert caught.value.detail.endswith(".")
    return caught.value.code


@pytest.mark.parametrize("name", BOMBS)
def test_bomb(name: str) -> None:
    make, media_type = BOMBS[name]
    data = make()
    before, began = psutil.Process().memory_info().rss, cpu_s(os.getpid())
    code_of(data, media_type)
    assert cpu_s(os.getpid()) - began < 8  # 2 s are promised; other cores are slower
    assert psutil.Process().memory_info().rss - before < GROWTH
    assert decode(png_of(NOISE), PNG, [InputSpec()]).rows == 200  # the next image is served as ever


def jpeg() -> bytes:
    return bytes(cv2.imencode(".jpg", NOISE)[1].tobytes())


@pytest.mark.parametrize(
    ("data", "media_type", "code"),
    [
        (b"", PNG, Code.UNREADABLE_IMAGE),
        (b"", JPEG, Code.UNREADABLE_IMAGE),
        (b"", DICOM, Code.UNREADABLE_IMAGE),
        (b"just a text, named .png", PNG, Code.UNREADABLE_IMAGE),
        (b"just a text" * 100, DICOM, Code.UNREADABLE_IMAGE),
        (png_of(NOISE), JPEG, Code.UNREADABLE_IMAGE),
        (png_of(NOISE), "image/tiff", Code.UNREADABLE_IMAGE),
        (png(0, 0, b""), PNG, Code.IMAGE_SIZE),
        (png(1, 20000, bytes(40000)), PNG, Code.IMAGE_SIZE),
        (png(20000, 1, bytes(20001)), PNG, Code.IMAGE_SIZE),
        (png(31, 31, bytes(32 * 31)), PNG, Code.IMAGE_SIZE),
        (png(64, 600, bytes(65 * 600)), PNG, Code.IMAGE_SIZE),
        (dicom(Rows=0, Columns=0), DICOM, Code.IMAGE_SIZE),
        (dicom(Rows=1000, Columns=1000), DICOM, Code.UNREADABLE_IMAGE),
        (dicom(Rows=None), DICOM, Code.UNREADABLE_IMAGE),
        (png_of(NOISE), PNG, Code.NOT_A_CHEST),
        (dicom(BitsAllocated=32, BitsStored=32), DICOM, Code.UNREADABLE_IMAGE),
        (dicom(NumberOfFrames=2, pixel_data=bytes(2 * 64 * 64)), DICOM, Code.UNREADABLE_IMAGE),
        (dicom(PhotometricInterpretation="MONOCHROME3"), DICOM, Code.UNREADABLE_IMAGE),
        (dicom(Modality="CT"), DICOM, Code.NOT_A_CHEST),
        (dicom(SOPClassUID="1.2.840.10008.5.1.4.1.1.2"), DICOM, Code.NOT_A_CHEST),
        (dicom(BodyPartExamined="KNEE"), DICOM, Code.NOT_A_CHEST),
        (dicom(ViewPosition="LL"), DICOM, Code.NOT_FRONTAL),
        (dicom(bytes(64 * 64)), DICOM, Code.UNREADABLE_IMAGE),  # blank, as after a failed exposure
        (png_of(np.full((200, 200), 128, np.uint8)), PNG, Code.UNREADABLE_IMAGE),
        (dicom(SOPClassUID="1.2.840.10008.5.1.4.1.1.1.1.1"), DICOM, Code.UNREADABLE_IMAGE),
        (dicom(PresentationIntentType="FOR PROCESSING"), DICOM, Code.UNREADABLE_IMAGE),
    ],
)
def test_bad_file(data: bytes, media_type: str, code: Code) -> None:
    assert code_of(data, media_type) is code


@pytest.mark.parametrize("keep", [10, 30, 60, 1000, 20000])
@pytest.mark.parametrize(
    ("make", "media_type"),
    [
        (lambda: png_of(NOISE), PNG),
        (jpeg, JPEG),
        (lambda: dicom(NOISE.tobytes(), Rows=200, Columns=200), DICOM),
    ],
)
def test_truncated(make: Callable[[], bytes], media_type: str, keep: int) -> None:
    assert code_of(make()[:keep], media_type) is Code.UNREADABLE_IMAGE


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_a_hostile_uid_is_not_passed_on() -> None:
    data = dicom(
        NOISE.tobytes(), Rows=200, Columns=200, StudyInstanceUID="../../../../tmp/x", ViewPosition="\x1b[2J"
    )
    attributes = decode(data, DICOM, []).dicom_attributes
    assert attributes is not None
    assert attributes.study_instance_uid is None
    assert attributes.view_position is None
    assert attributes.sop_instance_uid == "1.2.3.4.3"


def test_no_patient_data_in_errors_or_attributes() -> None:
    files = (dicom(NOISE.tobytes(), Rows=200, Columns=200), dicom(BodyPartExamined="KNEE"), dicom()[:-9])
    for data, force in itertools.product(files, (False, True)):
        try:
            said = repr(decoding.decode(data, DICOM, [], force=force))
        except CodedError as error:
            said = repr(error)
        assert "SYNTHETIC" not in said


def test_a_decoder_that_never_returns_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "GRACE_S", 3600)
    slow = png_of(np.zeros((6000, 6000), np.uint16))
    server, started = server_of(PNG), time.monotonic()
    with pytest.raises(CodedError) as caught:
        decode(slow, PNG, [InputSpec()], timeout_s=0.02)
    assert caught.value.code is Code.DECODE_LIMIT
    assert time.monotonic() - started < PATIENCE_S, "by its own alarm, not by our deadline"
    assert server_of(PNG) is server
    until(lambda: not _children())


def test_the_fork_server_can_gain_no_privileges() -> None:
    status = Path(f"/proc/{server_of(PNG)._process.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status


@pytest.mark.skipif(os.uname().machine not in seccomp.MACHINES, reason="no filter for this machine")
def test_a_child_can_only_compute_and_answer() -> None:
    script = (
        "import ctypes, os, signal, socket; from model_worker.sandbox.seccomp import confine\n"
        "ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)\n"
        "deeds = [lambda: open('/proc/self/environ'), lambda: os.unlink('/tmp/none'), socket.socket, os.fork,\n"
        "         lambda: os.execv('/bin/true', ['true']), lambda: os.kill(os.getppid(), 0), os.getcwd,\n"
        "         lambda: signal.setitimer(signal.ITIMER_REAL, 9)]\n"
        "assert confine()\n"
        "for deed in deeds:\n"
        "    try: deed()\n"
        "    except OSError as error: print(error.errno)\n"
        "print(len(bytearray(2**26)), flush=True)"
    )
    said = subprocess.check_output([sys.executable, "-c", script], text=True)
    assert said.split() == ["1"] * 8 + [str(2**26)]


@pytest.mark.skipif(os.uname().machine not in seccomp.MACHINES, reason="no filter for this machine")
def test_a_decoding_child_is_confined() -> None:
    data, seen = png_of(np.tile(np.arange(6000, dtype=np.uint16), (6000, 1))), ""
    while "Seccomp:\t2" not in seen:  # a child that nobody saw in time is followed by another
        slow = threading.Thread(target=decode, args=(data, PNG, []))
        slow.start()
        while slow.is_alive() and "Seccomp:\t2" not in seen:
            for child in _children():
                with suppress(OSError):
                    seen = Path(f"/proc/{child.pid}/status").read_text()
        slow.join()


def test_a_killed_fork_server_is_replaced() -> None:
    server = server_of(PNG)
    os.kill(server._process.pid, 9)
    assert decode(png_of(NOISE), PNG, [InputSpec()]).rows == 200
    assert server_of(PNG) is not server


def test_a_file_is_not_blamed_when_server_and_child_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an operator's `pkill`, or the chaos test, does: the file is not at fault, and is decoded in the end."""
    ask, killed = decoding._ask, 0

    def under_fire(child: Child, *rest: Any) -> Decoded | None:
        nonlocal killed
        if killed < 3:
            killed += 1
            child.server._process.kill()
            child.server._process.wait()
            return None
        return ask(child, *rest)

    monkeypatch.setattr(decoding, "_ask", under_fire)
    assert decode(png_of(NOISE), PNG, [InputSpec()]).rows == 200


@pytest.mark.slow
def test_a_killed_worker_leaves_no_process(tmp_path: Path) -> None:
    script = (
        "import sys, numpy as np; from tests.factories.hostile import png_of; from model_worker.sandbox.client import decode\n"
        "data = png_of(np.tile(np.arange(6000, dtype=np.uint16), (6000, 1)))\n"
        "decode(png_of(np.tile(np.arange(99, dtype=np.uint8), (99, 1))), 'image/png', [], force=True); print('ready', flush=True)\n"
        "while True: decode(data, 'image/png', [], force=True)"
    )
    root = Path(__file__).parents[4]
    with subprocess.Popen([sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n"
        own = psutil.Process(worker.pid)
        family = until(
            lambda: (found := own.children(recursive=True))[1:] and found, "no child of a fork server"
        )
        worker.kill()
    psutil.wait_procs(family, timeout=PATIENCE_S)
    assert not [process for process in family if _runs(process)]


def _children() -> list[psutil.Process]:
    """Children of the fork server that still run."""
    return [child for child in psutil.Process(server_of(PNG)._process.pid).children() if _runs(child)]


def _runs(process: psutil.Process) -> bool:
    """Whether it still runs; a zombie that the container's init has not fetched does not."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
