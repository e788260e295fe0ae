"""A model always gives the same file, which plain Keras can load."""

import gc
import pickle
from pathlib import Path
from weakref import ref

import numpy as np
import pytest

from keras_tabular.core.errors import UserError
from keras_tabular.model_file.metadata import ModelMetadata, training_rows
from keras_tabular.model_file.saved_model import SavedModel, load_model, write_model
from keras_tabular.networks.backend import keras
from keras_tabular.prediction.inputs import read_schema

METADATA = ModelMetadata(task="binary", target="y", classes=[0, 1], repeats="any_cpu")


def save_model(folder: Path) -> bytes:
    keras.utils.clear_session()  # names count from 1 again, as in a new process
    keras.utils.set_random_seed(1)
    layer = keras.layers.Dense(2, name="d", kernel_regularizer=keras.regularizers.L2(0.1))
    model = keras.Sequential([keras.Input((3,)), layer], name="m")
    write_model(model, folder / "m.keras", METADATA)
    return (folder / "m.keras").read_bytes()


def test_the_same_model_gives_the_same_file_and_plain_keras_loads_it(tmp_path: Path) -> None:
    content = save_model(tmp_path)
    path, plain = tmp_path / "m.keras", tmp_path / "plain.keras"
    plain_model = keras.models.load_model(path)  # it stays in memory, so that addresses differ
    assert save_model(tmp_path) == content
    model = load_model(path, content)
    np.testing.assert_array_equal(model.network.get_weights()[0], plain_model.get_weights()[0])
    assert model.metadata == METADATA
    assert len(pickle.dumps(model)) < len(content) + 1000  # Ray sends only the bytes of the file
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]).save(plain)
    assert load_model(plain, plain.read_bytes()).metadata == ModelMetadata()


def test_the_memory_of_a_model_that_has_predicted_is_freed() -> None:
    column = keras.Input((), name="x")
    members = keras.layers.Dense(2, "sigmoid")(keras.layers.Reshape((1,))(column))
    mean = keras.layers.GlobalAveragePooling1D(name="a-mean")
    output = mean(keras.layers.Reshape((2, 1))(members))
    model = SavedModel(keras.Model({"x": column}, output), METADATA)
    model.predict({"x": np.linspace(0, 1, 5)})
    networks = [ref(network) for network in (model.network, *model.plain.layers)]
    del model, column, members, mean, output
    gc.collect()
    assert {network() for network in networks} == {None}


def test_a_file_without_the_summary_or_the_schema_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"m\.keras: found no summary of the training rows"):
        training_rows(Path("m.keras"), ModelMetadata())
    with pytest.raises(UserError, match=r"m\.keras: .* does not contain the schema .*model\.keras"):
        read_schema(Path("m.keras"), save_model(tmp_path))
