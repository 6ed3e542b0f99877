"""The exported graph says what torch says, and its maps are Grad-CAM's."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training extra (torch) is not installed")

from torch import nn  # noqa: E402

from training.backbones import Classifier, build_classifier  # noqa: E402
from training.backbones.heads import HEADS  # noqa: E402
from training.bundle_random import set_batch_norms  # noqa: E402
from training.export import Explained, export_graph, max_gap, run_graph, run_torch  # noqa: E402
from training.quantise import in_blocks, quantise, store_int8  # noqa: E402

PARAMETERS = {
    "densenet121": 7_037_504,
    "densenet169": 12_642_880,
    "densenet201": 18_321_984,
    "xception": 20_861_480,
}
"""Keras Applications' counts without top, three input channels and the statistics of batch norms included."""


def small(head: str) -> Classifier:
    body = nn.Sequential(
        nn.Conv2d(1, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU()
    )
    classifier = Classifier(body, HEADS[head](16), 1 / 255, 0.0)
    for _ in range(3):
        set_batch_norms(classifier, 32)
    return classifier.eval()


@pytest.mark.parametrize("head", list(HEADS))
def test_maps_equal_those_of_autograd(head: str) -> None:
    torch.manual_seed(1)
    classifier = small(head)
    images = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    maps = run_torch(Explained(classifier).eval(), images)[1]
    final = classifier.final_map(images).detach().requires_grad_()
    logits = classifier.head(final.mean((2, 3)))
    for finding in range(5):
        (gradient,) = torch.autograd.grad(logits[:, finding].sum(), final, retain_graph=True)
        expected = torch.relu((gradient.mean((2, 3), keepdim=True) * final).sum(1)).detach().numpy()
        assert np.allclose(maps[:, finding], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("head", list(HEADS))
def test_the_graph_answers_as_torch_does_for_any_batch(head: str) -> None:
    classifier = small(head)
    graph = export_graph(classifier, 32)
    for n in (1, 5):
        images = torch.randint(0, 256, (n, 32, 32), dtype=torch.uint8)
        answered = run_graph(graph, images.numpy())
        assert [a.shape for a in answered] == [(n, 5), (n, 5, 7, 7)]
        assert max_gap(answered, run_torch(Explained(classifier).eval(), images)) < 1e-4


def test_a_full_size_graph_has_no_transpose_and_int8_storage_costs_little() -> None:
    torch.manual_seed(0)
    classifier = build_classifier("densenet121")
    set_batch_norms(classifier, 64)
    graph = export_graph(classifier, 64)
    assert "Transpose" not in {node.op_type for node in graph.graph.node}
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64), dtype=np.uint8)
    exact = run_graph(graph, images)
    for block, smaller in ((None, 3.5), (32, 3.2)):
        stored = store_int8(graph, block)
        assert stored.ByteSize() < graph.ByteSize() / smaller
        after = run_graph(stored, images)
        assert np.abs(after[0] - exact[0]).max() < 0.05  # random weights: trained ones are held to far less


def test_blocks_are_equal_runs_of_a_channel() -> None:
    weights = np.arange(4 * 96, dtype=np.float32).reshape(4, 96, 1, 1)
    assert in_blocks(weights, 32).shape == (12, 32)
    assert in_blocks(weights, 40).shape == (8, 48)
    assert in_blocks(weights, 500).shape == (4, 96)
    assert (in_blocks(weights, 32)[3] == weights[1, :32, 0, 0]).all()


def test_blocks_lose_less() -> None:
    weights = np.random.default_rng(0).normal(size=(8, 512)).astype(np.float32)
    errors = []
    for runs in (weights, in_blocks(weights, 32)):
        values, scales = quantise(runs, 0)
        errors.append(float(np.linalg.norm(values * scales[:, None] - runs)))
    assert errors[1] < 0.75 * errors[0]


def test_quantised_weights_are_within_half_a_step() -> None:
    weights = np.random.default_rng(0).normal(size=(6, 4, 3, 3)).astype(np.float32)
    values, scales = quantise(weights, 0)
    back = values * scales[:, None, None, None]
    inside = np.abs(weights) <= 127 * scales[:, None, None, None]
    assert (np.abs(back - weights) <= 0.5001 * scales[:, None, None, None])[inside].all()
    assert np.linalg.norm(back - weights) < 0.02 * np.linalg.norm(weights)


@pytest.mark.parametrize("name", list(PARAMETERS))
def test_architectures_have_the_weights_of_keras(name: str) -> None:
    with torch.device("meta"):
        body = build_classifier(name).body
    stem = next(m for m in body.modules() if isinstance(m, nn.Conv2d))
    statistics = sum(m.num_features * 2 for m in body.modules() if isinstance(m, nn.BatchNorm2d))
    assert (
        sum(p.numel() for p in body.parameters()) + 2 * stem.weight.numel() + statistics == PARAMETERS[name]
    )


def test_an_unknown_backbone_is_reported() -> None:
    with pytest.raises(ValueError, match="No backbone is called resnet"):
        build_classifier("resnet")
