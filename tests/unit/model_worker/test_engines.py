"""OpenVINO instead of ONNX Runtime: the same answers, and chosen only where it was measured and is faster."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import orjson
import pytest
from tests.factories.bundles import make_bundle

pytest.importorskip("openvino", reason="needs OpenVINO (make openvino)")

from model_worker import engines, fastest
from model_worker.backbone import CPU, Backbone
from model_worker.bundle_cache import BundleCache
from thorax.bundle import Bundle, Engine, EngineFigures
from thorax.errors import Code, CodedError

GOOD = EngineFigures(images=100, auc=0.83, auc_change=-0.0001, probability=0.004, maps=0.01)
# Each of one shade: OpenVINO passes over the antialiasing of the tiny graph's Resize, which a bundle's figures would tell.
IMAGES = np.repeat(np.array([10, 130, 250], np.uint8), 64 * 64).reshape(3, 64, 64)


def bundle(folder: Path, figures: EngineFigures | None = GOOD) -> Bundle:
    return make_bundle(folder, 2, engines=dict.fromkeys(engines.installed(), figures) if figures else {})


@pytest.fixture
def cpu_s(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What the engines' runs are said to take."""
    told = {Engine.ONNXRUNTIME: 1.0, Engine.OPENVINO: 0.9, Engine.OPENVINO_BF16: 0.9}
    clock, turn = [0.0], count()

    def process_time() -> float:
        tried = list(told)[: 1 + len(engines.installed())]
        if (calls := next(turn)) % 2:  # after a run
            clock[0] += told[tried[calls // 2 % len(tried)]]
        return clock[0]

    monkeypatch.setattr(fastest, "process_time", process_time)
    return told


@pytest.mark.parametrize("engine", engines.installed())
def test_answers_are_those_of_onnx_runtime(tmp_path: Path, engine: Engine) -> None:
    made = bundle(tmp_path)
    for spec in made.manifest.backbones:
        exact, other = Backbone(made, spec, [CPU]), Backbone(made, spec, [CPU], engine=engine)
        assert other.provider == engine
        assert not other.on_gpu
        with ThreadPoolExecutor(2) as pool:
            for n, found in zip(
                (1, 3, 2), pool.map(other.predict, (IMAGES[:1], IMAGES, IMAGES[:2])), strict=True
            ):
                wanted = exact.predict(IMAGES[:n])
                assert np.allclose(found.probabilities, wanted.probabilities, atol=0.01)
                assert np.allclose(found.maps, wanted.maps, atol=0.02 * float(wanted.maps.max()))


def test_an_engine_without_figures_or_with_a_loss_is_not_tried(
    tmp_path: Path, cpu_s: dict[str, float]
) -> None:
    cpu_s.update({Engine.OPENVINO: 0.1, Engine.OPENVINO_BF16: 0.1})
    assert fastest.fastest(bundle(tmp_path / "none", None)) is Engine.ONNXRUNTIME
    for change in ({"auc_change": -0.003}, {"maps": 0.06}):
        losing = bundle(tmp_path / next(iter(change)), GOOD.model_copy(update=change))
        assert fastest.fastest(losing) is Engine.ONNXRUNTIME


def test_the_fastest_serves_all_backbones_if_it_is_worth_it(
    tmp_path: Path, cpu_s: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bundle(tmp_path / "models/tiny")
    with monkeypatch.context() as recorded:
        recorded.setattr(fastest, "log", log := Mock())
        assert fastest.fastest(made) is Engine.ONNXRUNTIME  # a tenth is not enough
    assert orjson.loads(orjson.dumps(log.info.call_args.kwargs))["engine"] == "onnxruntime"
    cpu_s[Engine.OPENVINO] = 0.5
    cache = BundleCache(tmp_path / "models", "all", cpu_fallback=True)
    assert {each.provider for each in cache.sessions(made.digest).values()} == {Engine.OPENVINO}
    own = BundleCache(tmp_path / "models", "all", cpu_fallback=True, engine=Engine.ONNXRUNTIME)
    assert {each.provider for each in own.sessions(made.digest).values()} == {CPU}


def test_an_engine_that_refuses_a_graph_is_left_out(
    tmp_path: Path, cpu_s: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Iterator[None]:
        raise RuntimeError("Unsupported operation\nat line 7")

    made = bundle(tmp_path)
    monkeypatch.setattr("model_worker.backbone.compiled", refuse)
    with pytest.raises(CodedError, match="Unsupported operation") as refused:
        Backbone(made, made.manifest.backbones[0], [CPU], engine=Engine.OPENVINO)
    assert refused.value.code is Code.UNAVAILABLE
    assert fastest.fastest(made) is Engine.ONNXRUNTIME
