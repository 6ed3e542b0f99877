#!/usr/bin/env bash
# Expected: onnxruntime's Resize of a uint8 image is the Resize of the same image in float32, rounded, as in Pillow. A graph that takes the
#           8-bit image as it is saves three quarters of the transfer, and its answer is the same up to rounding.
# Happens:  mode linear without antialias cuts the fraction off: the image is half a grey level darker on average, at every step of resizing again.
#           The same node with antialias=1 rounds. Cast the image to float32 before the Resize.
# Versions: onnxruntime 1.32.0, onnx 1.23.2 (Resize's text doesn't say how integers are rounded). Date: 2026-11-27.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6 pillow==12.0.0
cd "$folder"
ORT_DISABLE_TELEMETRY=1 "$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime as ort
import PIL
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

print("onnxruntime", ort.__version__, "onnx", onnx.__version__, "pillow", PIL.__version__)


def resized(image, size, antialias):
    """The image, [height, width] of uint8 or float32, resized linearly by a graph of one node."""
    kind = helper.np_dtype_to_tensor_dtype(image.dtype)
    x = helper.make_tensor_value_info("x", kind, (1, 1, *image.shape))
    y = helper.make_tensor_value_info("y", kind, (1, 1, *size))
    sizes = numpy_helper.from_array(np.array((1, 1, *size), dtype=np.int64), "sizes")
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear", antialias=antialias)
    graph = helper.make_graph([node], "graph", [x], [y], [sizes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": image[np.newaxis, np.newaxis]})[0][0, 0]


rows, columns = np.mgrid[0:96, 0:80]
noise = np.random.default_rng(0).integers(0, 40, (96, 80))
image = (60 + rows + columns // 2 + noise).astype(np.uint8)


def difference(antialias):
    whole, exact = resized(image, (64, 64), antialias), resized(image.astype(np.float32), (64, 64), antialias)
    print(f"linear, antialias={antialias}: uint8 minus float32 is {np.mean(whole - exact):+.3f} on average, at most {np.abs(whole - exact).max():.3f}")
    print(f"    equal to float32 cut off: {np.mean(whole == np.floor(exact)):.1%}, rounded: {np.mean(whole == np.rint(exact)):.1%}")
    return np.mean(whole - exact)


plain, smooth = difference(0), difference(1)
pillow = np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR))
exact = np.asarray(Image.fromarray(image.astype(np.float32)).resize((64, 64), Image.Resampling.BILINEAR))
print(f"Pillow, bilinear:    uint8 minus float32 is {np.mean(pillow - exact):+.3f} on average")
again = image
for size in ((90, 75), (84, 70), (78, 65), (72, 60), (66, 55)):
    again = resized(again, size, 0)
drift = again.mean() - image.mean()
print(f"mean grey level after five steps without antialias: {drift:+.2f}")
if not -0.55 < plain < -0.4 or abs(smooth) > 0.1 or abs(np.mean(pillow - exact)) > 0.1 or drift > -2:
    sys.exit("The behaviour has changed.")
print("As found: linear resizing of uint8 cuts off, and darkens the image.")
PYTHON
