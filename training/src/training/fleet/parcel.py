"""A trained network in few bytes, in files small enough to carry: weights as fp16, or int8 in blocks of 32."""

import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.backbones.grid import GridClassifier

_BLOCK = 32
_SMALLEST = 4096
PIECE = 16_000_000
"""Bytes of one file."""


def pack(network: GridClassifier, size: int, int8: bool = False) -> bytes:
    """Name, pool, size and weights; tensors of many values as fp16, or as int8 at half the bytes."""
    arrays: dict[str, Any] = {"about": np.array([network.name, network.head.pool, str(size)])}
    for key, value in network.state_dict().items():
        values = value.detach().float().cpu().numpy()
        if values.size < _SMALLEST:
            arrays[f"f:{key}"] = values.astype(np.float32)
            continue
        if not int8:
            arrays[f"f:{key}"] = values.astype(np.float16)
            continue
        flat = np.zeros(-(-values.size // _BLOCK) * _BLOCK, np.float32)
        flat[: values.size] = values.ravel()
        rows = flat.reshape(-1, _BLOCK)
        scale = np.maximum(np.abs(rows).max(1) / 127, 1e-8).astype(np.float16)
        scale = np.maximum(scale, np.float16(6e-8))
        arrays[f"q:{key}"] = np.clip(np.rint(rows / scale[:, None].astype(np.float32)), -127, 127).astype(
            np.int8
        )
        arrays[f"s:{key}"] = scale
        arrays[f"d:{key}"] = np.array(values.shape)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def unpack(data: bytes) -> tuple[GridClassifier, int]:
    """The network, in evaluation mode, and the size of its input. ValueError for anything else."""
    try:
        with np.load(io.BytesIO(data)) as saved:
            name, pool, size = (str(text) for text in saved["about"])
            network = GridClassifier(name, pool)
            state: dict[str, Tensor] = {}
            for key, value in network.state_dict().items():
                state[key] = torch.from_numpy(_value(saved, key)).to(value.dtype).reshape(value.shape)
    except (OSError, KeyError, ValueError, EOFError, zlib.error) as error:
        raise ValueError(f"Expected a network packed by training.fleet.parcel; {error}.") from error
    network.load_state_dict(state)
    return network.eval(), int(size)


def _value(saved: Any, key: str) -> np.ndarray[Any, Any]:
    if f"f:{key}" in saved.files:
        return np.asarray(saved[f"f:{key}"])
    rows = saved[f"q:{key}"].astype(np.float32) * saved[f"s:{key}"].astype(np.float32)[:, None]
    shape = tuple(saved[f"d:{key}"])
    return np.asarray(rows.ravel()[: int(np.prod(shape))].reshape(shape))


def split(folder: Path, out: Path, names: list[str]) -> list[Path]:
    """`NAME.net` of `folder` joined and cut into pieces in `out`, with what is needed to cut them apart again."""
    data = [(folder / f"{name}.net").read_bytes() for name in names]
    whole = b"".join(data)
    stem = names[0]
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for i, first in enumerate(range(0, len(whole), PIECE)):
        paths.append(out / f"{stem}.{i}")
        paths[-1].write_bytes(whole[first : first + PIECE])
    (out / f"{stem}.json").write_text(json.dumps(dict(zip(names, map(len, data), strict=True))))
    return paths


def join(pieces: Path, stem: str, out: Path) -> list[str]:
    """The reverse of `split`; the networks' names."""
    lengths: dict[str, int] = json.loads((pieces / f"{stem}.json").read_text())
    count = -(-sum(lengths.values()) // PIECE)
    whole = b"".join((pieces / f"{stem}.{i}").read_bytes() for i in range(count))
    if len(whole) != sum(lengths.values()):
        raise ValueError(f"{pieces}: expected {sum(lengths.values())} bytes of {stem}; found {len(whole)}.")
    out.mkdir(parents=True, exist_ok=True)
    first = 0
    for name, length in lengths.items():
        (out / f"{name}.net").write_bytes(whole[first : first + length])
        first += length
    return list(lengths)
