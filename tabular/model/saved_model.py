"""Models in `.keras` files: the same model gives the same bytes, and predictions by a file."""

import math
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tabular.config.schema import Schema, input_name
from tabular.core.errors import UserError, listed, truncate
from tabular.model.backend import keras, tf
from tabular.model.exact import Exact, Mean, with_exact_products
from tabular.model.metadata import ModelMetadata, read_metadata, replace_metadata
from tabular.table.arrays import input_type

BATCH_SIZES = (16, 256, 1024)  # the first for a server, 6 times faster than 256
MAX_WORK_OF_LARGE_BATCHES = 1_000_000  # multiply-adds for a row; else 1024 rows leave the caches
WORK_PER_CHARACTER = 2_600  # multiply-adds that take as long as a character of a text


def write_model(model: keras.Model, path: Path, metadata: ModelMetadata) -> None:
    """Save a model, such that the same model gives the same bytes."""
    with TemporaryDirectory() as folder:
        saved = Path(folder, "model.keras")
        model.save(saved)
        replace_metadata(saved, path, metadata)


@dataclass(frozen=True)
class SavedModel:
    """A model, and what else its file holds.

    Attributes:
        path: Name of the file in messages.
        plain: The model as Keras loads it.
        metadata: Metadata in the file.
        content: All bytes of the file.
    """

    path: Path
    plain: keras.Model
    metadata: ModelMetadata
    content: bytes

    @cached_property
    def network(self) -> keras.Model:
        """The model with exact matrix products, see `with_exact_products`."""
        return with_exact_products(self.plain)

    @property
    def multiply_adds(self) -> float:
        """The number of multiply-adds that take about as long as predicting a row."""
        return multiply_adds(self.network)

    def predict(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """Predict the rows of raw columns, see `predict`."""
        return predict(self.network, columns)

    def predict_members(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """Predict the rows of raw columns, also by each member, see `predict`."""
        return predict(self.network, columns, members=True)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the bytes, which another process loads once: Keras cannot pickle `Exact`."""
        return _load_once, (self.path, self.content)


@lru_cache(1)
def _load_once(path: Path, content: bytes) -> SavedModel:
    return load_model(path, content)


def load_model(
    path: Path, content: bytes | None = None, schema: Schema | None = None
) -> SavedModel:
    """Load a model with Keras's safe mode on. docs/predictions.md says what that protects from.

    Args:
        content: Content of the file; by default it is read.
        schema: The table that the model must have been trained for.

    Raises:
        UserError: There is no model, Keras cannot read it, or it is of another table.
    """
    if content is None:
        if not path.is_file():
            raise UserError(f"{path}: no model here; run `dvc repro` to train one")
        content = path.read_bytes()
    metadata = read_metadata(path, content)
    with TemporaryDirectory() as folder:  # Keras reads files alone
        copy = Path(folder, "model.keras")
        copy.write_bytes(content)
        try:
            plain = keras.models.load_model(copy, safe_mode=True)
            model = SavedModel(path, plain, metadata, content)
            shape = model.network.output_shape
        except Exception as error:  # a file can be wrong in any way
            problem = truncate(f"{error}".partition("\n")[0] or type(error).__name__, 500)
            raise UserError(
                f"{path}: not a model that Keras can load in safe mode: {problem}"
            ) from None
    if schema is None:
        return model
    declared = {(input_name(name), input_type(c)) for name, c in schema.features.items()}
    inputs = {(tensor.name, tensor.dtype) for tensor in plain.inputs}
    problems = [f"input {name}" for name in sorted(dict(declared ^ inputs))]
    if shape != (None, schema.outputs):
        problems.append(f"{shape[-1] if shape else 'no'} outputs for {schema.outputs}")
    of_schema = ModelMetadata.from_schema(schema)
    for key in ("task", "target", "classes") if metadata.task else ():
        trained, expected = getattr(metadata, key), getattr(of_schema, key)
        if trained != expected:
            problems.append(f"{key} {trained} in the model, {expected} in the schema")
    if problems:
        raise UserError(
            f"{path}: the model was trained for another table than data/schema.yaml "
            f"declares: {listed(problems)}; run `dvc repro` to train one for this"
        )
    return model


def export(model: SavedModel, folder: Path, signature: str) -> dict[str, str]:
    """Write a TensorFlow SavedModel, whose signature of this name takes raw columns, (rows,) each.

    It gives `outputs`, (rows, outputs). So does the signature `serving_default`.

    Returns:
        The input of each column, which is its name in letters, digits and `_`, a letter first.

    Raises:
        OSError: it cannot be written.
    """
    network = model.plain  # TensorFlow Serving may compile nothing
    inputs, specs = dict[str, str](), dict[str, tf.TensorSpec]()
    for number, tensor in enumerate(network.inputs, start=1):
        name = re.sub(r"\W", "_", tensor.name, flags=re.ASCII)
        name = name if name[0].isalpha() else f"column_{name}"
        taken_names = {other.lower() for other in specs}  # TensorFlow's names ignore case
        name = f"{name}_{number}" if name.lower() in taken_names else name
        inputs[tensor.name], specs[name] = name, tf.TensorSpec((None,), tensor.dtype, name)

    @tf.function(autograph=False)
    def predict_rows(**rows: tf.Tensor) -> dict[str, tf.Tensor]:
        columns = {name: rows[plain] for name, plain in inputs.items()}
        return {"outputs": network(columns, training=False)}

    module = tf.Module()
    module.network = network  # whose weights are saved
    concrete = predict_rows.get_concrete_function(**specs)
    try:
        tf.saved_model.save(module, folder, {signature: concrete, "serving_default": concrete})
    except tf.errors.OpError as error:  # such as ResourceExhaustedError: "FILE; No space left ..."
        raise OSError(error.message.rpartition("; ")[2]) from None
    return inputs


def with_temperature(path: Path, temperature: float) -> keras.Model:
    """Load the model in a file as Keras does, its probabilities at another temperature.

    See `evaluation.calibration`; powers need no logarithm of 0. They are a model within the model,
    which may have layers of the same names.
    """
    network = keras.models.load_model(path, safe_mode=True)
    probabilities = keras.Input(network.output_shape[1:])
    powers = probabilities ** (1 / temperature)
    if network.output_shape[-1] == 1:
        total = powers + (1 - probabilities) ** (1 / temperature)
    else:
        total = keras.ops.sum(powers, axis=1, keepdims=True)
    scaled = keras.Model(probabilities, powers / total, name="temperature")
    return keras.Model(network.inputs, scaled(network.output), name=network.name)


@lru_cache(1)
def multiply_adds(network: keras.Model) -> float:
    """Compute the number of multiply-adds that take about as long as predicting a row."""
    work = 0.0
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            work += multiply_adds(layer)
        elif isinstance(layer, Exact):
            work += layer.layer.count_params()
        elif isinstance(layer, keras.layers.TextVectorization):
            work += WORK_PER_CHARACTER * layer.output.shape[1]
    return work


@lru_cache(1)
def _compiled(network: keras.Model) -> tf.types.experimental.ConcreteFunction:
    """Compile the prediction of the outputs, followed by those of each member, see `predict`.

    One graph for batches of any size: graphs of other sizes differ in their last bits.
    """
    specs = {tensor.name: tf.TensorSpec((None,), tensor.dtype) for tensor in network.inputs}
    means = [layer for layer in network.layers if isinstance(layer, Mean)]
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
    return function.get_concrete_function()  # of a row it takes half of the time


def predict(
    network: keras.Model, columns: dict[str, np.ndarray], *, members: bool = False
) -> np.ndarray:
    """Predict the rows of raw columns of shape (rows,) each: float32, (rows, outputs).

    A batch is filled up to one of few sizes. The outputs of a row do not depend on the other rows.

    Args:
        members: whether those of each network that it averages follow, in the units of the target:
            (rows, outputs * (1 + members)); kinds of networks are in alphabetical order.
    """
    rows, outputs = len(next(iter(columns.values()))), network.output_shape[-1]
    is_large = multiply_adds(network) > MAX_WORK_OF_LARGE_BATCHES
    sizes = BATCH_SIZES[:-1] if is_large else BATCH_SIZES
    predictions = [] if rows else [np.empty((0, outputs), np.float32)]
    compiled = _compiled(network)
    for start in range(0, rows, sizes[-1]):
        count = min(rows - start, sizes[-1])
        size = next(size for size in sizes if size >= count)
        indices = np.minimum(np.arange(start, start + size), rows - 1)
        batch = {name: values[indices] for name, values in columns.items()}
        predictions.append(compiled(batch).numpy()[:count, : None if members else outputs])
    return np.concatenate(predictions)
