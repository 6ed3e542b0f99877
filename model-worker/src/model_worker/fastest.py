"""Which engine serves a bundle on this machine's CPU: measured when the bundle is loaded, never guessed. See ADR 0041."""

from time import process_time

import numpy as np
import structlog

from model_worker import engines
from model_worker.backbone import CPU, Backbone, available
from thorax.bundle import Bundle, Engine
from thorax.cascade import asked_first
from thorax.errors import CodedError

log = structlog.get_logger(__name__)

_ROUNDS = 5
_WORTH = 0.8
"""Another engine must take at most this share of ONNX Runtime's time: its answers differ a little."""


def fastest(bundle: Bundle) -> Engine:
    """The engine with the least CPU time for one image on the network that answers each image first.

    Only those are tried that are installed and of which the manifest says that they keep the AUC.
    """
    serving = {name for name, figures in bundle.manifest.engines.items() if figures.serves}
    if not serving or available(cpu_fallback=True) != [CPU]:
        return Engine.ONNXRUNTIME
    if not (usable := [name for name in engines.installed() if name in serving]):
        return Engine.ONNXRUNTIME
    first, *_ = asked_first(bundle.manifest, full=False)
    [spec] = [spec for spec in bundle.manifest.backbones if spec.name == first]
    tried = {Engine.ONNXRUNTIME: Backbone(bundle, spec, [CPU])}
    for name in usable:
        try:
            tried[name] = Backbone(bundle, spec, [CPU], engine=name)
        except CodedError as error:
            log.warning("engine refused", engine=name, error=error.detail)
    image = np.random.default_rng(0).integers(0, 256, (1, spec.input.size, spec.input.size), dtype=np.uint8)
    taken = dict.fromkeys(tried, float("inf"))
    for name, backbone in [*tried.items()] * _ROUNDS:
        began = process_time()
        backbone.predict(image)
        taken[name] = min(taken[name], process_time() - began)
    limit = taken[Engine.ONNXRUNTIME] * _WORTH
    best = min(taken, key=taken.__getitem__)
    chosen = best if taken[best] <= limit else Engine.ONNXRUNTIME
    log.info(
        "engine chosen", engine=chosen, cpu_ms={str(name): round(1000 * s, 1) for name, s in taken.items()}
    )
    return chosen
