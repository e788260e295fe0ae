"""A `.keras` file in a normal form: the same model gives the same bytes."""

import json
import math
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tabular.config.schema import Schema, input_name
from tabular.core.errors import UserError, listed, truncate
from tabular.core.files import atomic_write
from tabular.model.backend import keras, tf
from tabular.model.exact import Exact, Mean, with_exact_products
from tabular.model.metadata import (
    EPOCH,
    Ensemble,
    ModelMetadata,
    read_metadata,
    write_metadata,
)
from tabular.table.arrays import feature_arrays, input_type

BATCH_SIZES = (16, 256, 1024, 16_384)  # the first for a server, 6 times faster than 256
FEW_WEIGHTS = 20_000  # what a network of more makes of the largest batch leaves the caches
MANY_WEIGHTS = 2_000_000  # what a network of more makes of a larger batch leaves the caches
PER_CHARACTER = 2_600  # multiply-adds that take as long as a character of a text
COMPARED, WORK = 2000, 20_000_000_000  # rows, multiply-adds: for what networks disagree


def write_model(model: keras.Model, path: Path, metadata: ModelMetadata) -> None:
    """Save `model` with Keras, then write its zip again without dates and memory addresses."""
    saved = path.with_name(f"{path.name}.saved.keras")
    model.save(saved)
    try:
        with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w") as target:
            for name in sorted(source.namelist()):
                content = source.read(name)
                if name.endswith(".json"):
                    content = json.dumps(_normal(json.loads(content), {})).encode()
                target.writestr(zipfile.ZipInfo(name, EPOCH), content)
            write_metadata(target, metadata)
    finally:
        saved.unlink()


def _normal(value: Any, ids: dict[int, int]) -> Any:
    """`value` without the date of the save, object ids replaced by their order of appearance."""
    if isinstance(value, list):
        return [_normal(item, ids) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: ids.setdefault(item, len(ids)) if key == "shared_object_id" else _normal(item, ids)
        for key, item in value.items()
        if key != "date_saved"
    }


class SavedModel(NamedTuple):
    """A model whose matrix products are exact, see `exact`, and what its file holds beside it.

    `path` names the file in messages, `content` is what it holds.
    """

    path: Path
    network: keras.Model
    metadata: ModelMetadata
    content: bytes

    @property
    def multiply_adds(self) -> float:
        """About how many multiply-adds the network's outputs for a row take as long as."""
        found = 0.0
        for layer in all_layers(self.network):
            if isinstance(layer, Exact):
                found += layer.layer.count_params()
            elif isinstance(layer, keras.layers.TextVectorization):
                found += PER_CHARACTER * layer.output.shape[1]
        return found

    def predict(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """See `predict`."""
        return predict(self.network, columns)

    def predict_members(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """See `predict`, with those of its members."""
        return predict(self.network, columns, members=True)

    def disagreement(self, rows: pa.Table, schema: Schema, ensemble: Ensemble) -> float:
        """Compute the mean variance between the predictions of the folds' networks for a row."""
        few = max(min(COMPARED, int(WORK / max(self.multiply_adds, 1))), 10)
        members = self.predict_members(feature_arrays(rows[:few], schema))
        return float(fold_predictions(members[:, 1:], ensemble).var(axis=1, ddof=1).mean())

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process it is loaded from its bytes again, once: Keras cannot load `Exact`."""
        return _loaded, (self.path, self.content)


@lru_cache(1)
def _loaded(path: Path, content: bytes) -> SavedModel:
    return read_model(path, content)


def fold_predictions(members: np.ndarray, ensemble: Ensemble) -> np.ndarray:
    """Compute what each fold's networks predict for rows of a regression: float64, (rows, folds).

    Args:
        members: Prediction of each member, in the order of `predict`.
    """
    kinds, (low, high) = ensemble.folds, ensemble.target_range
    count = 1 + max(max(folds) for folds in kinds.values())
    answers, first = np.zeros((len(members), count)), 0
    clipped = np.clip(members.astype(np.float64), low, high)
    for kind, folds in sorted(kinds.items()):
        own = clipped[:, first : first + len(folds)]
        for fold in range(count):
            of_fold = own[:, [place for place, left_out in enumerate(folds) if left_out == fold]]
            answers[:, fold] += ensemble.weights[kind] * of_fold.mean(axis=1)
        first += len(folds)
    return answers


def read_model(path: Path, content: bytes | None = None) -> SavedModel:
    """Load a model with Keras's safe mode on. docs/predictions.md says what that protects from.

    Args:
        content: of the file; read from `path` where it is not given.

    Raises:
        UserError: there is no model, or it is not one that Keras can read.
    """
    if content is None:
        if not path.is_file():
            raise UserError(f"{path}: no model here; run `dvc repro` to train one")
        content = path.read_bytes()
    metadata = read_metadata(path, content)
    with _as_file(content) as copy:
        try:
            network = with_exact_products(keras.models.load_model(copy, safe_mode=True))
        except Exception as error:  # a file can be wrong in any way
            problem = truncate(f"{error}".partition("\n")[0] or type(error).__name__, 500)
            raise UserError(
                f"{path}: not a model that Keras can load in safe mode: {problem}"
            ) from None
    return SavedModel(path, network, metadata, content)


@contextmanager
def _as_file(content: bytes) -> Iterator[Path]:
    """Keras reads files alone."""
    with TemporaryDirectory() as folder:
        copy = Path(folder, "model.keras")
        with atomic_write(copy) as partial:  # which names it where there is no room
            partial.write_bytes(content)
        yield copy


def export(model: SavedModel, folder: Path, signature: str) -> dict[str, str]:
    """Write a TensorFlow SavedModel, whose signature of this name takes raw columns, (rows,) each.

    It gives `outputs`, (rows, outputs). So does the signature `serving_default`.

    Returns:
        The input of each column, which is its name in letters, digits and `_`, a letter first.

    Raises:
        OSError: it cannot be written.
    """
    with _as_file(model.content) as copy:  # plain: TensorFlow Serving may compile nothing
        network = keras.models.load_model(copy, safe_mode=True)
    inputs: dict[str, str] = {}
    for tensor in network.inputs:
        plain = re.sub(r"\W", "_", tensor.name, flags=re.ASCII)
        plain = plain if plain[0].isalpha() else f"column_{plain}"
        taken = {name.lower() for name in inputs.values()}  # TensorFlow's names of nodes are so
        numbered = (f"{plain}_{number}" for number in count(2))
        inputs[tensor.name] = next(n for n in chain([plain], numbered) if n.lower() not in taken)

    @tf.function(autograph=False)
    def answer(**rows: tf.Tensor) -> dict[str, tf.Tensor]:
        columns = {name: rows[plain] for name, plain in inputs.items()}
        return {"outputs": network(columns, training=False)}

    of = {
        inputs[tensor.name]: tf.TensorSpec((None,), tensor.dtype, inputs[tensor.name])
        for tensor in network.inputs
    }
    module = tf.Module()
    module.network = network  # whose weights are saved
    concrete = answer.get_concrete_function(**of)
    try:
        tf.saved_model.save(module, folder, {signature: concrete, "serving_default": concrete})
    except tf.errors.OpError as error:  # such as ResourceExhaustedError: "FILE; No space left ..."
        raise OSError(error.message.rpartition("; ")[2]) from None
    return inputs


def check_model(model: SavedModel, schema: Schema) -> None:
    """Raises `UserError` where a model is not one for the declared columns."""
    expected = {(input_name(name), input_type(c)) for name, c in schema.features.items()}
    found = {(tensor.name, tensor.dtype) for tensor in model.network.inputs}
    wrong = [f"input {name}" for name in sorted(dict(expected ^ found))]
    shape = model.network.output_shape
    if shape != (None, schema.outputs):
        wrong.append(f"{shape[-1] if shape else 'no'} outputs for {schema.outputs}")
    expected_metadata = ModelMetadata.from_schema(schema)
    for key in ("task", "target", "classes") if model.metadata.task else ():
        trained, declared = getattr(model.metadata, key), getattr(expected_metadata, key)
        if trained != declared:
            wrong.append(f"{key} {trained} in the model, {declared} in the schema")
    if wrong:
        raise UserError(
            f"{model.path}: the model was trained for another table than data/schema.yaml "
            f"declares: {listed(wrong)}; run `dvc repro` to train one for this"
        )


def with_temperature(path: Path, temperature: float) -> keras.Model:
    """The model in a file, as Keras loads it, its probabilities at another temperature.

    See `evaluation.calibration`; powers need no logarithm of 0. They are a model within the model,
    which may have layers of the same names.
    """
    network = keras.models.load_model(path, safe_mode=True)
    given = keras.Input(network.output_shape[1:])
    powers = given ** (1 / temperature)
    if network.output_shape[-1] == 1:
        total = powers + (1 - given) ** (1 / temperature)
    else:
        total = keras.ops.sum(powers, axis=1, keepdims=True)
    scaled = keras.Model(given, powers / total, name="temperature")
    return keras.Model(network.inputs, scaled(network.output), name=network.name)


def all_layers(network: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers of a model and of the models within it."""
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            yield from all_layers(layer)
        else:
            yield layer


@lru_cache(1)
def _answer(network: keras.Model) -> tf.types.experimental.ConcreteFunction:
    """Its outputs, and those of each member, see `predict`.

    One graph for batches of any size: graphs of other sizes differ in their last bits.
    """
    rows = {tensor.name: tf.TensorSpec((None,), tensor.dtype) for tensor in network.inputs}
    means = [layer for layer in network.layers if isinstance(layer, Mean)]
    members = [
        mean.input for mean in sorted(means, key=lambda mean: mean.name.removesuffix("-mean"))
    ]
    if in_units := [layer for layer in network.layers if layer.name == "output-value"]:
        members = [in_units[0](tensor) for tensor in members]
    whole = keras.Model(network.input, [network.output, *members])

    def answer(columns: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        outputs, *members = whole(columns, training=False)
        flat = [tf.reshape(of, (-1, math.prod(of.shape[1:]))) for of in members]
        return outputs, tf.concat(flat, axis=1) if flat else outputs[:, :0]

    found = tf.function(answer, input_signature=[rows], autograph=False)
    return found.get_concrete_function()  # of a row it takes half of the time


def predict(
    network: keras.Model, columns: dict[str, np.ndarray], *, members: bool = False
) -> np.ndarray:
    """The model's output for raw columns of shape (rows,) each: float32, (rows, outputs).

    A batch is filled up to one of few sizes. The outputs of a row do not depend on the other rows.

    Args:
        members: whether those of each network that it averages follow, in the units of the target:
            (rows, outputs * (1 + members)); kinds of networks are in alphabetical order.
    """
    rows = len(next(iter(columns.values())))
    weights = network.count_params()
    # A character of a text takes 35 bytes for a while.
    texts = any(isinstance(one, keras.layers.TextVectorization) for one in all_layers(network))
    few = texts or weights > MANY_WEIGHTS
    sizes = BATCH_SIZES[: 2 if few else 3 if weights > FEW_WEIGHTS else None]
    found = [] if rows else [np.empty((0, network.output_shape[-1]), np.float32)]
    answer = _answer(network)
    for start in range(0, rows, sizes[-1]):
        count = min(rows - start, sizes[-1])
        size = next(size for size in sizes if size >= count)
        taken = np.minimum(np.arange(start, start + size), rows - 1)
        batch = {name: values[taken] for name, values in columns.items()}
        outputs, of_members = answer(batch)
        parts = [outputs, of_members] if members else [outputs]
        found.append(np.concatenate([part.numpy()[:count] for part in parts], axis=1))
    return np.concatenate(found)
