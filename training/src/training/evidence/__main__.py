"""`python -m training.evidence BUNDLE`: gives a bundle maps of local evidence, by one of its networks.

Kept maps of the images and the views lie in `--cache`, 2 GB a view for 11,280 images; a run that was stopped goes on with them.
"""

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from thorax.bundle import Bundle, load_bundle
from thorax.errors import CodedError
from thorax.findings import FINDINGS
from thorax.heatmaps import add_up
from thorax.operating_points import MapScale
from training.bundles import copy_for_new_version, write_manifest
from training.evidence.early import EarlyLayers
from training.evidence.graft import graft
from training.evidence.head import EvidenceHead
from training.evidence.learn import Kept, Plan, learn, opened
from training.fleet.corpus import Corpus, load
from training.fleet.views import Views, shrink
from training.points import unscaled

_BATCH = 16
CUT, FULL = 0.25, 0.9
"""Three of four validation images with the finding pass the contour's value somewhere, one in ten the full one: the verdict
says whether, so the map need only say where."""


def kept(layers: EarlyLayers, corpus: Corpus, size: int, views: int, cache: Path) -> Kept:
    """The early maps of all images as they are, and of the train rows in `views` random views."""
    every = np.arange(len(corpus.labels))
    steps = layers.steps(np.concatenate([*_plain(corpus, every[:: max(1, len(every) // 480)], size)]))
    plain = layers.keep(_plain(corpus, every, size), len(every), steps, cache / "plain")
    rows = corpus.rows("train")
    seen = [
        layers.keep(_viewed(corpus, rows, size, seed), len(rows), steps, cache / f"view{seed}")
        for seed in range(1, views + 1)
    ]
    return Kept(seen, plain)


def _plain(corpus: Corpus, rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.uint8]]:
    for some in np.array_split(rows, -(-len(rows) // _BATCH)):
        yield shrink(torch.from_numpy(np.array(corpus.pixels[some])), size).to(torch.uint8).numpy()


def _viewed(corpus: Corpus, rows: NDArray[np.int64], size: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    for first, some in enumerate(np.array_split(rows, -(-len(rows) // _BATCH))):
        pixels = torch.from_numpy(np.array(corpus.pixels[some]))
        yield Views()(pixels, size, np.random.default_rng((seed, first)))[0].round().to(torch.uint8).numpy()


@torch.inference_mode()
def scale(bundle: Bundle, name: str, head: EvidenceHead, corpus: Corpus, seen: Kept) -> MapScale:
    """What the maps' full value and their contour are, by those of the validation part's images with the finding."""
    alone = tuple(b for b in bundle.manifest.backbones if b.name == name)
    manifest = bundle.manifest.model_copy(
        update={"maps": unscaled("probability", (name,)), "backbones": alone}
    )
    rows = corpus.rows("val")
    maps = np.concatenate([head(*opened(seen.plain, some)).numpy() for some in np.array_split(rows, 16)])
    tops = np.stack([add_up(manifest, {name: five}, "probability").max((1, 2)) for five in maps])
    present = [tops[corpus.labels[rows, i] == 1, i] for i in range(len(FINDINGS))]
    for finding, values in zip(FINDINGS, present, strict=True):
        if not len(values):
            raise ValueError(
                f"No image of the validation part has {finding}; the scale of its maps needs one."
            )
    full = np.array([max(float(np.quantile(values, FULL)), 1e-3) for values in present])
    cuts = [min(float(np.quantile(values, CUT)), most) for values, most in zip(present, full, strict=True)]
    return MapScale(unit="probability", full=tuple(full), cuts=tuple(cuts / full), members=(name,))  # type: ignore[arg-type]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Give a bundle maps of local evidence; its probabilities stay."
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--member", default="xception", help="the network whose early layers are read")
    parser.add_argument("--fine", default="/body/Add_1_output_0", help="its tensor at an eighth of the edge")
    parser.add_argument("--coarse", default="/body/Add_2_output_0", help="and at a sixteenth")
    parser.add_argument("--corpus", type=Path, required=True, help="of training.fleet.corpus")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--epochs", type=float, default=Plan.epochs)
    parser.add_argument("--version", required=True)
    parser.add_argument("--out", type=Path, required=True, help="the new bundle's folder")
    arguments = parser.parse_args()
    try:
        write(arguments)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    except CodedError as error:
        raise SystemExit(error.detail) from error


def write(arguments: argparse.Namespace) -> None:
    """Learn, graft, and write the bundle with the new graph, scale and version; its card is still the old one's."""
    bundle = load_bundle(arguments.bundle)
    spec = next((b for b in bundle.manifest.backbones if b.name == arguments.member), None)
    if spec is None:
        raise ValueError(f"The bundle has no network {arguments.member}; it has {', '.join(bundle.names)}.")
    graph = onnx.load_from_string(bundle.graph(spec))
    corpus = load(arguments.corpus, arguments.cache)
    layers = EarlyLayers(graph, arguments.fine, arguments.coarse)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    seen = kept(layers, corpus, spec.input.size, arguments.views, arguments.cache)
    head = learn(corpus, seen, Plan(epochs=arguments.epochs))
    torch.save(head.state_dict(), arguments.cache / "head.pt")
    sample = np.concatenate([*_plain(corpus, corpus.rows("val")[:_BATCH], spec.input.size)])
    data = graft(graph, head, arguments.fine, arguments.coarse, sample).SerializeToString()
    copy_for_new_version(arguments.bundle, arguments.out)
    (arguments.out / spec.file).write_bytes(data)
    changed = spec.model_copy(update={"sha256": hashlib.sha256(data).hexdigest()})
    backbones = tuple(changed if b is spec else b for b in bundle.manifest.backbones)
    update = {"backbones": backbones, "maps": scale(bundle, spec.name, head, corpus, seen), "version": arguments.version, "engines": {}}  # fmt: skip
    manifest = bundle.manifest.model_copy(update=update)
    write_manifest(arguments.out, manifest)
    load_bundle(arguments.out)
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
