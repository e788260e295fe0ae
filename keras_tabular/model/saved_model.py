"""Models in `.keras` files, loaded with the metadata that tell how to use them."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from keras_tabular.config.schema import Schema
from keras_tabular.core.errors import UserError, format_list, truncate
from keras_tabular.model.metadata import ModelMetadata
from keras_tabular.network.backend import keras, keras_defaults
from keras_tabular.network.reproducible import ExactModel

MAX_LETTERS_OF_KERAS_ERROR = 500


@dataclass(frozen=True)
class SavedModel(ExactModel):
    """A model with the metadata in its file.

    Attributes:
        metadata: Metadata in the file.
        path: Name of the file in messages.
        content: All bytes of the file.
    """

    metadata: ModelMetadata
    path: Path
    content: bytes

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the bytes alone: Keras cannot pickle a `ReproducibleDense` layer."""
        return _load_once, (self.path, self.content)


@keras_defaults()
def load_saved_model(
    path: Path,
    content: bytes,
    schema: Schema | None = None,
) -> SavedModel:
    """Load a model in Keras's safe mode, against what docs/predictions.md describes.

    Args:
        path: Name of the file in messages.
        content: Content of the file.
        schema: Table for which the model must have been trained.

    Raises:
        UserError: Keras cannot load the model, or it was trained for another table.
    """
    metadata = ModelMetadata.from_file(path, content)
    with TemporaryDirectory() as folder:  # Keras only reads files
        copy = Path(folder, "model.keras")
        copy.write_bytes(content)
        try:
            plain = keras.models.load_model(copy, safe_mode=True)
            model = SavedModel(plain, metadata, path, content)
            model.network  # noqa: B018  which can fail for layers from elsewhere
        except Exception as error:  # a file can be wrong in any way
            first_line = str(error).partition("\n")[0] or type(error).__name__
            raise UserError(
                f"{path}: Keras cannot load it in safe mode:"
                f" {truncate(first_line, MAX_LETTERS_OF_KERAS_ERROR)}",
            ) from None
    model_schema = dict(metadata.table_schema or ())
    changed = [key for key, value in schema or () if model_schema.get(key) != value]
    if changed:
        raise UserError(
            f"{path}: the model was trained for another table than data/schema.yaml"
            f" declares: {format_list(changed)} differ. Run `dvc repro`.",
        )
    return model


@lru_cache(1)
def _load_once(path: Path, content: bytes) -> SavedModel:
    # Pickle finds a function by its name, so the cached one needs a name of its own.
    return load_saved_model(path, content)
