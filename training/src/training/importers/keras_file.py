"""Reads Keras weight files (.h5 of Keras 2 and 3, .safetensors) into one flat form; no Keras needed."""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Layer = dict[str, NDArray[np.float32]]
Layers = dict[str, Layer]
"""By layer name, then by weight name (`kernel`, `gamma`, ...), float32."""


def read_keras_weights(path: Path) -> Layers:
    """Every weight in the file. ValueError if it is not such a file, or if a weight is not finite."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; fetch the Keras weights and put them there.")
    flat = _from_safetensors(path) if path.suffix == ".safetensors" else _from_h5(path)
    layers: Layers = defaultdict(dict)
    for key, values in flat.items():
        *folders, weight = key.split("/")
        if not np.isfinite(values).all():
            raise ValueError(f"{path}: expected finite weights; {key} has NaN or infinity.")
        layers[_layer_name(folders)][weight.removesuffix(":0")] = values.astype(np.float32)
    return dict(layers)


def in_order(layers: Layers, kind: str) -> list[str]:
    """The layers that Keras named itself (`conv2d`, `conv2d_1`, ...), in the order they were made."""
    numbered = [(int(m[1] or 0), name) for name in layers if (m := re.fullmatch(rf"{kind}(?:_(\d+))?", name))]
    return [name for _, name in sorted(numbered)]


def _layer_name(folders: list[str]) -> str:
    """The last folder; Keras 2 called DenseNet's first layers `conv1/conv` and `conv1/bn`."""
    name = folders[-1] if folders else ""
    return f"conv1_{name}" if name in ("conv", "bn") and folders[-2:-1] == ["conv1"] else name


def _from_safetensors(path: Path) -> dict[str, NDArray[np.float32]]:
    from safetensors.numpy import load_file

    return dict(load_file(path))


def _from_h5(path: Path) -> dict[str, NDArray[np.float32]]:
    import h5py

    flat: dict[str, NDArray[np.float32]] = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and "optimizer" not in name:
            flat[name] = np.asarray(item)

    try:
        with h5py.File(path) as file:
            file.visititems(visit)
    except OSError as error:
        raise ValueError(f"{path}: expected an HDF5 file of Keras weights; {error}.") from error
    return flat
