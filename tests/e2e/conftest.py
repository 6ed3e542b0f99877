"""One platform and one browser for all tests of the page."""

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.person import ROOT, SAMPLES, Account, Person
from tests.e2e.test_make_run import Run
from tests.factories.bundles import finding_points, make_bundle
from tests.factories.images import chest_png
from tests.factories.patience import PATIENCE_S, until

from thorax.operating_points import MapScale

CHROMIUM = shutil.which("chromium")
# Without the last one swiftshader draws the whole page, not only what WebGL draws: forty times the CPU time.
FLAGS = [
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-gpu-compositing",
]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The platform as `make run` starts it, with auth-service, behind the built page.

    `THORAX_PAGE_STATE` names the state folder of one that runs already, which saves its start while one works on a test.
    """
    if running := os.environ.get("THORAX_PAGE_STATE"):
        yield Run.running(Path(running))
        return
    if CHROMIUM is None:
        pytest.skip("needs Debian's chromium")
    if not (ROOT / "web/dist/index.html").is_file():
        pytest.skip("needs the built page (make web)")
    bundle = os.environ.get("THORAX_PAGE_BUNDLE")
    folder = tmp_path_factory.mktemp("page")
    # By construction three findings are likely, edema is uncertain, and consolidation unlikely: it has no heatmap.
    unlikely, thresholds = [0.05, 0.05, 0.95, 0.05, 0.05], [0.05, 0.05, 0.95, 0.95, 0.05]
    make_bundle(
        folder / "models" / "tiny",
        format=2,
        thresholds=thresholds,
        operating_points=[finding_points(*pair) for pair in zip(unlikely, thresholds, strict=True)],
        maps=MapScale(unit="probability", full=(1,) * 5, cuts=(0.5,) * 5),
        metrics={"pointing": {"cardiomegaly": {"n": 14, "chance": 0.18, "hits": 0.5}}},
    )
    run = Run(
        folder,
        THORAX_PAGE=str(ROOT / "web/dist"),
        THORAX_ANONYMOUS_JOBS_PER_HOUR="1000",
        **({"BUNDLE": bundle} if bundle else {}),
    )
    try:
        run.until_ready()
        yield run
    finally:
        run.process.send_signal(signal.SIGINT)
        run.process.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, drawing in software. Closed with its module: Playwright keeps an event loop running in this thread,
    and the asynchronous tests that may come next in the same process need their own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (make install)")
    with playwright.sync_playwright() as program:
        browser = program.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def person(browser: Any, stack: Run) -> Iterator[Person]:
    """A visitor without an account."""
    person = Person(browser, stack)
    yield person
    person.context.close()
    assert not person.wrong


@dataclass(frozen=True)
class Reader:
    """A user with an account, and the jobs of the studies sent before."""

    account: Account
    prior: str
    current: str
    pair: str
    broken: str
    deep: str


def dated(date: str, patient: str = "THORAX-1") -> bytes:
    """The sample as DICOM, of some day and patient."""
    from io import BytesIO

    import pydicom

    ds = pydicom.dcmread(SAMPLES / "chest.dcm")
    ds.PatientID, ds.StudyDate = patient, date
    file = BytesIO()
    ds.save_as(file)
    return file.getvalue()


@pytest.fixture(scope="session")
def reader(stack: Run) -> Reader:
    """Two DICOM studies of one patient, a pair of images, a broken file, 16 bits, and many small ones."""
    account = Account(stack)
    png, jpg, deep = ((SAMPLES / name).read_bytes() for name in ("chest.png", "chest.jpg", "chest-16bit.png"))
    for i in range(24):
        account.send((f"{i}.png", chest_png(i, 64)), title=f"Screening {i:02}")
    ids = [
        account.send(("prior.dcm", dated("20240311")), title="Chest PA, first visit"),
        account.send(("current.dcm", dated("20260102")), title="Chest PA, follow-up"),
        account.send(("front.png", png), ("again.jpg", jpg), title="Two images"),
        account.send(("notes.png", png[:4000]), title="Cut off in transfer"),
        account.send(("deep.png", deep), title="Sixteen bits"),
    ]
    for job in ids:
        account.final(job)
    listed = lambda: account.api.get("/v1/jobs", params={"state": "queued"}).json()["items"]  # noqa: E731
    until(lambda: not listed(), "the studies are not analysed")
    return Reader(account, *ids)
