"""`k8s/check.py`, imported from where it stands."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

K8S = Path(__file__).parents[3] / "k8s"


@pytest.fixture(scope="package")
def check() -> Iterator[ModuleType]:
    sys.path.insert(0, str(K8S))
    import check

    yield check
    sys.path.remove(str(K8S))
