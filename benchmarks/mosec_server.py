"""What `benchmarks/peer.py` compares with: mosec decodes a JPEG, runs networks of a bundle, answers JSON and stores nothing.

Decoding and networks are one stage, which is cheaper than passing pixels from one to the next. Run by that program, with
THORAX_PEER_BUNDLE and THORAX_PEER_MEMBERS (names with commas between).
"""

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mosec import Server, ValidationError, Worker

from model_worker.backbone import Backbone
from model_worker.decoding.images import canonical
from thorax.bundle import load_bundle


class Chest(Worker):
    """JPEG bytes -> each member's probabilities."""

    def __init__(self) -> None:
        cv2.setNumThreads(1)
        bundle = load_bundle(Path(os.environ["THORAX_PEER_BUNDLE"]))
        members = os.environ["THORAX_PEER_MEMBERS"].split(",")
        self._backbones = [
            Backbone(bundle, spec) for spec in bundle.manifest.backbones if spec.name in members
        ]

    def deserialize(self, data: bytes) -> bytes:
        """The body as it came."""
        return data

    def forward(self, data: bytes) -> dict[str, list[float]]:
        """By member, float [5]."""
        grey: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        if grey is None:
            raise ValidationError("Not an image.")
        return {
            b.spec.name: b.predict(canonical(grey, b.spec.input)[None]).probabilities[0].tolist()
            for b in self._backbones
        }

    def serialize(self, data: Any) -> bytes:
        """JSON."""
        return json.dumps(data).encode()


if __name__ == "__main__":
    server = Server()
    server.append_worker(Chest, num=len(os.sched_getaffinity(0)))
    server.run()
