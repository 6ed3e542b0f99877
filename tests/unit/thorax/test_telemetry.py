"""Each event is one line without a message that may hold data, whoever logs it and in either form."""

import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import structlog

from thorax import telemetry

NAME = "Zyzzyva"


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """What `configure` changes for the whole process holds for one test only."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with warnings.catch_warnings():
        yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def failing() -> None:
    raise ValueError(f"{NAME}^Ada\nis not a number")


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_exception_is_a_type_and_places(
    form: Literal["json", "console"], capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry.configure("test", form=form)
    for log in (structlog.get_logger("ours"), logging.getLogger("celery.worker.consumer")):
        try:
            failing()
        except ValueError:
            log.warning("consumer: Connection to broker lost.\n  Trying again", exc_info=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert NAME not in line
        assert "ValueError" in line and "test_telemetry.py:" in line
        assert "broker lost. Trying again" in line


def test_json_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure("test", form="json")
    structlog.get_logger("ours").info("job_ended", seconds=1.5)
    logged = json.loads(capsys.readouterr().err)
    assert (logged["event"], logged["service"], logged["seconds"]) == ("job_ended", "test", 1.5)


def test_what_highdicom_copies_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    """It logs each module of each object, with UIDs."""
    telemetry.configure("test")
    log = logging.getLogger("highdicom.base")
    log.info('copy attributes of module "patient"')
    log.warning("told")
    [line] = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "told"


def test_a_log_that_cannot_be_written_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full").open("w")  # noqa: SIM115 - closing it fails, too
    monkeypatch.setattr("sys.stderr", full)
    telemetry.configure("test")
    structlog.get_logger("ours").info("job_ended")
    with pytest.raises(OSError, match="No space left"):
        full.close()
