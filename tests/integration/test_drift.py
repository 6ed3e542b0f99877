"""Drift, read by the sweeper's role from a real database."""

from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from aggregator.drift import DRIFTED, Drift, expected, psi
from tests.factories.bundles import finding_points, make_bundle
from thorax import database
from thorax.bundle import Bundle
from thorax.findings import FINDINGS
from thorax.operating_points import MapScale, Rate

IMAGES = """
with study as (insert into studies (id, tenant_id) values (%(id)s, %(tenant)s)),
image as (insert into instances (id, study_id, tenant_id, position, file_name, media_type, size_bytes, sha256, state, error_code)
  select gen_random_uuid(), %(id)s, %(tenant)s, n, 'x', 'image/png', 1, '',
    case when n < %(refused)s then 'failed' else 'prepared' end, case when n < %(refused)s then 'blank_image' end
  from generate_series(0, %(images)s - 1) n),
job as (insert into jobs (id, tenant_id, study_id, owner, bundle_digest, steps_total, state, finished_at)
  values (%(id)s, %(tenant)s, %(id)s, 'o', %(bundle)s, 2, 'succeeded', now()))
insert into study_findings (job_id, instance_id, finding, probability, threshold, positive, disagreement, verdict)
select %(id)s, gen_random_uuid(), %(finding)s, 0.5, 0.5, true, 0.25,
  case when n < %(likely)s then 'likely' when n < %(likely)s + %(uncertain)s then 'uncertain' else 'unlikely' end
from generate_series(0, %(images)s - 1) n"""


class Days:
    """A database with a bundle; and what drift says of the images of its last day."""

    def __init__(self, bundle: Bundle, owner_url: str, sweeper_url: str) -> None:
        (self.points, *_) = bundle.manifest.operating_points or ()
        self._bundle = bundle.digest
        self._owner = psycopg.connect(owner_url.replace("+psycopg", ""), autocommit=True)
        self._owner.execute(
            "insert into bundles (digest, name, version, manifest, card) values (%s, 'n', '1', %s, '')",
            [bundle.digest, bundle.manifest.model_dump_json()],
        )
        self._engine = database.engine(sweeper_url)

    def images(self, shares: tuple[float, float, float], images: int = 400, refused: int = 0) -> UUID:
        """Images of a new tenant that are unlikely, uncertain and likely in these shares."""
        values = {
            "id": uuid4(),
            "tenant": uuid4(),
            "images": images,
            "refused": refused,
            "bundle": self._bundle,
        }
        counts = {"uncertain": round(shares[1] * images), "likely": round(shares[2] * images)}
        self._owner.execute(IMAGES, {**values, **counts, "finding": FINDINGS[0]})
        return values["tenant"]

    def read(self) -> dict[str, dict[str, float]]:
        return {
            family.name: {next(iter(sample.labels.values())): sample.value for sample in family.samples}
            for family in Drift(self._engine).collect()
        }


@pytest.fixture
def days(tmp_path: Path, database_url: str, url_as: Callable[[str], str]) -> Days:
    points = finding_points(0.04, 0.2, prevalence=0.1)
    rates = {"sensitivity": Rate(value=0.4), "specificity": Rate(value=0.95)}
    points = points.model_copy(update={"likely": points.likely.model_copy(update=rates)})
    scale = MapScale(unit="logit", full=(1, 1, 1, 1, 1), cuts=(0.5, 0.5, 0.5, 0.5, 0.5))
    bundle = make_bundle(tmp_path / "tiny", 1, format=2, operating_points=[points] * 5, maps=scale)
    return Days(bundle, database_url, url_as("thorax_aggregator"))


def test_images_as_the_card_expects_are_no_drift(days: Days) -> None:
    days.images(expected(days.points))
    read = days.read()
    assert read["thorax_drift_psi"][FINDINGS[0]] < 0.02
    assert read["thorax_drift_disagreement"] == {FINDINGS[0]: 0.25}


def test_the_tenant_that_drifted_most_is_shown(days: Days) -> None:
    days.images(expected(days.points))
    days.images((0.0, 0.1, 0.9))
    assert days.read()["thorax_drift_psi"][FINDINGS[0]] > DRIFTED


def test_few_images_say_nothing(days: Days) -> None:
    days.images((0.0, 0.0, 1.0), images=99)
    assert days.read()["thorax_drift_psi"] == {}


def test_refusals_are_a_share_of_all_images(days: Days) -> None:
    days.images((1, 0, 0), images=75)
    days.images((1, 0, 0), images=25, refused=10)
    assert days.read()["thorax_drift_refused_share"] == {"blank_image": 0.1}


def test_the_index_is_the_sum_over_bands() -> None:
    assert psi((500_000, 300_000, 200_000), (0.5, 0.3, 0.2)) == pytest.approx(0, abs=1e-9)
    assert psi((20_000_000, 80_000_000), (0.5, 0.5)) == pytest.approx(
        0.4159, abs=1e-3
    )  # 0.3 ln 1.6 - 0.3 ln 0.4
