"""Metadata of a model: a JSON file within its .keras file, a zip file, that Keras ignores."""

import json
import re
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from keras_tabular.column_statistics.summary import ColumnSummary
from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Drift, Validate
from keras_tabular.config.thresholds import ThresholdRule
from keras_tabular.config.typed_yaml import Section, Share, Value, parse_section
from keras_tabular.core.errors import UserError
from keras_tabular.tasks.task import CostMatrix, Threshold

METADATA = "tabular.json"
REPRODUCIBLE_MACHINES = ("x86_64", "AMD64", "aarch64")  # tests show that their bytes are equal
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip file can contain
MAX_JSON_BYTES = 2**28  # in a .keras file


class Ensemble(Section, extra="ignore"):
    """How the predictions of the folds' networks are combined, by architecture and steps.

    Attributes:
        weights: Weight of the mean of these members.
        folds: The fold that each member was not trained on.
        target_range: The lowest and the highest target value of the training rows; 0 and 1, the
            ends of a probability, for classes.
    """

    weights: dict[str, float]
    folds: dict[str, tuple[int, ...]]
    target_range: tuple[float, float]


class TrainingRows(Section, extra="ignore"):
    """Summary of the training rows.

    Attributes:
        rows: Number of all training rows.
        md5: Hash of the Parquet parts that hold them.
        packages: Versions of the packages that read the rows and trained the model.
        summaries: Summary of each column that the model reads.
        attribution: Share of attribution of each column: its mean absolute contribution to the
            predictions, as a share of the sum over all columns.
        disagreement: Mean variance between the predictions of the folds' networks of a regression.
    """

    rows: int
    md5: str
    packages: dict[str, str]
    summaries: dict[str, ColumnSummary]
    attribution: dict[str, float]
    disagreement: float | None = None


class Intervals(Section):
    """Prediction intervals of a regression.

    Attributes:
        coverage: Share of the rows whose value the intervals should contain.
        at: Predictions in ascending order.
        half: Half the width of the interval at each of them. It is interpolated between them, and
            constant beyond the first and the last one.
    """

    coverage: Share
    at: tuple[float, ...]
    half: tuple[float, ...]

    def ends(self, predicted: np.ndarray) -> np.ndarray:
        """Return the lower and the upper end for each row: float32, shape (rows, 2).

        Args:
            predicted: Predictions of the model, shape (rows,).
        """
        values = predicted.astype(np.float64)
        half = np.interp(values, self.at, self.half)
        return np.column_stack([values - half, values + half]).astype(np.float32)


class ModelMetadata(Section, extra="ignore"):
    """Everything that a model's file contains besides the model; empty for a model from elsewhere.

    Attributes:
        task, target, classes: The meaning of the outputs; classes are in their order.
        loss: The loss function of the training, in the words of `train.loss`.
        repeats: On which machines the training gives the same bytes.
        categories: The categories that the model knows, for the columns where it knows only some.
        ignore: Columns that `train.ignore` leaves out.
        metric: The value of `evaluate.metric`.
        threshold: The lowest probability that counts as positive, and how it was chosen.
        costs: The costs by which classes are predicted, if there are any.
        reaches_rule: Whether the threshold reaches the recall or precision of its rule.
        table_schema, validate_params, drift_params: The schema and the sections of params.yaml
            with which the commands apply the model.
    """

    task: str | None = None
    target: str | None = None
    classes: list[Value] = Field(default_factory=list)
    loss: str = "auto"
    version: str | None = None
    repeats: str | None = None
    ensemble: Ensemble | None = None
    categories: dict[str, list[str]] = Field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    trained_on: TrainingRows | None = None
    intervals: Intervals | None = None
    metric: str = "auto"
    costs: CostMatrix | None = None
    threshold: Annotated[float, Field(ge=0, le=2)] = 0.5
    threshold_choice: ThresholdRule | None = None
    reaches_rule: bool = True
    table_schema: Schema | None = None
    validate_params: Validate = Validate()
    drift_params: Drift = Drift()

    @property
    def decision(self) -> Threshold:
        """What turns probabilities into classes: the costs of several classes, or the threshold."""
        return self.costs if self.costs and len(self.costs) > 2 else self.threshold

    @property
    def attribution(self) -> dict[str, float]:
        """Share of attribution of each column; empty without a summary of the training rows."""
        return self.trained_on.attribution if self.trained_on else {}


def read_metadata(path: Path, content: bytes) -> ModelMetadata:
    """Read the metadata of the model's file at `path`.

    Raises:
        UserError: This is not a model's file, or its metadata are not as this version writes them.
    """
    try:
        with zipfile.ZipFile(BytesIO(content)) as file:
            unpacked = sum(entry.file_size for entry in file.infolist())
            if unpacked > 2 * len(content) + MAX_JSON_BYTES:  # Keras does not compress weights
                raise ValueError(f"it unpacks from {len(content)} to {unpacked} bytes")
            entries = json.loads(file.read(METADATA)) if METADATA in file.namelist() else {}
    except Exception as error:  # a file can be wrong in any way
        raise UserError(f"{path}: not a .keras file of this project: {error}") from None
    return parse_section(entries, ModelMetadata, path)


def training_rows(path: Path, metadata: ModelMetadata) -> TrainingRows:
    """Return the summary of the training rows of the model at `path`.

    Raises:
        UserError: There is no summary.
    """
    if metadata.trained_on is None:
        raise UserError(f"{path}: found no summary of the training rows. Run `dvc repro`.")
    return metadata.trained_on


def replace_metadata(source: Path, target: Path, metadata: ModelMetadata) -> None:
    """Write the model in `source` to `target` with other metadata.

    The same model gives the same bytes: entries of the zip file are sorted and have no date.
    """
    with zipfile.ZipFile(source) as old:
        contents = {name: old.read(name) for name in sorted(old.namelist()) if name != METADATA}
    for name in contents:
        if name.endswith(".json"):
            contents[name] = _without_date_and_addresses(contents[name].decode()).encode()
    contents[METADATA] = metadata.model_dump_json(indent=1, exclude_defaults=True).encode()
    with zipfile.ZipFile(target, "w") as new:
        for name, content in contents.items():
            new.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), content)


def _without_date_and_addresses(text: str) -> str:
    """Remove the date from Keras's JSON, and replace addresses by their order of appearance."""
    numbers: dict[str, int] = {}

    def number(address: re.Match[str]) -> str:
        return str(numbers.setdefault(address[0], len(numbers)))

    text = re.sub(r'(?<="shared_object_id": )\d+', number, text)
    return re.sub(r', "date_saved": "[^"]*"', "", text)
