"""What a training records in the file of its model, a zip file, as JSON that Keras ignores."""

import json
import re
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field

from keras_tabular.config.typed_yaml import Section, Value, parse_section
from keras_tabular.core.errors import UserError
from keras_tabular.table.profile import ColumnSummary

METADATA = "tabular.json"  # the entry in the zip file
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip file can contain
MAX_JSON_BYTES = 2**28  # in a .keras file


class Ensemble(Section, extra="ignore"):
    """How the predictions of the folds' networks are combined, by architecture and steps.

    Attributes:
        weights: Weight of the mean of these members.
        folds: The fold that each member was not trained on.
        target_range: The lowest and the highest target value of the training rows; 0
            and 1, the ends of a probability, for classes.
    """

    weights: dict[str, float]
    folds: dict[str, tuple[int, ...]]
    target_range: tuple[float, float]

    def fold_means(
        self,
        members: np.ndarray,
        n_outputs: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the mean predictions of the networks of each fold.

        Args:
            members: Predictions of the model and of its members, as
                `ExactModel.predict_members` returns them.
            n_outputs: Number of outputs of the model.

        Returns:
            The means of each architecture and number of steps, float64, shape (names,
            folds, rows, outputs); and their weights in the ensemble, shape (names,).
        """
        clipped = np.clip(members, *self.target_range).reshape(
            len(members),
            -1,
            n_outputs,
        )
        # after the predictions of the model
        means = []
        first = 1
        for _, folds in sorted(self.folds.items()):
            outputs = clipped[:, first : first + len(folds)].astype(np.float64)
            means.append(
                [outputs[:, np.equal(folds, k)].mean(axis=1) for k in sorted({*folds})],
            )
            first += len(folds)
        return np.array(means), np.array(
            [weight for _, weight in sorted(self.weights.items())],
        )


class TrainingRows(Section, extra="ignore"):
    """Summary of the training rows.

    Attributes:
        rows: Number of all training rows.
        md5: Hash of the Parquet parts that hold them.
        packages: Versions of the packages that read the rows and trained the model.
        summaries: Summary of each column that the model reads.
        attribution: Share of attribution of each column: its mean absolute contribution
            to the predictions, as a share of the sum over all columns.
        disagreement: Mean variance between the predictions of the folds' networks of a
            regression.
    """

    rows: int
    md5: str
    packages: dict[str, str]
    summaries: dict[str, ColumnSummary]
    attribution: dict[str, float]
    disagreement: float | None = None


class TrainingRecord(Section, extra="ignore"):
    """What a training did; empty for a model from elsewhere.

    Attributes:
        task, target, classes: The meaning of the outputs; classes are in their order.
        loss: The loss function of the training, in the words of `train.loss`.
        repeats: On which machines the training gives the same bytes.
        categories: The categories that the model knows, for the columns where it knows
            only some.
        ignore: Columns that `train.ignore` leaves out.
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

    @classmethod
    def from_file(cls, path: Path, content: bytes) -> Self:
        """Read what the file of a model records; nothing for a model from elsewhere.

        Args:
            path: Name of the model's file in messages.
            content: Content of the model's file.

        Raises:
            UserError: This is not a model's file, or its metadata are not as this
                version writes them.
        """
        try:
            with zipfile.ZipFile(BytesIO(content)) as file:
                unpacked = sum(entry.file_size for entry in file.infolist())
                if (
                    unpacked > 2 * len(content) + MAX_JSON_BYTES
                ):  # Keras does not compress weights
                    raise ValueError(
                        f"it unpacks from {len(content)} to {unpacked} bytes",
                    )
                entries = (
                    json.loads(file.read(METADATA))
                    if METADATA in file.namelist()
                    else {}
                )
        except Exception as error:  # a file can be wrong in any way
            raise UserError(
                f"{path}: not a .keras file of this project: {error}",
            ) from None
        return parse_section(entries, cls, path)


def replace_metadata(source: Path, target: Path, metadata: TrainingRecord) -> None:
    """Write the model in `source` to `target` with other metadata.

    The same model gives the same bytes: entries of the zip file are sorted and have no
    date.
    """
    with zipfile.ZipFile(source) as old:
        contents = {
            name: old.read(name) for name in sorted(old.namelist()) if name != METADATA
        }
    for name in contents:
        if name.endswith(".json"):
            contents[name] = _without_date_and_addresses(
                contents[name].decode(),
            ).encode()
    contents[METADATA] = metadata.model_dump_json(
        indent=1,
        exclude_defaults=True,
    ).encode()
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
