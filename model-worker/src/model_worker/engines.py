"""What runs a graph on a CPU besides ONNX Runtime: OpenVINO, where it is installed. See ADR 0041.

It uses the CPU's matrix units (AMX) in bfloat16, which changes the answers a little: how much stands in the manifest.
"""

from collections.abc import Callable
from importlib.util import find_spec
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from thorax.bundle import Engine

Outputs = tuple[NDArray[np.float32], NDArray[np.float32]]

_PRECISIONS = {Engine.OPENVINO: ("f32", "FP32"), Engine.OPENVINO_BF16: ("bf16", "BF16")}
"""What OpenVINO calls a precision that it is asked for, and one that the CPU has instructions for."""


def installed() -> list[Engine]:
    """The engines besides ONNX Runtime that this CPU runs without emulating them."""
    if find_spec("openvino") is None:
        return []
    import openvino  # 60 MB, so only where it is wanted

    native = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return [engine for engine, (_, name) in _PRECISIONS.items() if name in native]


def compiled(graph: bytes, engine: Engine) -> Callable[[NDArray[np.uint8]], Outputs]:
    """A function from uint8 `[N, H, W]` to float32 probabilities and maps. RuntimeError if the engine refuses the graph."""
    import openvino

    core = openvino.Core()
    options = {
        "INFERENCE_PRECISION_HINT": _PRECISIONS[engine][0],
        "INFERENCE_NUM_THREADS": 1,  # a process per core, as with ONNX Runtime
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # it would pin every process to the same core
    }
    model, one_at_a_time = core.compile_model(core.read_model(graph), "CPU", options), Lock()

    def run(images: NDArray[np.uint8]) -> Outputs:
        with one_at_a_time:
            found = model(images)
        return found["probabilities"], found["maps"]

    return run
