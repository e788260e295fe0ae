"""Models in `.keras` files: saved as the same bytes, loaded, and used to predict."""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from keras_tabular.config.schema import Schema
from keras_tabular.core.errors import UserError, format_list, truncate
from keras_tabular.model_file.metadata import ModelMetadata, read_metadata, replace_metadata
from keras_tabular.networks.backend import keras, tf
from keras_tabular.networks.reproducible import OrderedMean, ReproducibleDense, make_reproducible
from keras_tabular.table.arrays import Inputs

BATCH_SIZES = (16, 256, 1024)  # the first one is for a server, where it is 6 times faster than 256
MAX_WORK_OF_LARGE_BATCHES = 1_000_000  # multiply-adds per row; above, 1024 rows leave the caches
WORK_PER_CHARACTER = 2_600  # multiply-adds that take as long as a character of a text


def write_model(model: keras.Model, path: Path, metadata: ModelMetadata) -> None:
    """Save a model; the same model gives the same bytes."""
    with TemporaryDirectory() as folder:
        saved = Path(folder, "model.keras")
        model.save(saved)
        replace_metadata(saved, path, metadata)


@dataclass(frozen=True)
class SavedModel:
    """A model with the metadata in its file.

    Attributes:
        plain: The model as Keras loads it.
        metadata: Metadata in the file.
        path: Name of the file in messages.
        content: All bytes of the file; empty before the model is saved.
    """

    plain: keras.Model
    metadata: ModelMetadata
    path: Path = Path("model.keras")
    content: bytes = b""

    @cached_property
    def network(self) -> keras.Model:
        """The model that predicts the same bits on any CPU: `make_reproducible`."""
        return make_reproducible(self.plain)

    @cached_property
    def multiply_adds(self) -> float:
        """Number of multiply-adds that take about as long as the prediction of a row."""
        return count_multiply_adds(self.network)

    def predict(self, columns: Inputs) -> np.ndarray:
        """Predict the rows of raw columns.

        The outputs of a row do not depend on other rows, so that a batch can be filled up to one of
        a few sizes.

        Args:
            columns: Inputs of the model, shape (rows,) each. There may be others.

        Returns:
            Float32, shape (rows, outputs).
        """
        return self._predict(columns, self.network.output_shape[-1])

    def predict_members(self, columns: Inputs) -> np.ndarray:
        """Predict the rows of raw columns, also by each member.

        Returns:
            Float32, shape (rows, outputs * (1 + members)): the result of `predict`, then the
            outputs of each member in the units of the target. Members are in the alphabetical order
            of their architectures.
        """
        return self._predict(columns, None)

    def _predict(self, columns: Inputs, outputs: int | None) -> np.ndarray:
        rows, compiled = len(next(iter(columns.values()))), self._compiled
        is_large = self.multiply_adds > MAX_WORK_OF_LARGE_BATCHES
        sizes = BATCH_SIZES[:-1] if is_large else BATCH_SIZES
        predictions = [] if rows else [np.empty((0, self.network.output_shape[-1]), np.float32)]
        for start in range(0, rows, sizes[-1]):
            count = min(rows - start, sizes[-1])
            size = next(size for size in sizes if size >= count)
            indices = np.minimum(np.arange(start, start + size), rows - 1)
            batch = {tensor.name: columns[tensor.name][indices] for tensor in self.network.inputs}
            predictions.append(compiled(batch).numpy()[:count, :outputs])
        return np.concatenate(predictions)

    @cached_property
    def _compiled(self) -> tf.types.experimental.ConcreteFunction:
        """A function from raw columns to the outputs of the model and of each member.

        It is one graph for batches of any size, since graphs for one size each differ in the last
        bits.
        """
        network = self.network
        specs = {tensor.name: tf.TensorSpec((None,), tensor.dtype) for tensor in network.inputs}
        means = [layer for layer in network.layers if isinstance(layer, OrderedMean)]
        means.sort(key=lambda mean: mean.name.removesuffix("-mean"))
        members = [mean.input for mean in means]
        for layer in network.layers:
            if layer.name == "output-value":
                members = [layer(tensor) for tensor in members]
        whole = keras.Model(network.input, [network.output, *members])

        def outputs_of_all(columns: dict[str, tf.Tensor]) -> tf.Tensor:
            outputs = whole(columns, training=False)
            return tf.concat([tf.reshape(y, (-1, math.prod(y.shape[1:]))) for y in outputs], axis=1)

        function = tf.function(outputs_of_all, input_signature=[specs], autograph=False)
        return function.get_concrete_function()  # which halves the time for a single row

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the bytes alone: Keras cannot pickle a `ReproducibleDense` layer."""
        return _load_once, (self.path, self.content)


def load_model(path: Path, content: bytes, schema: Schema | None = None) -> SavedModel:
    """Load a model in Keras's safe mode, against what docs/predictions.md describes.

    Args:
        path: Name of the file in messages.
        content: Content of the file.
        schema: Table for which the model must have been trained.

    Raises:
        UserError: Keras cannot load the model, or it was trained for another table.
    """
    metadata = read_metadata(path, content)
    with TemporaryDirectory() as folder:  # Keras only reads files
        copy = Path(folder, "model.keras")
        copy.write_bytes(content)
        try:
            plain = keras.models.load_model(copy, safe_mode=True)
            model = SavedModel(plain, metadata, path, content)
            model.network  # noqa: B018  which can fail for layers from elsewhere
        except Exception as error:  # a file can be wrong in any way
            problem = truncate(f"{error}".partition("\n")[0] or type(error).__name__, 500)
            raise UserError(f"{path}: Keras cannot load it in safe mode: {problem}") from None
    own_schema = dict(metadata.table_schema or ())
    if schema and (changed := [key for key, value in schema if own_schema.get(key) != value]):
        problem = "the model was trained for another table than data/schema.yaml declares"
        raise UserError(f"{path}: {problem}: {format_list(changed)} differ. Run `dvc repro`.")
    return model


@lru_cache(1)
def _load_once(path: Path, content: bytes) -> SavedModel:
    # Pickle looks up a function by its name, so it must not have the name of `load_model`.
    return load_model(path, content)


def count_multiply_adds(network: keras.Model) -> float:
    """Count the multiply-adds that take about as long as the prediction of a row."""
    work = 0.0
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            work += count_multiply_adds(layer)
        elif isinstance(layer, ReproducibleDense):
            work += layer.layer.count_params()
        elif isinstance(layer, keras.layers.TextVectorization):
            work += WORK_PER_CHARACTER * layer.output.shape[1]
    return work
