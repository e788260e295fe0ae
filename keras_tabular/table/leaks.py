"""How much of the target each column explains by itself: a column that explains nearly all leaks.

Half of the values of a column learn the target and the other half are predicted from them, so that
a column of names explains nothing. Numbers are predicted from the nearest ones, so that any
function of the target is found, and the target with a little noise too. A regression is measured
in ranks, where a few extreme values do not decide.
"""

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Column, Schema
from keras_tabular.table.cells import as_float64

MAX_SAMPLE_ROWS, MAX_SAMPLE_CELLS = 20_000, 4_000_000
MIN_ROWS = 20
MIN_ERRORS = 10  # of the most frequent class; a column that avoids fewer may do so by chance
FEW_VALUES = 20  # with fewer, the rows of each value are both learnt from and predicted
NEIGHBOURS = 2  # on each side
MIN_PRESENT = 0.5  # of the rows, to look only at those where a value is present


def sample_rows(part: pa.Table, parts: int) -> pa.Table:
    """Return evenly spaced rows of one of the parts of a table, few enough to hold those of all."""
    limit = min(MAX_SAMPLE_ROWS, MAX_SAMPLE_CELLS // part.num_columns) // parts + 1
    return part.take(pa.array(np.arange(0, len(part), max(-(-len(part) // limit), 1))))


def shares_explained(sample: pa.Table, schema: Schema) -> dict[str, float]:
    """Compute how much of the target each feature explains by itself, at most 1.

    That is a share of the variance of the target's ranks, or of the errors that predicting the most
    frequent class makes. Texts, of which each row has its own, are left out.

    Args:
        sample: Rows of the table, with null where a value is missing.
    """
    sample = sample.filter(sample[schema.target].is_valid())
    sample = sample[: MAX_SAMPLE_CELLS // max(len(schema.classes), 1)]
    if len(sample) < MIN_ROWS:
        return {}
    codes = sample[schema.target].combine_chunks().dictionary_encode().indices.to_numpy()
    if schema.task == "regression":
        numbers = as_float64(sample[schema.target], schema.columns[schema.target])
        y = rank(numbers.to_numpy())[:, None]
    else:
        y = np.eye(codes.max() + 1)[codes]
    return {
        name: share_explained(
            as_numbers(sample[name], column), y, column.feature_type != "category"
        )
        for name, column in schema.features.items()
        if column.feature_type != "text"
    }


def as_numbers(values: pa.ChunkedArray, column: Column) -> np.ndarray:
    """Return a column as float64, categories by their codes; NaN where a value is missing."""
    if column.feature_type == "category":
        values = values.combine_chunks().dictionary_encode().indices
        return values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return as_float64(values, column).to_numpy()


def rank(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value, from 0 to 1; equal values share the mean of theirs."""
    _, place, rows = np.unique(values, return_inverse=True, return_counts=True)
    return ((rows.cumsum() - rows / 2) / len(values))[place]


def share_explained(values: np.ndarray, y: np.ndarray, ordered: bool) -> float:
    """Compute how much of the target one column explains; see `shares_explained`.

    Args:
        values: Float64, shape (rows,); NaN where a value is missing, which counts as a value.
        y: Ranks of the target, shape (rows, 1), or 1 for the class of each row, (rows, classes).
        ordered: Whether values that are close to each other may have a similar target.
    """
    distinct, place = np.unique(values, return_inverse=True)
    by_value = ordered & (len(distinct) > FEW_VALUES) & ~np.isnan(values)
    drawn = np.random.default_rng(0).permutation(len(values))  # rows may alternate in some way
    learns = np.where(by_value, place, drawn) % 2 == 1
    order = np.argsort(place[learns], kind="stable")
    learnt = place[learns][order]
    sums = np.vstack([np.zeros(y.shape[1]), y[learns][order].cumsum(axis=0)])
    first, last = (np.searchsorted(learnt, place[~learns], side) for side in ("left", "right"))
    if ordered:
        unseen = first == last
        first = np.where(unseen, np.maximum(first - NEIGHBOURS, 0), first)
        last = np.where(unseen, np.minimum(last + NEIGHBOURS, len(learnt)), last)
    constant, rows = y[learns].mean(axis=0), (last - first)[:, None]
    predicted = np.where(rows > 0, (sums[last] - sums[first]) / np.maximum(rows, 1), constant)
    actual = y[~learns]
    if y.shape[1] > 1:
        classes = actual.argmax(axis=1)
        errors = (classes != predicted.argmax(axis=1)).sum()
        avoidable = (classes != constant.argmax()).sum()
        return float(1 - errors / avoidable) if avoidable >= MIN_ERRORS else 0.0
    variance = np.square(actual - constant).sum()
    share = float(1 - np.square(actual - predicted).sum() / variance) if variance else 0.0
    present = ~np.isnan(values)
    if ordered and present.mean() >= MIN_PRESENT:
        share = max(share, squared_correlation(rank(values[present]), y[present, 0]))
    return share


def squared_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return the square of the correlation, which of ranks is Spearman's; 0 of a constant."""
    first, second = first - first.mean(), second - second.mean()
    variances = np.square(first).sum() * np.square(second).sum()
    return float(np.square((first * second).sum()) / variances) if variances else 0.0
