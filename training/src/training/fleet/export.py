"""`python -m training.fleet.export OUT/*.net`: what the fleet's run wrote, as graphs with int8 weights.

Runs on the processor's cores alone, so that it can be called for one network while the next is trained.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch

from training.export import export_graph
from training.fleet.corpus import Corpus, load
from training.fleet.parcel import unpack
from training.fleet.views import shrink
from training.stored import stored

_SAMPLE = 256


def export(path: Path, corpus: Corpus, exact_too: bool = False) -> Path:
    """Write NAME.onnx beside NAME.net (and NAME.fp32.onnx). ValueError if int8 costs it too much."""
    network, size = unpack(path.read_bytes())
    exact = export_graph(network, size)
    if exact_too:
        onnx.save(exact, path.with_suffix(".fp32.onnx"))
    rows = corpus.rows("val")[:_SAMPLE]
    pixels = shrink(torch.from_numpy(np.array(corpus.pixels[rows])), size).to(torch.uint8).numpy()
    graph = stored(network.name, exact, pixels, corpus.labels[rows].astype(np.float64))
    part = path.with_suffix(".onnx.part")
    onnx.save(graph, part)
    return part.rename(path.with_suffix(".onnx"))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Export networks of the fleet's run.")
    parser.add_argument("networks", type=Path, nargs="+", help="NAME.net")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="where the run keeps its decoded pixels")
    parser.add_argument("--exact-too", action="store_true", help="also NAME.fp32.onnx")
    arguments = parser.parse_args()
    corpus = load(arguments.corpus, arguments.cache)
    for path in arguments.networks:
        print(f"wrote {export(path, corpus, arguments.exact_too)}", flush=True)


if __name__ == "__main__":
    main()
