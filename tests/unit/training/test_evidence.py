# ruff: noqa: E402 (torch may be missing)
"""Maps of local evidence in small: early layers kept, a head that learns where, a graph with new maps and old probabilities."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from onnx import helper, numpy_helper

from training.evidence.early import Early, EarlyLayers
from training.evidence.graft import graft
from training.evidence.head import EvidenceHead
from training.evidence.learn import Kept, Plan, group_priors, judge, learn, seen, shares
from training.export import run_graph
from training.fleet.corpus import Corpus
from training.fleet.reopen import build_teacher

EDGE, N = 64, 240


@pytest.fixture
def graph() -> onnx.ModelProto:
    """`fine` is the image in 8x8 tiles (mean), `coarse` in 16x16; probabilities and maps of their own."""

    def pool(source: str, target: str, edge: int) -> onnx.NodeProto:
        return helper.make_node(
            "AveragePool", [source], [target], kernel_shape=[edge] * 2, strides=[edge] * 2
        )

    five = numpy_helper.from_array(np.linspace(0.1, 0.5, 5, dtype=np.float32).reshape(5, 1, 1, 1), "five")
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=1),
        helper.make_node("Unsqueeze", ["float", "one"], ["grey"]),
        helper.make_node("Div", ["grey", "most"], ["scaled"]),
        pool("scaled", "fine", 8),
        pool("fine", "coarse", 2),
        helper.make_node("Conv", ["coarse", "five"], ["maps"]),
        helper.make_node("ReduceMean", ["maps"], ["probabilities"], axes=[2, 3], keepdims=0),
    ]
    values = [five, numpy_helper.from_array(np.array([1]), "one"), numpy_helper.from_array(np.float32(255), "most")]  # fmt: skip
    images = helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["batch", EDGE, EDGE])
    outputs = [
        helper.make_tensor_value_info("probabilities", 1, ["batch", 5]),
        helper.make_tensor_value_info("maps", 1, ["batch", 5, 4, 4]),
    ]
    made = helper.make_graph(nodes, "g", [images], outputs, values)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _corpus() -> Corpus:
    """Dark noise; a white tile anywhere is the first finding. The source `ward` has it far more often."""
    rng = np.random.default_rng(0)
    labels = np.zeros((N, 5), np.float32)
    source = np.array(["ward", "clinic"])[np.arange(N) % 2]
    labels[:, 0] = rng.random(N) < np.where(source == "ward", 0.8, 0.2)
    pixels = rng.integers(0, 60, (N, EDGE, EDGE), dtype=np.uint8)
    for row in np.flatnonzero(labels[:, 0]):
        y, x = 16 * rng.integers(0, 4, 2)
        pixels[row, y : y + 16, x : x + 16] = 255
    part, name = np.array(["train", "train", "val"])[np.arange(N) % 3], np.arange(N).astype(str)
    return Corpus(
        pixels, labels, np.zeros((N, 0), np.float32), np.zeros(N, np.int8), part, source, name, name
    )


def _kept(graph: onnx.ModelProto, corpus: Corpus, folder: Path) -> tuple[EarlyLayers, Early]:
    layers = EarlyLayers(graph, "fine", "coarse")
    steps = layers.steps(corpus.pixels)
    return layers, layers.keep(np.array_split(corpus.pixels, 7), N, steps, folder / "plain")


def test_early_maps_are_kept_and_opened_again(graph: onnx.ModelProto, tmp_path: Path) -> None:
    corpus = _corpus()
    layers, early = _kept(graph, corpus, tmp_path)
    again = layers.keep(iter(()), N, early.steps, tmp_path / "plain")
    fine, coarse = layers(corpus.pixels)
    for exact, kept, step in zip((fine, coarse), again.maps, again.steps, strict=True):
        assert np.abs(kept * step - exact).max() < 2 / 127


def test_a_head_finds_the_place_from_labels_of_whole_images(graph: onnx.ModelProto, tmp_path: Path) -> None:
    corpus = _corpus()
    layers, early = _kept(graph, corpus, tmp_path)
    said: list[str] = []
    head = learn(corpus, Kept([], early), Plan(epochs=60, rate=2e-2, batch=32), said.append)
    rows = corpus.rows("val")[corpus.labels[corpus.rows("val"), 0] == 1]
    with torch.no_grad():
        shown = head(*map(torch.from_numpy, layers(corpus.pixels[rows])))[:, 0].flatten(1)
    white = corpus.pixels[rows].reshape(-1, 4, 16, 4, 16).mean((2, 4)).reshape(-1, 16)
    assert (shown.argmax(1).numpy() == white.argmax(1)).mean() > 0.9
    assert said[-1].startswith("step 300 of 300")
    assert "validation AUC 1.000" in judge(head, corpus, early)
    with torch.no_grad():
        logits = torch.cat([logits for logits, _ in seen(head, early, corpus.rows("val"))])
        mean = torch.sigmoid(logits + head.prior).mean(0)
    np.testing.assert_allclose(mean, shares(corpus.labels[corpus.rows("val")]), atol=1e-3)


def test_a_group_starts_from_its_own_share() -> None:
    corpus = _corpus()
    rows = corpus.rows("train")
    odds = group_priors(corpus, rows)
    ward = corpus.source[rows] == "ward"
    assert odds[ward, 0].min() > 0 > odds[~ward, 0].max()
    assert len(odds[ward].unique(dim=0)) == 1


def test_a_grafted_graph_has_the_old_probabilities_and_the_heads_maps(graph: onnx.ModelProto) -> None:
    images = _corpus().pixels[:3]
    head = EvidenceHead(1, 1).eval()
    new = graft(graph, head, "fine", "coarse", images)
    assert [output.name for output in new.graph.output] == ["probabilities", "maps"]
    probabilities, maps = run_graph(new, images)
    assert np.array_equal(probabilities, run_graph(graph, images)[0])
    assert maps.shape == (3, 5, 4, 4)
    assert (maps >= 0).all() and (maps <= 1).all()


def test_a_grafted_network_can_be_trained_on() -> None:
    path = Path(__file__).parents[3] / "models/default/xception.onnx"
    images = np.random.default_rng(0).integers(0, 256, (2, 160, 160), dtype=np.uint8)
    with torch.no_grad():
        answers = torch.sigmoid(build_teacher(path, "xception")(torch.from_numpy(images)))
    assert np.allclose(answers, run_graph(onnx.load(path), images)[0], atol=1e-4)


def test_a_tensor_that_the_graph_lacks_is_named(graph: onnx.ModelProto) -> None:
    with pytest.raises(ValueError, match="no tensor 'deep'"):
        EarlyLayers(graph, "fine", "deep")
