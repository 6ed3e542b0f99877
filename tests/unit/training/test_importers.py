"""Weights made by other libraries give, as a bundle's graph, what those libraries say."""

import hashlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training extra (torch) is not installed")

from torch import nn  # noqa: E402

from thorax.findings import FINDINGS  # noqa: E402
from training.export import export_graph, run_graph  # noqa: E402
from training.importers.described import Description, from_module, load_described, read_description  # noqa: E402
from training.importers.described_onnx import load_described_graph  # noqa: E402
from training.importers.resnet import ResNet50  # noqa: E402
from training.importers.torchxrayvision import OUTPUTS as XRV_OUTPUTS  # noqa: E402
from training.importers.torchxrayvision import WEIGHTS, load_published  # noqa: E402

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
    with pytest.raises(ValueError, match=r"expected conv to be a Linear; it is a Conv2d\. Linear are: fc"):
        from_module(Small().eval(), describe(head="conv"))
    with pytest.raises(ValueError, match="final_map names no module 'layer4'; there are conv, fc"):
        from_module(Small().eval(), describe(final_map="layer4"))
    with pytest.raises(ValueError, match="expected outputs below 6"):
        from_module(Small().eval(), describe(outputs=dict.fromkeys(FINDINGS, 9)))


MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def test_each_channel_may_have_its_own_mean_and_deviation() -> None:
    network = Small().eval()
    graph = export_graph(from_module(network, describe(mean=MEAN, std=STD)), 64)
    grey = torch.from_numpy(IMAGES).float()[:, None].expand(-1, 3, -1, -1) / 255
    with torch.inference_mode():
        channels = (grey - torch.tensor(MEAN).reshape(1, 3, 1, 1)) / torch.tensor(STD).reshape(1, 3, 1, 1)
        expected = torch.sigmoid(network(channels))[:, [OUTPUTS[f] for f in FINDINGS]].numpy()
    assert np.allclose(run_graph(graph, IMAGES)[0], expected, atol=1e-4)


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
    for field, said in (("final_map", f"the last are: .*{final}"), ("head", r"matrices are: fc\.weight")):
        with pytest.raises(ValueError, match=said):
            load_described_graph(replace(described, **{field: "nothing"}), tmp_path)
    normalised = replace(described, mean=MEAN, std=STD)
    mine = run_graph(export_graph(from_module(network, describe(mean=MEAN, std=STD)), 64), IMAGES)
    assert np.allclose(run_graph(load_described_graph(normalised, tmp_path), IMAGES)[0], mine[0], atol=1e-4)
    probabilities, maps = run_graph(load_described_graph(described, tmp_path), IMAGES)
    same = run_graph(export_graph(from_module(network, describe()), 64), IMAGES)
    assert np.allclose(probabilities, expected(network), atol=1e-4)
    assert np.allclose(maps, same[1], atol=1e-5)


def test_a_description_without_a_finding_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text("name: x\nmodule: a:b\nfinal_map: c\nhead: d\noutputs: {edema: 0}\n")
    with pytest.raises(
        ValueError, match=r"net\.yaml: expected an output for atelectasis; found outputs for edema"
    ):
        read_description(path)
    five = "{" + ", ".join(f"{finding}: {i}" for i, finding in enumerate(FINDINGS)) + "}"
    path.write_text(
        f"name: x\nmodule: a:b\nfinal_map: c\nhead: d\noutputs: {five}\nmean: [0.5]\nstd: [0.5]\n"
    )
    with pytest.raises(ValueError, match="a number for each of 3 channels; found 1 and 1"):
        read_description(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("name: My-Net", "name: "),
        ("scale: 1/255", "scale: "),
        ("chanels: 1", "chanels: "),
        ("size: 4096", "size: "),
        ("outputs: {edema: -1}", "outputs.edema: "),
    ],
)
def test_a_description_that_says_something_else_is_one_sentence(tmp_path: Path, line: str, said: str) -> None:
    key = line.partition(":")[0]
    lines = ["name: x", "module: a:b", "final_map: c", "head: d", "outputs: {edema: 0}"]
    path = tmp_path / "net.yaml"
    path.write_text("\n".join([*(kept for kept in lines if not kept.startswith(key)), line]))
    with pytest.raises(ValueError, match="expected a description of a classifier") as refused:
        read_description(path)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("module", ["not_there:build", "torch.nn:NotThere", "torch.nn:Linear"])
def test_a_module_that_makes_no_network_is_one_sentence(tmp_path: Path, module: str) -> None:
    with pytest.raises(ValueError, match=f"expected {module} to make a network"):
        load_described(replace(describe(), module=module, arguments={"classes": 14}), tmp_path)


def library() -> ModuleType:
    """TorchXRayVision, if it can be imported: its torchvision may not fit the torch that is here."""
    try:
        import torchxrayvision
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"TorchXRayVision is not here: {error}")
    return torchxrayvision


def random_resnet() -> ResNet50:
    """Random weights, and batch norms that leave something to see after fifty layers."""
    torch.manual_seed(0)
    network = ResNet50(18).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.3, 0.7)
            module.running_var.uniform_(0.5, 2)
    return network


def published(name: str, size: int, path: Path, sha256: str = "") -> np.ndarray:
    """What the bundle's graph says of two images, of the weights that lie at `path`."""
    images = np.random.default_rng(0).integers(0, 256, (2, size, size), dtype=np.uint8)
    return run_graph(export_graph(load_published(name, path, sha256), size), images)[0]


def theirs(network: nn.Module, size: int) -> np.ndarray:
    """What TorchXRayVision says of them."""
    images = np.random.default_rng(0).integers(0, 256, (2, size, size), dtype=np.uint8)
    grey = torch.from_numpy(images).float()[:, None] / 255 * 2048 - 1024
    with torch.inference_mode():
        answered = network(grey).numpy()
    names = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion"]
    return answered[:, [network.targets.index(name) for name in names]]


def test_torchxrayvisions_resnet_from_the_file_it_publishes(tmp_path: Path) -> None:
    xrv, name = library(), "resnet50-res512-all"
    path = tmp_path / WEIGHTS[name].pinned.name
    torch.save(random_resnet().state_dict(), path)
    network = xrv.models.ResNet(weights=name, cache_dir=str(tmp_path))
    expected = theirs(network, 512)
    assert np.ptp(expected) > 0.01
    assert np.allclose(published(name, 512, path), expected, atol=1e-4)


def test_torchxrayvisions_densenet_from_the_file_it_publishes(tmp_path: Path) -> None:
    xrv, name = library(), "densenet121-res224-nih"
    path = tmp_path / WEIGHTS[name].pinned.name
    torch.manual_seed(0)
    torch.save(xrv.models.DenseNet(weights=None), path)
    expected = theirs(xrv.models.DenseNet(weights=name, cache_dir=str(tmp_path)), 224)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert np.allclose(published(name, 224, path, digest), expected, atol=1e-4)


def test_torchxrayvisions_own_table_says_the_same() -> None:
    theirs = library().models.model_urls
    for name, (pinned, points) in WEIGHTS.items():
        assert theirs[name]["weights_url"] == pinned.url
        assert [theirs[name]["op_threshs"][output] for output in XRV_OUTPUTS.values()] == list(points)
        assert theirs[name]["labels"][XRV_OUTPUTS["edema"]] == "Edema"


def test_a_resnet_needs_only_torch(tmp_path: Path) -> None:
    path, network = tmp_path / "resnet.pt", random_resnet()
    torch.save(network.state_dict(), path)
    grey = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 512, 512), dtype=np.uint8)).float()
    with torch.inference_mode():
        p = torch.sigmoid(network(grey[:, None] / 255 * 2048 - 1024)).numpy()[:, list(XRV_OUTPUTS.values())]
    t = np.array(WEIGHTS["resnet50-res512-all"].points)
    expected = np.where(p < t, p / 2 / t, 1 - (1 - p) / 2 / (1 - t))
    assert np.allclose(published("resnet50-res512-all", 512, path), expected, atol=1e-4)


def test_bad_weights_of_torchxrayvision_are_told_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save({"fc.weight": torch.zeros(5, 2048)}, path)
    with pytest.raises(ValueError, match=r"net\.pt: expected a state dict of ResNet-50 with 18 outputs; "):
        load_published("resnet50-res512-all", path)
    with pytest.raises(ValueError, match=r"net\.pt: expected the sha256 0a, found"):
        load_published("resnet50-res512-all", path, "0a")
    with pytest.raises(ValueError, match=r"net\.pt is a pickled module: .* --sha256"):
        load_published("densenet121-res224-nih", path)
    with pytest.raises(ValueError, match=r"net\.pt: expected the sha256 56524913dd16.*, found"):
        load_published("densenet121-res224-all", path)  # pinned in the table
    with pytest.raises(ValueError, match="there are densenet121-res224-all, "):
        load_published("densenet121-res224-rsna")
    with pytest.raises(
        ValueError, match=r"names no digest\. Fetch it, put it at .*state\.pt, and say by --sha256"
    ):
        load_published("resnet50-res512-all")
    state = random_resnet().state_dict()
    state["fc.bias"][3] = torch.nan
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"net\.pt: expected finite weights"):
        load_published("resnet50-res512-all", path)
