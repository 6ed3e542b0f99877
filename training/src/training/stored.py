"""How small a graph may be made: int8 weights, as coarse as the AUC and the maps allow."""

import numpy as np
import onnx
from numpy.typing import NDArray

from thorax.bundle import MOST_AUC_LOST, MOST_MAPS_CHANGED
from training import report
from training.export import run_graph
from training.metrics import Floats, change
from training.quantise import store_int8

_BLOCKS = (None, 128, 32)


def stored(name: str, exact: onnx.ModelProto, pixels: NDArray[np.uint8], labels: Floats) -> onnx.ModelProto:
    """The graph in int8, in blocks as large as MOST_AUC_LOST and MOST_MAPS_CHANGED allow. ValueError if none is small enough."""
    before = run_graph(exact, pixels)
    for block in _BLOCKS:
        smaller = store_int8(exact, block)
        after = run_graph(smaller, pixels)
        aucs = [report.brief(labels, p.astype(np.float64))["mean_auc"] or 0.0 for p in (before[0], after[0])]
        gap = change(after[1], before[1])
        by = f"blocks of {block}" if block else "channels"
        said = f"{name}: int8 by {by} changes the mean AUC by {aucs[1] - aucs[0]:+.4f}, the maps by {gap:.1%}"
        print(f"{said}; {smaller.ByteSize() / 1e6:.1f} MB", flush=True)
        if aucs[0] - aucs[1] < MOST_AUC_LOST and gap < MOST_MAPS_CHANGED:
            return smaller
    raise ValueError(f"{said}; allowed are -{MOST_AUC_LOST} and {MOST_MAPS_CHANGED:.0%}.")
