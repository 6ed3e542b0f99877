"""The session's checks and its mapping to canonical order, on real tiny graphs."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from tests.factories.bundles import REORDERED, as_model, make_bundle, tiny_answer, tiny_graph, write_backbone

from model_worker.backbone import CPU, CUDA, Backbone, to_canonical
from thorax.bundle import Bundle, InputSpec
from thorax.errors import Code, CodedError

GREY = np.stack([np.full((64, 64), value, np.uint8) for value in (30, 200)])


def load(bundle: Bundle, index: int = 0) -> Backbone:
    return Backbone(bundle, bundle.manifest.backbones[index], [CPU])


def bundle_of(folder: Path, graph: bytes) -> Bundle:
    """A bundle whose only backbone is this graph."""
    bundle = make_bundle(folder, ["odd"])
    spec = write_backbone(folder, "odd", graph, spec=InputSpec(size=64))
    manifest = bundle.manifest.model_copy(update={"backbones": (spec,)})
    return Bundle(folder, manifest, bundle.digest, "")


def refused(bundle: Bundle) -> str:
    with pytest.raises(CodedError) as caught:
        load(bundle)
    assert caught.value.code is Code.BUNDLE_INVALID
    return caught.value.detail


@pytest.mark.parametrize(("index", "grid"), [(0, 7), (1, 5)])
def test_predictions_come_in_canonical_order(tmp_path: Path, index: int, grid: int) -> None:
    prediction = load(make_bundle(tmp_path), index).predict(GREY)
    assert prediction.probabilities.dtype == np.float32
    assert prediction.maps.dtype == np.float16
    assert prediction.maps.shape == (2, 5, grid, grid)
    for image, p in zip(GREY, prediction.probabilities, strict=True):
        np.testing.assert_allclose(p, tiny_answer(image, seed=index), atol=1e-5)


def test_reordering_is_by_name(tmp_path: Path) -> None:
    spec = make_bundle(tmp_path).manifest.backbones[1]
    assert spec.class_order == REORDERED
    # atelectasis, edema, cardiomegaly, consolidation, effusion -> canonical
    assert to_canonical(spec, np.array([[0, 3, 1, 2, 4]])).tolist() == [[0, 1, 2, 3, 4]]


def test_wants_uint8_of_its_size(tmp_path: Path) -> None:
    backbone = load(make_bundle(tmp_path))
    with pytest.raises(ValueError, match=r"want uint8 \[N, 64, 64\]"):
        backbone.predict(GREY[:, :32])


def test_a_changed_graph_is_refused(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    (tmp_path / "tiny_0.onnx").write_bytes(tiny_graph(seed=9))
    assert "sha256" in refused(bundle)


def test_a_file_that_is_not_a_graph_is_refused(tmp_path: Path) -> None:
    detail = refused(bundle_of(tmp_path, b"not a graph"))
    assert "odd.onnx" in detail
    assert "expected an ONNX graph" in detail


def test_external_data_is_refused_even_when_the_file_is_there(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(tiny_graph())
    onnx.save_model(
        model, str(tmp_path / "odd.onnx"), save_as_external_data=True, size_threshold=0, location="w.bin"
    )
    detail = refused(bundle_of(tmp_path, (tmp_path / "odd.onnx").read_bytes()))
    assert "external data" in detail


def graph_giving(probabilities: np.ndarray, maps: np.ndarray, input_type: int = TensorProto.UINT8) -> bytes:
    """A graph with these outputs, whatever the images are."""
    nodes = [
        helper.make_node("Identity", ["p"], ["probabilities"]),
        helper.make_node("Identity", ["m"], ["maps"]),
    ]
    return as_model(nodes, {"p": probabilities, "m": maps}, input_type)


GOOD_P, GOOD_M = np.zeros((2, 5), np.float32), np.zeros((2, 5, 7, 7), np.float32)


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (graph_giving(GOOD_P, GOOD_M, TensorProto.FLOAT), "one input, uint8 [N, H, W]"),
        (graph_giving(GOOD_P[:, :4], GOOD_M), "probabilities float32 [N, 5] in 0..1"),
        (graph_giving(GOOD_P[:1], GOOD_M), "probabilities float32 [N, 5] in 0..1"),
        (graph_giving(GOOD_P * np.nan, GOOD_M), "probabilities float32 [N, 5] in 0..1"),
        (graph_giving(GOOD_P + 3, GOOD_M), "probabilities float32 [N, 5] in 0..1"),
        (graph_giving(GOOD_P, GOOD_M[0]), "maps float16 or float32 [N, 5, h, w], finite"),
        (graph_giving(GOOD_P, GOOD_M + np.inf), "maps float16 or float32 [N, 5, h, w], finite"),
    ],
)
def test_a_graph_that_answers_otherwise_is_refused(tmp_path: Path, graph: bytes, expected: str) -> None:
    detail = refused(bundle_of(tmp_path, graph))
    assert f"expected {expected}" in detail
    assert "odd.onnx" in detail


def test_a_good_constant_graph_is_accepted(tmp_path: Path) -> None:
    assert load(bundle_of(tmp_path, graph_giving(GOOD_P, GOOD_M))).provider == CPU


def test_without_a_device_the_cpu_serves_unless_that_is_not_wanted(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    if CUDA in ort.get_available_providers():
        pytest.skip("this build of ONNX Runtime has CUDA")
    assert Backbone(bundle, bundle.manifest.backbones[0], [CUDA, CPU]).provider == CPU
    with pytest.raises(CodedError) as caught:
        Backbone(bundle, bundle.manifest.backbones[0], [CUDA], cpu_fallback=False)
    assert caught.value.code is Code.UNAVAILABLE


def test_the_runtime_sends_no_telemetry(tmp_path: Path) -> None:
    (tmp_path / "graph.onnx").write_bytes(tiny_graph())
    home = tmp_path / "home"  # where its telemetry would keep a device id and what waits to be sent
    home.mkdir()
    code = "import sys; from model_worker.backbone import ort; ort.InferenceSession(sys.argv[1])"
    kept = {k: v for k, v in os.environ.items() if k not in {"ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"}}
    subprocess.run(
        [sys.executable, "-c", code, tmp_path / "graph.onnx"], env={**kept, "HOME": str(home)}, check=True
    )
    assert not list(home.iterdir())
