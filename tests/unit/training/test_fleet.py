# ruff: noqa: E402 (torch may be missing)
"""The fleet's run in small: packed images, views, the loss, a run that resumes, a graph taken apart and put together."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from training import backbones
from training.backbones import ARCHITECTURES, build_classifier
from training.backbones.densenet import BLOCKS
from training.backbones.grid import POOLS, GridClassifier
from training.backbones.layers import mixed_precision
from training.export import export_graph, run_graph
from training.fleet import judge
from training.fleet.corpus import Corpus, load, named_apart, save
from training.fleet.lessons import Batch, Lesson, Shares, Teacher
from training.fleet.parcel import join, pack, split, unpack
from training.fleet.reopen import build_teacher, reopen, set_statistics
from training.fleet.run import Plan, Run, priors
from training.fleet.views import Views, compress, shrink

N = 24


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every architecture is a DenseNet of four layers here."""
    torch.set_num_threads(1)
    monkeypatch.setitem(BLOCKS, "densenet121", (1, 1, 1, 1))
    tiny = {name: replace(ARCHITECTURES["densenet121"]) for name in ARCHITECTURES}
    monkeypatch.setattr(backbones, "ARCHITECTURES", tiny)


@pytest.fixture
def corpus() -> Corpus:
    rng = np.random.default_rng(0)
    labels = (rng.random((N, 5)) < 0.4).astype(np.float32)
    part, source = (
        np.array(["train", "val"])[np.arange(N) % 2],
        np.array(["here", "there"])[np.arange(N) % 3 // 2],
    )
    pixels = rng.integers(0, 256, (N, 256, 256), dtype=np.uint8)
    side = rng.random((N, 3)).astype(np.float32)
    patients = np.array([str(i // 2) for i in range(N)])
    return Corpus(pixels, labels, side, (np.arange(N) % 2).astype(np.int8), part, source, patients, patients)


def test_a_corpus_is_read_back_from_its_two_files(corpus: Corpus, tmp_path: Path) -> None:
    save(tmp_path, corpus, 101)
    back = load(tmp_path, tmp_path / "cache")
    assert np.array_equal(back.pixels, corpus.pixels)
    assert list(back.part) == list(corpus.part)


def test_a_truncated_corpus_is_reported(corpus: Corpus, tmp_path: Path) -> None:
    save(tmp_path, corpus, 60)
    (tmp_path / "corpus.webp").write_bytes(b"short")
    with pytest.raises(ValueError, match=r"expected .* bytes"):
        load(tmp_path, tmp_path)


def test_images_to_measure_with_and_their_patients_stay_apart(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text("image,finding,patient_id\na.png,edema,7\n")
    rows = named_apart(tmp_path / "boxes.csv", ("a.png", "b.png", "c.png"), ("1", "7", "8"))
    assert list(rows) == [True, True, False]


def test_a_source_left_out_shares_no_patient_with_what_is_trained_on(corpus: Corpus) -> None:
    kept, away = corpus.away(("there",))
    assert not np.isin(corpus.source[kept], "there").any()
    assert not set(corpus.patient[kept]) & set(corpus.patient[away])


def test_views_depend_on_their_seed_and_mark_empty_areas(corpus: Corpus) -> None:
    pixels = torch.from_numpy(corpus.pixels)
    one, blank = Views()(pixels, 64, np.random.default_rng(1))
    again, _ = Views()(pixels, 64, np.random.default_rng(1))
    assert torch.equal(one, again)
    assert one.shape == blank.shape == (N, 64, 64)
    assert one.min() >= 0 and one.max() <= 255
    assert 0 < blank.mean() < 0.6


def test_compression_loses_detail_and_keeps_the_mean() -> None:
    image = torch.rand(1, 1, 64, 64) * 255
    lost = compress(image, 40.0)
    assert (lost - image).abs().mean() > 1
    assert lost.mean() == pytest.approx(float(image.mean()), abs=2)


def test_images_are_shrunk_as_in_serving() -> None:
    import cv2

    image = np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)
    served = cv2.resize(image, (160, 160), interpolation=cv2.INTER_AREA)
    mine = shrink(torch.from_numpy(image)[None], 160)[0].numpy()
    assert np.abs(mine - served).max() <= 1


@pytest.mark.parametrize("pool", list(POOLS))
def test_a_pool_lies_between_the_places_and_a_flat_map_is_its_own_answer(pool: str) -> None:
    cells = torch.randn(2, 5, 6, 6)
    answer = POOLS[pool](cells, torch.randn(2, 5, 6, 6))
    assert (answer <= cells.amax((2, 3)) + 1e-5).all()
    assert (answer >= cells.amin((2, 3)) - 1e-5).all()
    flat = torch.full((1, 5, 6, 6), -1.5)
    assert torch.allclose(POOLS[pool](flat, flat), torch.tensor(-1.5))


def test_a_grid_is_a_sixteenth_of_the_edge_and_exports_absolute_maps() -> None:
    network = GridClassifier("densenet121").eval()
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 96), dtype=np.uint8)
    probabilities, maps = run_graph(export_graph(network, 96), images)
    assert maps.shape == (2, 5, 6, 6)
    assert (maps >= 0).all() and (maps <= 1).all()
    with torch.no_grad():
        assert np.allclose(network.explained(torch.from_numpy(images))[0].numpy(), probabilities, atol=1e-4)


def test_painted_areas_are_trained_as_empty() -> None:
    lesson = Lesson(GridClassifier("densenet121"), 3, Shares())
    views, labels = torch.rand(4, 64, 64) * 255, torch.ones(4, 5)

    def loss(blank: float) -> float:
        batch = Batch(views, torch.full_like(views, blank), labels, torch.rand(4, 3), torch.ones(4))
        return float(lesson.eval().loss(batch, 64, None).detach())

    assert loss(1.0) > loss(0.0)


def test_labels_that_are_unknown_cost_nothing() -> None:
    lesson = Lesson(GridClassifier("densenet121"), 3, Shares()).eval()
    views = torch.rand(2, 64, 64) * 255
    unknown = torch.full((2, 5), torch.nan)
    batch = Batch(
        views, torch.zeros_like(views), unknown, torch.full((2, 3), torch.nan), torch.full((2,), -1.0)
    )
    assert torch.isfinite(lesson.loss(batch, 64, None))


def test_a_run_stops_resumes_and_keeps_the_best(corpus: Corpus, tmp_path: Path) -> None:
    pixels, plan = torch.from_numpy(corpus.pixels), Plan("densenet121", 64, epochs=1, batch=4, save_every=0)
    teacher = Teacher([GridClassifier("densenet121", "mean")], torch.ones(1, 5), 64)
    rows = corpus.rows("train")
    aucs = iter((0.9, 0.5, 0.4, 0.3, 0.2, 0.1))
    run = Run(plan, corpus, rows, pixels, GridClassifier("densenet121"), teacher)
    run.train(tmp_path / "x.run", lambda _: None, lambda _: next(aucs))
    again = Run(plan, corpus, rows, pixels, GridClassifier("densenet121"), teacher)
    network = again.train(tmp_path / "x.run", lambda _: None)
    assert again.step == run.step == 3
    assert again.best_auc == 0.9
    probabilities = judge.predict(network, pixels, corpus.rows("val"), 64, batch=8)
    assert probabilities.shape == (N // 2, 5)
    assert judge.figures(corpus, corpus.rows("val"), probabilities)["n"] == N // 2


def test_the_prior_knows_which_view_has_more_of_a_finding(corpus: Corpus) -> None:
    labels = np.zeros((N, 5), np.float32)
    labels[corpus.view == 1, 0] = 1
    odds = priors(replace(corpus, labels=labels), np.arange(N), np.full(N, 1 / N))
    assert odds[1, 0] > 0 > odds[0, 0]


@pytest.mark.parametrize("int8", [False, True])
def test_a_network_travels_in_pieces(int8: bool, tmp_path: Path) -> None:
    network = GridClassifier("densenet169").eval()
    (tmp_path / "densenet169.net").write_bytes(pack(network, 160, int8))
    split(tmp_path, tmp_path / "pieces", ["densenet169"])
    assert join(tmp_path / "pieces", "densenet169", tmp_path / "home") == ["densenet169"]
    back, size = unpack((tmp_path / "home/densenet169.net").read_bytes())
    images = torch.randint(0, 256, (2, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        gap = (back.explained(images)[0] - network.explained(images)[0]).abs().max()
    assert size == 160
    assert gap < (0.02 if int8 else 1e-3)


def test_bytes_of_something_else_are_told() -> None:
    with pytest.raises(ValueError, match="Expected a network"):
        unpack(b"PK nothing")


def test_an_exported_graph_is_taken_apart_and_answers_as_before(tmp_path: Path) -> None:
    classifier = build_classifier("densenet121").eval()
    graph = export_graph(classifier, 64)
    onnx.save(graph, tmp_path / "densenet121.onnx")
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (8, 64, 64), dtype=np.uint8))
    wanted = run_graph(graph, images.numpy())[0]
    with torch.no_grad():
        assert np.allclose(
            torch.sigmoid(build_teacher(tmp_path / "densenet121.onnx", "densenet121")(images)),
            wanted,
            atol=1e-4,
        )
        network = GridClassifier("densenet121", "mean")
        set_statistics(network, reopen(graph, network), images)
        bias = classifier.head.dense.bias
        cells = network.head.coarse(network.maps(images)[1])
        assert np.allclose(torch.sigmoid(cells.mean((2, 3)) + bias), wanted, atol=1e-4)


def test_no_emulated_bf16() -> None:
    """bf16 without instructions of its own is many times slower than float32 (AVX2: 4 to 18 times)."""
    native = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    with mixed_precision(torch.device("cpu")):
        product = torch.ones(4, 4) @ torch.ones(4, 4)
    assert (product.dtype == torch.bfloat16) == native
