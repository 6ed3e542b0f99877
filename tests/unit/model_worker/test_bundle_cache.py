"""Bundles are loaded before they are needed, and what is wanted stays."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.factories.bundles import make_bundle
from tests.factories.patience import until

from model_worker.bundle_cache import BundleCache
from thorax.bundle import Bundle
from thorax.errors import Code, CodedError


@pytest.fixture
def bundles(tmp_path: Path) -> list[Bundle]:
    return [make_bundle(tmp_path / name, 1, name=name) for name in ("a", "b", "c", "d")]


def cache_of(bundles: list[Bundle], at_most: int = 2) -> BundleCache:
    return BundleCache(bundles[0].folder.parent, "all", cpu_fallback=True, at_most=at_most)


def test_requested_bundles_are_loaded_beside_the_work(bundles: list[Bundle]) -> None:
    a, b, *_ = (bundle.digest for bundle in bundles)
    bundle_cache = cache_of(bundles)
    bundle_cache.preload([a, b], None)
    until(lambda: set(bundle_cache.loaded) == {a, b})
    assert set(bundle_cache.sessions(a)) == {"tiny_0"}


def test_a_broken_bundle_does_not_affect_others(bundles: list[Bundle]) -> None:
    bundles[0].folder.joinpath("card.md").write_bytes("Größe".encode("latin-1"))
    (bundles[0].folder.parent / "no bundle").mkdir()
    with capture_logs() as told:
        bundle_cache = cache_of(bundles)
        bundle_cache.refresh()
    assert set(bundle_cache.digests) == {bundle.digest for bundle in bundles[1:]}
    [refused] = (line for line in told if line["event"] == "bundle_refused")  # once
    assert "a/card.md can't be read" in refused["error"]


def test_a_shadow_is_served_once_it_is_loaded_and_not_before(bundles: list[Bundle]) -> None:
    a, b, c, _ = (bundle.digest for bundle in bundles)
    bundle_cache = cache_of(bundles)
    bundle_cache.preload([a, b], c)  # the third of two
    until(lambda: set(bundle_cache.loaded) == {a, b})
    assert c not in bundle_cache.digests
    bundle_cache.preload([a], c)
    bundle_cache.sessions(c)
    assert set(bundle_cache.digests) == {bundle.digest for bundle in bundles}


def test_bundles_without_work_are_unloaded_first(bundles: list[Bundle]) -> None:
    a, b, c, _ = (bundle.digest for bundle in bundles)
    bundle_cache = cache_of(bundles)
    bundle_cache.preload([a], None)
    for digest in (a, b, c):
        bundle_cache.sessions(digest)
    assert set(bundle_cache.loaded) == {a, c}


def test_a_bundle_that_does_not_load_is_reported_and_skipped(bundles: list[Bundle]) -> None:
    a, b, *_ = (bundle.digest for bundle in bundles)
    (bundles[0].folder / "tiny_0.onnx").write_bytes(b"x")
    bundle_cache = cache_of(bundles)
    bundle_cache.preload([a, b], None)
    until(lambda: bundle_cache.loaded == (b,))
    with pytest.raises(CodedError) as caught:
        bundle_cache.sessions(a)
    assert caught.value.code is Code.BUNDLE_INVALID
    with pytest.raises(CodedError) as caught:
        bundle_cache.sessions("0" * 64)
    assert caught.value.code is Code.BUNDLE_MISSING
