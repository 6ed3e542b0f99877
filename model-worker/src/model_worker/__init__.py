"""Pixels to predictions: decodes what was sent, runs the backbones, and knows no web framework."""

import os

# ONNX Runtime's wheels send usage reports to their maker unless told not to. Read when the runtime is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
