"""A small run from labels to a bundle that serves: two tiny epochs, resumed in between, on 64 made-up images."""

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training extra (torch) is not installed")
pytest.importorskip("tqdm", reason="the training extra (tqdm) is not installed")

from thorax.bundle import load_bundle  # noqa: E402
from thorax.findings import FINDINGS  # noqa: E402
from training import assemble, distil, train  # noqa: E402
from training.backbones.densenet import DenseNet  # noqa: E402
from training.checkpoint import load_checkpoint  # noqa: E402
from training.schedule import one_cycle, parse_plan  # noqa: E402
from training.transplant import transplant  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    lines = ["image," + ",".join(FINDINGS) + ",patient_id,view,age,sex"]
    for i in range(64):
        label = i % 2
        picture = rng.integers(0, 128, (48, 48)) + 100 * label
        cv2.imwrite(str(folder / f"{i}.png"), picture.astype(np.uint8))
        lines.append(
            f"{i}.png,{label},{label},{1 - label},{label},{label},{i},{'AP' if i % 3 else 'PA'},50,M"
        )
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_from_labels_to_a_bundle(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    said = {"data": data / "labels.csv", "images": data}
    options = train.Options("densenet121", out=tmp_path, plan="32:2", rate=1e-3, batch=8, **said)
    run = train.Run(options)
    run._epoch(0, run.phases[0], 0)
    run.save()
    again = train.Run(options)
    assert again.step == run.step == run.phases[0].steps
    assert again.train() > 0
    assert load_checkpoint(tmp_path / "densenet121.ckpt").step == again.total

    best = tmp_path / "densenet121.best.ckpt"
    common = ["--data", str(said["data"]), "--images", str(data)]
    teacher = tmp_path / "teacher.npz"
    monkeypatch.setattr("sys.argv", ["distil", str(best), *common, "--size", "32", "--out", str(teacher)])
    distil.main()
    student = train.Options(
        "densenet121", out=tmp_path / "student", plan="32:0.5", batch=8, teacher=teacher, **said
    )
    assert train.Run(student).train() > 0

    out = tmp_path / "bundle"
    where = ["--out", str(out), "--sizes", "32", "--cache", str(tmp_path / "cache"), "--storage", "fp32"]
    monkeypatch.setattr("sys.argv", ["assemble", str(best), *common, *where])
    assemble.main()
    bundle = load_bundle(out)
    assert bundle.names == ("densenet121",)
    assert bundle.manifest.metrics["n"] > 0
    assert "Demonstration, not for diagnosis" in bundle.card


def test_a_checkpoint_of_another_network_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"x\.ckpt: expected a checkpoint"):
        load_checkpoint(tmp_path / "x.ckpt")


def test_a_plan_is_cut_into_epochs_and_the_rate_goes_up_and_down() -> None:
    assert [(p.size, p.steps) for p in parse_plan("128:2,160:0.5", 320, 32)] == [
        (128, 10),
        (128, 10),
        (160, 5),
    ]
    with pytest.raises(ValueError, match="not of the form"):
        parse_plan("128", 320, 32)
    rates = [one_cycle(i / 10) for i in range(11)]
    assert max(rates) == rates[2] == 1.0
    assert rates[-1] == pytest.approx(0)


def test_a_deeper_densenet_starts_with_the_shallower_ones_features() -> None:
    torch.manual_seed(0)
    donor, receiver = DenseNet("densenet121").eval(), DenseNet("densenet169").eval()
    transplant(donor, receiver)
    image = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        theirs, mine = donor(image), receiver(image)
    assert torch.allclose(theirs[:, :512], mine[:, :512], atol=1e-6)
    assert torch.allclose(theirs[:, 512:], mine[:, 640 : 640 + 512], atol=1e-6)


def test_a_patient_in_both_files_is_refused(data: Path, tmp_path: Path) -> None:
    labels = data / "labels.csv"
    options = train.Options("densenet121", data=labels, images=data, out=tmp_path, val=labels)
    with pytest.raises(ValueError, match=r"labels\.csv: patient \d+ is in train and in val"):
        train.read_parts(options)
