"""Contributions of columns to predictions: Shapley values, and the share of each column."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from keras_tabular.config.schema import Schema, input_name
from keras_tabular.model_file.column_summary import (
    BACKGROUND_SIZE,
    ColumnSummary,
    summarize_columns,
)
from keras_tabular.model_file.metadata import Ensemble, TrainingRows, provenance
from keras_tabular.table.arrays import Predict, feature_arrays
from keras_tabular.table.parquet import read_rows

if TYPE_CHECKING:
    from keras_tabular.model_file.saved_model import SavedModel

MAX_EVALUATIONS = 1024  # predictions for a row, unless a pair of permutations takes more
MAX_EXPLAINED = 30  # columns of a wide table that are explained one by one
MAX_ROWS_FOR_SHARES = 100  # rows over which shares of attribution are averaged
MAX_ROWS_COMPARED = 2000  # rows for which the predictions of the folds' networks are compared
MAX_MULTIPLY_ADDS = 20_000_000_000  # of the model, for the shares and for the comparison
MAX_VALUES = 2**22  # values that the model reads and returns at a time
# Training rows, which are in random order, and their cells that are summarized.
MAX_ROWS, MAX_CELLS = 200_000, 20_000_000


class Permutations(NamedTuple):
    """Background rows, and orders in which columns take the values of an explained row.

    Attributes:
        names: Columns that are explained one by one.
        n_ranks: Number of places in an order; there is one more if all other columns go together.
        background: Values of each input, (permutations,).
        ranks: Place of each input in each order, (permutations,).
    """

    names: list[str]
    n_ranks: int
    background: dict[str, np.ndarray]
    ranks: dict[str, np.ndarray]

    @property
    def evaluations_per_row(self) -> int:
        """Number of predictions that explaining a row takes."""
        return self.n_ranks * len(next(iter(self.ranks.values())))

    @classmethod
    def from_summaries(
        cls,
        summaries: Mapping[str, ColumnSummary],
        schema: Schema,
        names: Sequence[str] | None = None,
    ) -> Self:
        """Draw permutations whose background are values of the training rows.

        The values of each column are taken in an order of its own: Latin hypercube sampling.

        Args:
            names: Columns that are explained one by one; by default all of them.
        """
        rng = np.random.default_rng(0)
        explained = list(schema.features if names is None else names)
        steps = len(explained) + (len(explained) < len(schema.features))
        pairs = max(1, min(BACKGROUND_SIZE, MAX_EVALUATIONS // (2 * steps)))
        backgrounds, ranks = {}, {}
        for name, column in schema.features.items():
            missing = "" if column.is_string else np.nan
            background = summaries[name].background or [None] * BACKGROUND_SIZE
            values = [missing if value is None else value for value in background]
            array = np.array(values, object if column.is_string else np.float64)
            drawn = array[rng.permutation(BACKGROUND_SIZE)[:pairs]]
            backgrounds[input_name(name)] = np.repeat(drawn, 2)
        orders = np.array([rng.permutation(steps) for _ in range(pairs)])  # of each step's columns
        both_ways = np.stack([orders, steps - 1 - orders], axis=1).reshape(2 * pairs, steps)
        for name in schema.features:
            step = explained.index(name) if name in explained else steps - 1
            ranks[input_name(name)] = both_ways[:, step]
        return cls(explained, steps, backgrounds, ranks)


def contributions(
    predict: Predict, columns: dict[str, np.ndarray], permutations: Permutations
) -> np.ndarray:
    """Compute what each explained column adds to the outputs, on average over the permutations.

    Args:
        predict: The model.
        columns: Inputs of the model as `feature_arrays` returns them, (rows,) each.

    Returns:
        Float64, (rows, names, outputs).
    """
    names, n_ranks, background, all_ranks = permutations
    first = predict(background).astype(np.float64)  # (permutations, outputs), where they begin
    rows, numbers = len(next(iter(columns.values()))), np.arange(len(first))
    values = permutations.evaluations_per_row * (len(columns) + first.shape[1])
    batch, results = max(MAX_VALUES // values, 1), []
    for start in range(0, max(rows, 1), batch):
        tables = {}
        for name, ranks in all_ranks.items():
            has_own_value = ranks[:, None, None] <= np.arange(n_ranks)[:, None]
            own_values = columns[name][start : start + batch]
            table = np.where(has_own_value, own_values, background[name][:, None, None])
            tables[name] = table.ravel()
        after = predict(tables).astype(np.float64)
        after = after.reshape(len(first), n_ranks, -1, first.shape[1])
        before = np.broadcast_to(first[:, None, None], (len(first), 1, *after.shape[2:]))
        moves = np.diff(after, axis=1, prepend=before)
        of_names = [moves[numbers, all_ranks[input_name(name)]] for name in names]
        # Along the last axis a mean adds up in the same order, however many rows there are.
        results.append(np.ascontiguousarray(np.transpose(of_names, (2, 0, 3, 1))).mean(axis=-1))
    return np.concatenate(results)


def describe_training_rows(model: "SavedModel", train: Path, schema: Schema) -> TrainingRows:
    """Summarize the training rows in a folder, and how the model predicts them.

    Args:
        model: The model that was trained on these rows.
        train: Folder of the training rows.
    """
    rows = read_rows(train, min(MAX_ROWS, MAX_CELLS // len(schema.columns)))
    summaries = summarize_columns(rows, schema, model.metadata.categories)
    permutations = Permutations.from_summaries(summaries, schema)
    work, disagreement = max(model.multiply_adds, 1), None
    affordable = int(MAX_MULTIPLY_ADDS / (work * permutations.evaluations_per_row))
    explained = feature_arrays(rows[: max(min(MAX_ROWS_FOR_SHARES, affordable), 4)], schema)
    values = np.nan_to_num(contributions(model.predict, explained, permutations))
    sizes = np.abs(values).mean(axis=(0, 2))
    shares = sizes / sizes.sum() if sizes.any() else sizes
    if ensemble := model.metadata.ensemble:
        compared = rows[: max(min(MAX_ROWS_COMPARED, int(MAX_MULTIPLY_ADDS / work)), 10)]
        members = model.predict_members(feature_arrays(compared, schema))[:, 1:]
        variances = fold_predictions(members, ensemble).var(axis=1, ddof=1)
        disagreement = float(variances.mean())
    return TrainingRows(
        **provenance(train),
        summaries=summaries,
        attribution=dict(zip(schema.features, np.round(shares, 6).tolist(), strict=True)),
        disagreement=disagreement,
    )


def fold_predictions(members: np.ndarray, ensemble: Ensemble) -> np.ndarray:
    """Compute what each fold's networks predict for rows of a regression: float64, (rows, folds).

    Args:
        members: Prediction of each member, in the order of `predict_members`.
    """
    low, high = ensemble.target_range
    n_folds = 1 + max(max(folds) for folds in ensemble.folds.values())
    predictions, first = np.zeros((len(members), n_folds)), 0
    clipped = np.clip(members.astype(np.float64), low, high)
    for name, folds in sorted(ensemble.folds.items()):
        outputs = clipped[:, first : first + len(folds)]
        for fold in range(n_folds):
            mean = outputs[:, np.equal(folds, fold)].mean(axis=1)
            predictions[:, fold] += ensemble.weights[name] * mean
        first += len(folds)
    return predictions
