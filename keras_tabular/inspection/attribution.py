"""Contributions of columns to predictions: Shapley values, and the share of each column."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from keras_tabular.column_statistics.summary import BACKGROUND_SIZE, ColumnSummary
from keras_tabular.config.schema import Schema, input_name
from keras_tabular.model_file.metadata import Ensemble, TrainingRows
from keras_tabular.table.arrays import Inputs, Predict, feature_arrays, predict_distinct_rows
from keras_tabular.table.parquet import count_rows, hash_parts, read_first_rows

if TYPE_CHECKING:
    from keras_tabular.model_file.saved_model import SavedModel

MAX_EVALUATIONS = 1024  # predictions for a row, unless a pair of permutations takes more
MAX_EXPLAINED = 30  # columns of a wide table that are explained one by one
MAX_ROWS_FOR_SHARES = 100  # rows over which shares of attribution are averaged
MAX_ROWS_COMPARED = 2000  # rows for which the predictions of the folds' networks are compared
MAX_MULTIPLY_ADDS = 20_000_000_000  # of the model, for the shares and for the comparison
MAX_VALUES_AT_A_TIME = 2**22  # values that the model reads and returns
MAX_ROWS_SUMMARIZED, MAX_CELLS_SUMMARIZED = 200_000, 20_000_000  # training rows, in random order


class Permutations(NamedTuple):
    """Background rows, and orders in which columns take the values of an explained row.

    Attributes:
        names: Columns that are explained one by one.
        n_ranks: Number of places in an order; there is one more if all other columns go together.
        background: Values of each input, shape (permutations,).
        ranks: Place of each input in each order, shape (permutations,).
    """

    names: list[str]
    n_ranks: int
    background: Inputs
    ranks: Inputs

    @property
    def evaluations_per_row(self) -> int:
        """Number of predictions that explaining a row takes."""
        return self.n_ranks * len(next(iter(self.ranks.values())))

    @classmethod
    def from_summaries(
        cls, summaries: Mapping[str, ColumnSummary], schema: Schema, names: Sequence[str]
    ) -> Self:
        """Draw permutations whose background rows consist of values of the training rows.

        The values of each column are taken in an order of its own: Latin hypercube sampling.

        Args:
            names: Columns that are explained one by one.
        """
        rng, background = np.random.default_rng(0), {}
        n_ranks = len(names) + (len(names) < len(schema.features))
        pairs = max(1, min(BACKGROUND_SIZE, MAX_EVALUATIONS // (2 * n_ranks)))
        for name, column in schema.features.items():
            missing = "" if column.is_string else np.nan
            summarized = summaries[name].background or [None] * BACKGROUND_SIZE
            values = [missing if value is None else value for value in summarized]
            array = np.array(values, object if column.is_string else np.float64)
            drawn = array[rng.permutation(BACKGROUND_SIZE)[:pairs]]
            background[input_name(name)] = np.repeat(drawn, 2)
        forwards = np.array([rng.permutation(n_ranks) for _ in range(pairs)])
        # Each order is followed by its reverse.
        orders = np.stack([forwards, n_ranks - 1 - forwards], axis=1).reshape(-1, n_ranks)
        ranks = dict.fromkeys(background, orders[:, -1])
        ranks |= zip(map(input_name, names), orders.T, strict=False)
        return cls(list(names), n_ranks, background, ranks)


def contributions(predict: Predict, columns: Inputs, permutations: Permutations) -> np.ndarray:
    """Compute what each explained column adds to the outputs, on average over the permutations.

    Args:
        predict: The model.
        columns: Inputs of the model as `feature_arrays` returns them, shape (rows,) each.

    Returns:
        Float64, shape (rows, names, outputs).
    """
    names, n_ranks, background, ranks_by_input = permutations
    first = predict(background).astype(np.float64)  # (permutations, outputs)
    n_permutations, n_outputs = first.shape
    rows = len(next(iter(columns.values())))
    values_per_row = permutations.evaluations_per_row * (len(columns) + n_outputs)
    batch_size, batches = max(MAX_VALUES_AT_A_TIME // values_per_row, 1), []
    for start in range(0, max(rows, 1), batch_size):
        inputs = {}
        for name, ranks in ranks_by_input.items():
            has_own_value = ranks[:, None, None] <= np.arange(n_ranks)[:, None]
            own_values = columns[name][start : start + batch_size]
            table = np.where(has_own_value, own_values, background[name][:, None, None])
            inputs[name] = table.ravel()
        after = predict_distinct_rows(predict, inputs).astype(np.float64)
        after = after.reshape(n_permutations, n_ranks, -1, n_outputs)
        before = np.broadcast_to(first[:, None, None], (n_permutations, 1, *after.shape[2:]))
        changes = np.diff(after, axis=1, prepend=before)
        ranks_of_names = [ranks_by_input[input_name(name)] for name in names]
        by_name = [changes[np.arange(n_permutations), ranks] for ranks in ranks_of_names]
        # Along the last axis a mean adds up in the same order, however many rows there are.
        batches.append(np.ascontiguousarray(np.transpose(by_name, (2, 0, 3, 1))).mean(axis=-1))
    return np.concatenate(batches)


def add_training_rows(model: "SavedModel", folder: Path, schema: Schema) -> "SavedModel":
    """Add a summary of the training rows in a folder to a model, and how it predicts them.

    The commit is not part of it, since a commit contains the hash of its own model. `git log -S`
    with the model's MD5 in dvc.lock finds the commit.

    Args:
        model: The model that was trained on these rows.
        folder: Folder of the training rows.
        schema: The table; columns that `train.ignore` leaves out are left out here, too.
    """
    schema = schema.without(model.metadata.ignore)
    limit = min(MAX_ROWS_SUMMARIZED, MAX_CELLS_SUMMARIZED // len(schema.columns))
    rows = read_first_rows(folder, limit)
    summaries = {
        name: ColumnSummary.from_values(rows[name], column, model.metadata.categories.get(name))
        for name, column in schema.features.items()
    }
    permutations = Permutations.from_summaries(summaries, schema, list(schema.features))
    work, disagreement = max(model.multiply_adds, 1), None
    affordable = int(MAX_MULTIPLY_ADDS / (work * permutations.evaluations_per_row))
    explained = feature_arrays(rows[: max(min(MAX_ROWS_FOR_SHARES, affordable), 4)], schema)
    values = np.nan_to_num(contributions(model.predict, explained, permutations))
    sizes = np.abs(values).mean(axis=(0, 2))
    shares = sizes / sizes.sum() if sizes.any() else sizes
    if (ensemble := model.metadata.ensemble) and not schema.classes:
        compared = rows[: max(min(MAX_ROWS_COMPARED, int(MAX_MULTIPLY_ADDS / work)), 10)]
        members = model.predict_members(feature_arrays(compared, schema))
        means, weights = fold_means(members, ensemble, 1)
        disagreement = float(np.average(means, axis=0, weights=weights).var(axis=0, ddof=1).mean())
    names = ("keras", "tensorflow", "pyarrow", "numpy")  # modules that are imported already
    trained_on = TrainingRows(
        rows=sum(count_rows(folder)),
        md5=hash_parts(folder),
        packages={name: import_module(name).__version__ for name in names},
        summaries=summaries,
        attribution=dict(zip(schema.features, np.round(shares, 6).tolist(), strict=True)),
        disagreement=disagreement,
    )
    return replace(model, metadata=model.metadata.model_copy(update={"trained_on": trained_on}))


def fold_means(
    members: np.ndarray, ensemble: Ensemble, n_outputs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean predictions of the networks of each fold.

    Args:
        members: Predictions of the model and of its members, as `SavedModel.predict_members`
            returns them.
        n_outputs: Number of outputs of the model.

    Returns:
        The means of each architecture and number of steps, float64, shape (names, folds, rows,
        outputs); and their weights in the ensemble, shape (names,).
    """
    clipped = np.clip(members, *ensemble.target_range).reshape(len(members), -1, n_outputs)
    means, first = [], 1  # after the predictions of the model
    for _, folds in sorted(ensemble.folds.items()):
        outputs = clipped[:, first : first + len(folds)].astype(np.float64)
        means.append([outputs[:, np.equal(folds, k)].mean(axis=1) for k in sorted({*folds})])
        first += len(folds)
    return np.array(means), np.array([weight for _, weight in sorted(ensemble.weights.items())])
