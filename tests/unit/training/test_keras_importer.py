"""Keras' own networks, saved by Keras, answer the same as a bundle's graph."""

import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training extra (torch) is not installed")
pytest.importorskip("h5py", reason="the training extra (h5py) is not installed")
os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason="the training extra (keras) is not installed")

from training.export import export_graph, run_graph  # noqa: E402
from training.importers.keras_h5 import class_order, load_original  # noqa: E402

KERAS = {
    "xception": ("Xception", lambda x: x / 127.5 - 1),
    "densenet121": ("DenseNet121", lambda x: x / 255),
    "densenet169": ("DenseNet169", lambda x: x / 255),
    "inception_resnet_v2": ("InceptionResNetV2", lambda x: x / 127.5 - 1),
}


def original(name: str, size: int) -> "keras.Model":
    """The original's network: a backbone of Keras and the head of three layers, random everywhere."""
    torch.set_num_threads(1)
    body = getattr(keras.applications, KERAS[name][0])(
        include_top=False, weights=None, input_shape=(size, size, 3)
    )
    x = keras.layers.GlobalAveragePooling2D()(body.output)
    x = keras.layers.Dense(1024, activation="relu")(x)
    x = keras.layers.Dropout(0.3)(keras.layers.BatchNormalization()(x))
    model = keras.Model(body.input, keras.layers.Dense(5, activation="sigmoid")(x))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1, w.shape) for w in layer.get_weights()])
    return model


@pytest.mark.parametrize("name", list(KERAS))
def test_an_h5_file_gives_the_same_output_as_keras(name: str, tmp_path: Path) -> None:
    model = original(name, 96)
    path = tmp_path / f"{name}.h5"
    model.save(path)
    images = np.random.default_rng(1).integers(0, 256, (2, 96, 96), dtype=np.uint8)
    grey = KERAS[name][1](images.astype(np.float32))
    expected = np.asarray(model.predict(np.repeat(grey[..., None], 3, 3), verbose=0))
    probabilities = run_graph(export_graph(load_original(path, name), 96), images)[0]
    assert np.allclose(probabilities, expected, atol=1e-4)


def test_an_h5_of_another_architecture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.h5"
    original("densenet121", 64).save(path)
    with pytest.raises(
        ValueError, match=r"net\.h5: expected the weights of xception; its layer .* is missing"
    ):
        load_original(path, "xception")


def test_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.h5"
    path.write_bytes(b"not hdf5")
    with pytest.raises(ValueError, match=r"net\.h5: expected an HDF5 file"):
        load_original(path, "xception")
    with pytest.raises(ValueError, match="no such file"):
        load_original(tmp_path / "none.h5", "xception")


def test_two_of_the_originals_networks_have_edema_second() -> None:
    assert [str(f) for f in class_order("densenet169")][:2] == ["atelectasis", "edema"]
    assert [str(f) for f in class_order("xception")][:2] == ["atelectasis", "cardiomegaly"]
