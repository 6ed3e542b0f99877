"""One network of a bundle, ready to predict: an ONNX Runtime session that was checked before it, or another engine, serves.

Nothing here knows of queues or jobs, so that a notebook can use it:

    bundle = load_bundle(Path("models/default"))
    backbone = Backbone(bundle, bundle.manifest.backbones[0])
    backbone.predict(images)  # uint8 [N, size, size]
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import structlog
from numpy.typing import NDArray

from model_worker.engines import Outputs, compiled
from thorax.bundle import BackboneSpec, Bundle, Engine
from thorax.errors import Code, CodedError
from thorax.findings import FINDINGS

log = structlog.get_logger(__name__)

FIVE = len(FINDINGS)
OUTPUTS = ["probabilities", "maps"]
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


@dataclass(frozen=True)
class Prediction:
    """One backbone's output for N images, findings in canonical order.

    `probabilities`: float32 `[N, 5]`, 0..1. `maps`: float16 `[N, 5, h, w]`, its own grid and scale, ≥ 0.
    """

    probabilities: NDArray[np.float32]
    maps: NDArray[np.float16]


class Backbone:
    """A checked session for one backbone of a bundle.

    `providers` are ONNX Runtime's names, best first; by default CUDA where a device is found, else the CPU.
    With `cpu_fallback=False` a provider that was asked for (CUDA, if none was) and does not start is an error.
    Another `engine` takes over on a CPU, after ONNX Runtime has checked the graph: others turn a NaN into a score.
    Raises CodedError(BUNDLE_INVALID), naming the file and what was expected of it; UNAVAILABLE for an engine that is
    not installed or refuses the graph.
    """

    def __init__(
        self,
        bundle: Bundle,
        spec: BackboneSpec,
        providers: Sequence[str] | None = None,
        *,
        cpu_fallback: bool = True,
        engine: Engine = Engine.ONNXRUNTIME,
    ) -> None:
        self.spec = spec
        self.path = bundle.folder / spec.file
        graph = bundle.graph(spec)
        session = _session(self.path, graph, providers or available(cpu_fallback), cpu_fallback)
        self.provider = str(session.get_providers()[0])
        """What serves: ONNX Runtime's provider, e.g. `CPUExecutionProvider`, or another engine's name."""
        self.on_gpu = self.provider != CPU
        name = _checked_input(self.path, session)
        self._run: Callable[[NDArray[np.uint8]], Outputs] = lambda images: session.run(
            OUTPUTS, {name: images}
        )
        self._try_zero_image()
        if engine is not Engine.ONNXRUNTIME and not self.on_gpu:
            self._run, self.provider = self._other(graph, engine), engine
        log.info("backbone ready", backbone=spec.name, provider=self.provider, bundle=bundle.digest[:12])

    def predict(self, images: NDArray[np.uint8]) -> Prediction:
        """Predict N grey images, uint8 `[N, size, size]`, prepared as `spec.input` says."""
        size = self.spec.input.size
        if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (size, size):
            raise ValueError(f"want uint8 [N, {size}, {size}], got {images.dtype} {list(images.shape)}")
        probabilities, maps = self._run(images)
        return Prediction(
            to_canonical(self.spec, probabilities).astype(np.float32, copy=False),
            to_canonical(self.spec, maps).astype(np.float16),
        )

    def _other(self, graph: bytes, engine: Engine) -> Callable[[NDArray[np.uint8]], Outputs]:
        try:
            return compiled(graph, engine)
        except (ImportError, RuntimeError) as error:
            raise CodedError(
                Code.UNAVAILABLE, f"{engine} can't run {self.path}: {first_line(error)}."
            ) from error

    def _try_zero_image(self) -> None:
        """Run a batch of two black images: shapes, types and NaN show up now, not in somebody's result."""
        size = self.spec.input.size
        try:
            p, maps = self._run(np.zeros((2, size, size), np.uint8))
        except Exception as error:  # ONNX Runtime's own exceptions share no public base class
            raise invalid(self.path, f"to run on uint8 [N, {size}, {size}]", first_line(error)) from error
        if p.shape != (2, FIVE) or p.dtype != np.float32 or not ((p >= 0) & (p <= 1)).all():
            raise invalid(self.path, "probabilities float32 [N, 5] in 0..1", f"{p.dtype} {list(p.shape)}")
        floating = maps.dtype in (np.float16, np.float32)
        if not floating or maps.ndim != 4 or maps.shape[:2] != (2, FIVE) or not np.isfinite(maps).all():
            raise invalid(
                self.path, "maps float16 or float32 [N, 5, h, w], finite", f"{maps.dtype} {list(maps.shape)}"
            )


def invalid(path: Path, expected: str, found: str) -> CodedError:
    """The one form of all complaints about a graph."""
    return CodedError(Code.BUNDLE_INVALID, f"{path}: expected {expected}; found {found.rstrip('.')}.")


def to_canonical(spec: BackboneSpec, array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Reorder axis 1, `[N, 5, ...]` in the backbone's class order, to the canonical order of findings."""
    order = [spec.class_order.index(finding) for finding in FINDINGS]
    return array[:, order]


def _checked_input(path: Path, session: ort.InferenceSession) -> str:
    """The input's name, after its declared type and the outputs' names were found right."""
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(uint8)" or len(inputs[0].shape) != 3:
        raise invalid(path, "one input, uint8 [N, H, W]", ", ".join(f"{i.type} {i.shape}" for i in inputs))
    if isinstance(inputs[0].shape[0], int):
        raise invalid(path, "any number N of images in a run", f"always {inputs[0].shape[0]}")
    names = [o.name for o in session.get_outputs()]
    if not set(OUTPUTS) <= set(names):
        raise invalid(path, "outputs named probabilities and maps", ", ".join(names))
    return str(inputs[0].name)


def available(cpu_fallback: bool) -> list[str]:
    """Providers to try, best first: CUDA where this build of ONNX Runtime has it, or where nothing else will do."""
    return [CUDA, CPU] if CUDA in ort.get_available_providers() or not cpu_fallback else [CPU]


def _session(path: Path, graph: bytes, providers: Sequence[str], cpu_fallback: bool) -> ort.InferenceSession:
    """A session from a graph's bytes, on the first provider that starts.

    A session made from bytes has no folder, so ONNX Runtime finds no external data and refuses such a graph:
    a tensor in a file beside it would escape the manifest's sha256.
    """
    _refuse_external_data(path, graph)
    known = [p for p in providers if p in ort.get_available_providers()]
    try:
        session = ort.InferenceSession(graph, _options(graph), providers=known or [CPU])
    except Exception as error:  # as above
        raise invalid(path, "an ONNX graph that can be run", first_line(error)) from error
    if session.get_providers()[0] != providers[0]:
        if not cpu_fallback:
            raise CodedError(Code.UNAVAILABLE, f"{providers[0]} was asked for, but no device was found.")
        log.warning("no device for the provider, another serves", wanted=providers[0])
    return session


def _options(graph: bytes) -> ort.SessionOptions:
    options = ort.SessionOptions()
    # One process per core: five processes with two spinning threads each halved the throughput.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Weights that are only kept as int8 are folded to fp32 at load (33 CPU-ms instead of 45). Where activations are
    # quantised too (a node's op_type, NodeProto field 4), the int8 kernels need the pairs as they are.
    if b"\x22\x0eQuantizeLinear" not in graph:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.enable_cpu_mem_arena = False  # no slower without, and 20 MB smaller per network
    options.log_severity_level = 3
    return options


# The key `location` of TensorProto.external_data (field 13): a StringStringEntryProto's field 1, of 8 bytes. A varint
# may be longer than it need be (onnx.proto, and protobuf's encoding).
_LOCATION = re.compile(rb"\x0a(?:\x08|\x88\x80*\x00)location")


def _refuse_external_data(path: Path, graph: bytes) -> None:
    """Refuse a graph that names external data, whatever the runtime would make of it (it follows hard links)."""
    if _LOCATION.search(graph):
        raise invalid(path, "a self-contained graph", "external data")


def first_line(error: Exception) -> str:
    """An error's first line, or its kind."""
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
