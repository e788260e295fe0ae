"""What a training records in the zip file of its model, as JSON that Keras ignores."""

import json
import re
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field

from keras_tabular.core.errors import UserError
from keras_tabular.core.typed_yaml import Section, Value, parse_section
from keras_tabular.table.profile import ColumnSummary

# Entry in the zip file.
METADATA = "tabular.json"
# Size of all JSON in a .keras file.
MAX_JSON_BYTES = 2**28


class Ensemble(Section, extra="ignore"):
    """How the predictions of the folds' networks are combined.

    The members of the same architecture and number of steps have a name together.

    Attributes:
        weights: Weight of the mean of the members of each name.
        folds: The fold that each member of a name was not trained on.
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
            The means by name, float64, shape (names, folds, rows, outputs), and the
            weights of the names, shape (names,). The names are sorted.

        Examples:
            The second and the third number are predictions for a row by two members of
            fold 0, the last one is by a member of fold 1.

            >>> ensemble = Ensemble(
            ...     weights={"plain": 1.0},
            ...     folds={"plain": (0, 0, 1)},
            ...     target_range=(0.0, 10.0),
            ... )
            >>> means, weights = ensemble.fold_means(np.array([[5.0, 2, 4, 11]]), 1)
            >>> means.shape
            (1, 2, 1, 1)
            >>> means.ravel().tolist()
            [3.0, 10.0]
        """
        lowest, highest = self.target_range
        clipped = np.clip(members, lowest, highest)
        clipped = clipped.reshape(len(members), -1, n_outputs)
        # (rows, 1 + members, outputs): the model itself comes before its members.
        names = sorted(self.folds)
        means = []
        first = 1
        for name in names:
            folds = np.array(self.folds[name])
            end = first + len(folds)
            outputs = clipped[:, first:end].astype(np.float64)
            by_fold = [outputs[:, folds == fold] for fold in np.unique(folds)]
            means.append([members.mean(axis=1) for members in by_fold])
            first = end
        weights = [self.weights[name] for name in names]
        return np.array(means), np.array(weights)


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
                # Keras does not compress weights, so only JSON becomes much larger.
                if unpacked > 2 * len(content) + MAX_JSON_BYTES:
                    raise ValueError(
                        f"it unpacks from {len(content)} to {unpacked} bytes",
                    )
                has_record = METADATA in file.namelist()
                entries = json.loads(file.read(METADATA)) if has_record else {}
        except Exception as error:  # a file can be wrong in any way
            raise UserError(
                f"{path}: not a .keras file of this project: {error}",
            ) from None
        return parse_section(entries, cls, path)


def replace_metadata(source: Path, target: Path, metadata: TrainingRecord) -> None:
    """Write the model in `source` to another file, with other metadata.

    The same model gives the same bytes: entries of the zip file are sorted, and their
    date is the first one of the format, which is the default of `ZipInfo`.
    """
    with (
        zipfile.ZipFile(source) as old,
        zipfile.ZipFile(target, "w") as new,
    ):
        names = set(old.namelist()) - {METADATA}
        for name in sorted(names):
            content = old.read(name)
            if name.endswith(".json"):
                content = _without_date_and_addresses(content.decode()).encode()
            new.writestr(zipfile.ZipInfo(name), content)
        record = metadata.model_dump_json(indent=1, exclude_defaults=True)
        new.writestr(zipfile.ZipInfo(METADATA), record)


def _without_date_and_addresses(text: str) -> str:
    """Remove the date from Keras's JSON, and replace addresses by numbers."""
    numbers: dict[str, int] = {}

    def number(address: re.Match[str]) -> str:
        return str(numbers.setdefault(address[0], len(numbers)))

    text = re.sub(r'(?<="shared_object_id": )\d+', number, text)
    return re.sub(r', "date_saved": "[^"]*"', "", text)
