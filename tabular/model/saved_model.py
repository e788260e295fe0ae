"""A `.keras` file in a normal form: the same model gives the same bytes."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tabular.errors import UserError
from tabular.model.backend import keras
from tabular.model.exact import with_exact_products
from tabular.schema import Schema, input_name
from tabular.table.arrays import INPUT_TYPES

EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip can hold
BATCH_SIZES = (256, 1024, 4096)
BATCH_ROWS = BATCH_SIZES[-1]
METADATA = "tabular.json"  # in the zip; Keras leaves it alone


def model_metadata(schema: Schema) -> dict[str, Any]:
    """What the outputs mean: of which column, and of which classes in which order."""
    return {"task": schema.task, "target": schema.target, "classes": list(schema.classes)}


def write_model(model: keras.Model, path: Path, metadata: dict[str, Any]) -> None:
    """Save `model` with Keras, then write its zip again without dates and memory addresses.

    Args:
        metadata: what travels in the file beside the model, see `read_metadata`.
    """
    saved = path.with_name(f"{path.name}.saved.keras")
    model.save(saved)
    try:
        with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w") as target:
            for name in sorted(source.namelist()):
                content = source.read(name)
                if name.endswith(".json"):
                    content = json.dumps(_normal(json.loads(content), {}), indent=1).encode()
                target.writestr(zipfile.ZipInfo(name, EPOCH), content)
            target.writestr(zipfile.ZipInfo(METADATA, EPOCH), json.dumps(metadata, indent=1))
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


def read_model(path: Path) -> keras.Model:
    """Load a model with Keras's safe mode on; its matrix products are exact, see `exact`.

    Raises:
        UserError: there is no model, or it is not one that Keras can read.
    """
    if not path.is_file():
        raise UserError(f"{path}: no model here; run `dvc repro` to train one")
    try:
        return with_exact_products(keras.models.load_model(path, safe_mode=True))
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a model that Keras can load in safe mode: {error}") from None


def read_metadata(path: Path) -> dict[str, Any]:
    """What `write_model` put beside the model; empty for a model from elsewhere."""
    with zipfile.ZipFile(path) as file:
        return json.loads(file.read(METADATA)) if METADATA in file.namelist() else {}


def check_model(model: keras.Model, path: Path, schema: Schema) -> None:
    """Raises `UserError` where the model at `path` is not one for the declared columns."""
    expected = {(input_name(name), INPUT_TYPES[c.kind]) for name, c in schema.features.items()}
    found = {(tensor.name, tensor.dtype) for tensor in model.inputs}
    wrong = [f"input {name}" for name in sorted(dict(expected ^ found))]
    if model.output_shape[-1] != schema.outputs:
        wrong.append(f"{model.output_shape[-1]} outputs for {schema.outputs}")
    metadata = read_metadata(path)
    for key, value in model_metadata(schema).items():
        if key in metadata and metadata[key] != value:
            wrong.append(f"{key} {metadata[key]} in the model, {value} in the schema")
    if wrong:
        raise UserError(
            f"{path}: the model was trained for another table than data/schema.yaml declares: "
            f"{', '.join(wrong)}; run `dvc repro` to train one for this"
        )


def predict(model: keras.Model, columns: dict[str, np.ndarray]) -> np.ndarray:
    """The model's output for raw columns of shape (rows,) each: float32, (rows, outputs).

    A batch is filled up to one of few sizes, each of which is a graph. The outputs of a row do not
    depend on the other rows.
    """
    rows = len(next(iter(columns.values())))
    outputs = np.empty((rows, *model.output_shape[1:]), np.float32)
    for start in range(0, rows, BATCH_ROWS):
        count = min(rows - start, BATCH_ROWS)
        size = next(size for size in BATCH_SIZES if size >= count)
        taken = np.minimum(np.arange(start, start + size), rows - 1)
        batch = {name: values[taken] for name, values in columns.items()}
        outputs[start : start + count] = model.predict_on_batch(batch)[:count]
    return outputs
