"""Weights made by other libraries give, as a bundle's graph, what those libraries say."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training extra (torch) is not installed")

from torch import nn  # noqa: E402

from thorax.findings import FINDINGS  # noqa: E402
from training.export import export_graph, run_graph  # noqa: E402
from training.importers.described import Description, from_module, read_description  # noqa: E402
from training.importers.described_onnx import load_described_graph  # noqa: E402

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 64, 64), dtype=np.uint8)
OUTPUTS = {finding: number for number, finding in enumerate(reversed(FINDINGS), 1)}


class Small(nn.Module):
    """Six outputs over an eight-channel map, as some stranger's network would be."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 5, stride=4)
        self.fc = nn.Linear(8, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))


def describe(**more: object) -> Description:
    fields = {
        "name": "small",
        "outputs": OUTPUTS,
        "final_map": "conv",
        "head": "fc",
        "relu": True,
        "size": 64,
    }
    return Description(**{**fields, "module": "x:y", **more})


def expected(network: nn.Module) -> np.ndarray:
    grey = torch.from_numpy(IMAGES).float()[:, None].expand(-1, 3, -1, -1) / 255
    with torch.inference_mode():
        return torch.sigmoid(network(grey))[:, [OUTPUTS[f] for f in FINDINGS]].numpy()


def test_a_described_torch_network() -> None:
    network = Small().eval()
    graph = export_graph(from_module(network, describe()), 64)
    probabilities, maps = run_graph(graph, IMAGES)
    assert np.allclose(probabilities, expected(network), atol=1e-4)
    assert maps.shape == (2, 5, 15, 15)


def test_a_wrong_description_is_refused() -> None:
    with pytest.raises(ValueError, match="from the network's logits"):
        from_module(Small().eval(), describe(relu=False))
    with pytest.raises(ValueError, match="expected conv to be a Linear"):
        from_module(Small().eval(), describe(head="conv"))


def test_a_described_onnx_graph_gives_the_same_as_the_torch_network(tmp_path: Path) -> None:
    import onnx

    network = Small().eval()
    path = tmp_path / "small.onnx"
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {0: "n"}, "y": {0: "n"}}}
    torch.onnx.export(
        network, (torch.zeros(1, 3, 64, 64),), str(path), dynamo=False, opset_version=17, **names
    )
    nodes = onnx.load(path).graph.node
    final = next(node.output[0] for node in nodes if node.op_type == "Relu")
    described = describe(module="", graph="small.onnx", final_map=final, head="fc.weight", logits="y")
    probabilities, maps = run_graph(load_described_graph(described, tmp_path), IMAGES)
    same = run_graph(export_graph(from_module(network, describe()), 64), IMAGES)
    assert np.allclose(probabilities, expected(network), atol=1e-4)
    assert np.allclose(maps, same[1], atol=1e-5)


def test_a_description_with_a_missing_finding_is_told(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text("name: x\nmodule: a:b\nfinal_map: c\nhead: d\noutputs: {edema: 0}\n")
    with pytest.raises(ValueError, match=r"net\.yaml: expected an output for atelectasis"):
        read_description(path)


def test_torchxrayvision() -> None:
    xrv = pytest.importorskip("torchxrayvision", reason="TorchXRayVision is not installed")
    from training.importers.torchxrayvision import load_network

    network = xrv.models.DenseNet(weights=None).eval()
    network.op_threshs = torch.linspace(0.2, 0.6, 18)
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224), dtype=np.uint8)
    theirs = torch.from_numpy(images).float()[:, None] / 255 * 2048 - 1024
    with torch.inference_mode():
        answered = network(theirs).numpy()
    names = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion"]
    probabilities = run_graph(export_graph(load_network(network, "xrv"), 224), images)[0]
    assert np.allclose(probabilities, answered[:, [network.targets.index(n) for n in names]], atol=1e-4)
