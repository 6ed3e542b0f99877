"""The deep check: every way in which a bundle can be bad is told in one sentence, with the file and what was expected."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from tests.factories.bundles import as_model, make_bundle, tiny_graph, write_backbone

from model_worker.backbone import CPU, Backbone
from model_worker.check_bundle import check_bundle
from thorax.bundle import MANIFEST, InputSpec, Manifest, load_bundle
from thorax.commands import checks, cli
from thorax.errors import CodedError

node = helper.make_node


def bundle_of(folder: Path, graph: bytes) -> Path:
    """A bundle whose only backbone is this graph, with a right digest."""
    bundle = make_bundle(folder, ["odd"])
    spec = write_backbone(folder, "odd", graph, spec=InputSpec(size=64))
    fields = {**bundle.manifest.model_dump(mode="json"), "backbones": [spec.model_dump(mode="json")]}
    (folder / MANIFEST).write_text(Manifest.model_validate(fields).model_dump_json())
    return folder


def tiny(change: Callable[[onnx.ModelProto], None]) -> bytes:
    """The tiny graph, changed."""
    model = onnx.load_model_from_string(tiny_graph())
    change(model)
    return bytes(model.SerializeToString())


def with_weight(value: float) -> bytes:
    """The tiny graph with one of its weights replaced."""

    def change(model: onnx.ModelProto) -> None:
        (gain,) = (t for t in model.graph.initializer if t.name == "gain")
        values = numpy_helper.to_array(gain).copy()
        values[0, 2] = value
        gain.CopyFrom(numpy_helper.from_array(values, "gain"))

    return tiny(change)


def with_hidden_nan() -> bytes:
    """NaN in a constant of a node."""

    def change(model: onnx.ModelProto) -> None:
        hidden = numpy_helper.from_array(np.array([np.nan], np.float32), "hidden")
        model.graph.node.append(node("Constant", [], ["unused"], value=hidden))

    return tiny(change)


def with_batch(size: int) -> bytes:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = size

    return tiny(change)


def giving(p: str, m: str, /, **constants: np.ndarray) -> bytes:
    """A graph whose outputs come from the mean grey of each image, [N, 1, 1], by these two operations."""
    nodes = [
        node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        node("ReduceMean", ["float", "area"], ["mean"], keepdims=1),
        node(p, ["mean", "p"], ["wide"]),
        node("Squeeze", ["wide", "last"], ["probabilities"]),
        node("Unsqueeze", ["mean", "last2"], ["cell"]),
        node(m, ["cell", "m"], ["maps"]),
    ]
    small = np.full((1, 5, 1), 1e-3, np.float32)
    fixed = {"area": np.array([1, 2]), "last": np.array([2]), "last2": np.array([3])}
    return as_model(nodes, {**fixed, "p": small, "m": small[..., None], **constants})


def batch_mean() -> bytes:
    """A graph that answers for the whole batch alike."""
    nodes = [
        node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        node("ReduceMean", ["float", "area"], ["mean"], keepdims=1),
        node("ReduceMean", ["mean", "first"], ["of_batch"], keepdims=1),
        node("Mul", ["mean", "zero"], ["nothing"]),
        node("Add", ["of_batch", "nothing"], ["shared"]),
        node("Mul", ["shared", "p"], ["wide"]),
        node("Squeeze", ["wide", "last"], ["probabilities"]),
        node("Unsqueeze", ["wide", "last2"], ["maps"]),
    ]
    constants = {"area": np.array([1, 2]), "first": np.array([0]), "zero": np.float32(0)}
    constants |= {"p": np.full((1, 5, 1), 1e-3, np.float32), "last": np.array([2]), "last2": np.array([3])}
    return as_model(nodes, constants)


def said(folder: Path) -> str:
    with pytest.raises(CodedError) as caught:
        list(check_bundle(folder))
    assert "\n" not in caught.value.detail
    return caught.value.detail


def test_a_good_bundle_is_described(tmp_path: Path) -> None:
    make_bundle(tmp_path, 2)
    (tmp_path / "notes.txt").write_text("x")
    assert list(check_bundle(tmp_path)) == [
        "tiny_0.onnx: uint8 [N, 64, 64] -> probabilities [N, 5], maps [N, 5, 7, 7]",
        "tiny_1.onnx: uint8 [N, 64, 64] -> probabilities [N, 5], maps [N, 5, 5, 5]",
        "notes.txt: not named by the manifest, and not used",
    ]


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (b"not a graph", "expected an ONNX graph"),
        (with_weight(np.nan), "expected finite weights; found NaN or infinity in gain"),
        (with_weight(np.inf), "expected finite weights; found NaN or infinity in gain"),
        (with_hidden_nan(), "expected finite weights; found NaN or infinity in hidden"),
        (with_batch(2), "expected any number N of images in a run; found always 2"),
        (giving("Mul", "Mul"), ""),
        (giving("Mul", "Sub"), "maps [3, 5, h, w] for 3 images, finite as float16 and not negative"),
        (giving("Mul", "Mul", p=np.ones((1, 5, 1), np.float32)), "expected probabilities [3, 5] in 0..1"),
        (giving("Div", "Mul", p=np.zeros((1, 5, 1), np.float32)), "expected probabilities float32 [N, 5] in 0..1"),
        (giving("Mul", "Mul", p=np.zeros((1, 4, 1), np.float32)), "expected probabilities float32 [N, 5] in 0..1"),
        (giving("Mul", "Mul", m=np.full((1, 5, 1, 1), 1e9, np.float32)), "finite as float16"),
        (batch_mean(), "expected an image's probabilities not to depend on its batch"),
        (tiny(lambda model: model.graph.output.pop()), "expected outputs named probabilities and maps"),
    ],
)  # fmt: skip
def test_each_fault_of_a_graph_is_reported_in_one_sentence(
    tmp_path: Path, graph: bytes, expected: str
) -> None:
    folder = bundle_of(tmp_path, graph)
    if not expected:
        assert len(list(check_bundle(folder))) == 1
        return
    detail = said(folder)
    assert expected in detail
    assert detail.startswith(f"{tmp_path / 'odd.onnx'}: expected ")


def test_external_data_is_refused_whatever_the_link(tmp_path: Path) -> None:
    """ONNX Runtime refuses `..` and symbolic links, but follows a hard link."""
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "bundle"
    elsewhere.mkdir()
    model = onnx.load_model_from_string(tiny_graph())
    path = elsewhere / "odd.onnx"
    onnx.save_model(model, str(path), save_as_external_data=True, size_threshold=0, location="w.bin")
    bundle_of(folder, path.read_bytes())
    os.link(elsewhere / "w.bin", folder / "w.bin")
    assert "odd.onnx: expected a self-contained graph; found external data" in said(folder)


@pytest.mark.parametrize("odd", [b"\x12\x05w.bin\x0a\x08location", b"\x0a\x88\x00location\x12\x04w.bi"])
def test_a_location_that_is_written_in_an_odd_way_is_found_as_well(tmp_path: Path, odd: bytes) -> None:
    """Protobuf lets fields stand in any order, and a length be longer than it need be."""
    path = tmp_path / "usual.onnx"
    model = onnx.load_model_from_string(tiny_graph())
    onnx.save_model(model, str(path), save_as_external_data=True, size_threshold=0, location="w.bin")
    usual = b"\x0a\x08location\x12\x05w.bin"
    graph = path.read_bytes()
    assert usual in graph and len(usual) == len(odd)
    folder = bundle_of(tmp_path / "bundle", graph.replace(usual, odd))
    assert "found external data" in said(folder)
    bundle = load_bundle(folder)
    with pytest.raises(CodedError, match="found external data"):
        Backbone(bundle, bundle.manifest.backbones[0], [CPU])


def test_a_wrong_manifest_is_refused(tmp_path: Path) -> None:
    make_bundle(tmp_path, 2)
    (tmp_path / "tiny_1.onnx").write_bytes(tiny_graph(seed=7))
    assert "tiny_1.onnx: its sha256 is " in said(tmp_path)
    (tmp_path / "tiny_1.onnx").unlink()
    assert "tiny_1.onnx: No such file" in said(tmp_path)
    text = (tmp_path / MANIFEST).read_text()
    (tmp_path / MANIFEST).write_text(text.replace('"sha256": "', '"sha256": "zz'))
    assert "manifest.json: backbones.0.sha256: String should match pattern" in said(tmp_path)
    (tmp_path / MANIFEST).write_text("{")
    assert "manifest.json: manifest: Invalid JSON" in said(tmp_path)
    (tmp_path / MANIFEST).unlink()
    assert "manifest.json: No such file" in said(tmp_path)


def run(*words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "thorax.commands.cli", "bundle", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_the_command_opens_the_graphs(tmp_path: Path) -> None:
    code, told = run("check", str(bundle_of(tmp_path / "bad", with_weight(np.nan))))
    assert (code, told.count("\n")) == (1, 1)
    assert "odd.onnx: expected finite weights" in told
    make_bundle(tmp_path / "good", 1)
    code, told = run("check", str(tmp_path / "good"))
    assert code == 0
    assert "tiny_0.onnx: uint8 [N, 64, 64]" in told
    code, told = run("check", str(tmp_path / "none"))
    assert code == 1
    assert "none/manifest.json: No such file" in told


def test_without_the_model_worker_the_tool_says_what_it_did_not_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    importlib = ModuleType("importlib")
    importlib.util = ModuleType("util")  # type: ignore[attr-defined]
    importlib.util.find_spec = lambda _: None  # type: ignore[attr-defined]
    monkeypatch.setattr(checks, "importlib", importlib)
    make_bundle(tmp_path, 1)
    done = CliRunner().invoke(cli.cli, ["bundle", "check", str(tmp_path)])
    assert done.exit_code == 0
    assert "The graphs were not opened" in done.output
