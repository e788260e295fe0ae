"""How much of the target each column explains by itself; a leak explains nearly all of it.

The target is learnt from half of the values of a column and predicted for the other half, so that a
column of names explains nothing. Numbers are predicted from the nearest numbers, so that any
function of the target is found, also with a little noise. For a regression, the ranks of the target
are predicted, so that a few extreme values do not matter.
"""

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Schema
from keras_tabular.table.cells import as_float64

MAX_SAMPLE_ROWS, MAX_SAMPLE_CELLS = 20_000, 4_000_000
MIN_ROWS = 20
MIN_ERRORS = 10  # a column may avoid fewer errors by chance
MAX_SHARED_VALUES = 20  # with so few values, each value is learnt from and predicted
NEIGHBOURS = 2  # on each side of a number
MIN_PRESENT = 0.5  # share of the rows that have a value


def sample_rows(part: pa.Table, parts: int) -> pa.Table:
    """Return evenly spaced rows of a part, few enough that the samples of all `parts` fit."""
    limit = min(MAX_SAMPLE_ROWS, MAX_SAMPLE_CELLS // part.num_columns) // parts + 1
    return part.take(pa.array(np.arange(0, len(part), max(-(-len(part) // limit), 1))))


def shares_explained(sample: pa.Table, schema: Schema) -> dict[str, float]:
    """Compute how much of the target each feature explains by itself, without texts.

    Args:
        sample: Rows of the table, with null where a value is missing.

    Returns:
        By column, a share of at most 1: of the variance of the target's ranks, or of the errors of
        predicting the most frequent class. Empty if there are too few rows.
    """
    sample = sample.filter(sample[schema.target].is_valid())
    sample = sample[: MAX_SAMPLE_CELLS // max(len(schema.classes), 1)]
    if len(sample) < MIN_ROWS:
        return {}
    if not schema.classes:
        numbers = as_float64(sample[schema.target], schema.columns[schema.target])
        y = _rank(numbers.to_numpy())[:, None]
    else:
        codes = _codes(sample[schema.target]).to_numpy()
        y = np.eye(codes.max() + 1)[codes]
    shares = {}
    for name, column in schema.features.items():
        match column.feature_type:
            case "number" | "datetime":
                numbers, ordered = as_float64(sample[name], column), True
            case "category":
                numbers, ordered = _codes(sample[name]).cast(pa.float64()), False
            case "text":
                continue
        shares[name] = _share_explained(numbers.to_numpy(zero_copy_only=False), y, ordered)
    return shares


def _codes(values: pa.ChunkedArray) -> pa.Array:
    """Return the number of each different value, null where a value is missing."""
    return values.combine_chunks().dictionary_encode().indices


def _rank(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value, from 0 to 1; equal values have the mean of their ranks."""
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    return ((counts.cumsum() - counts / 2) / len(values))[codes]


def _share_explained(values: np.ndarray, y: np.ndarray, ordered: bool) -> float:
    """Compute how much of the target one column explains, see `shares_explained`.

    Args:
        values: Float64, shape (rows,); NaN where a value is missing, which is treated as a value.
        y: Ranks of the target, shape (rows, 1), or one-hot classes, shape (rows, classes).
        ordered: Whether values that are close to each other may have a similar target.
    """
    distinct, codes = np.unique(values, return_inverse=True)
    by_value = ordered & (len(distinct) > MAX_SHARED_VALUES) & ~np.isnan(values)
    shuffled = np.random.default_rng(0).permutation(len(values))  # the order may have a pattern
    is_learnt = np.where(by_value, codes, shuffled) % 2 == 1
    order = np.argsort(codes[is_learnt], kind="stable")
    learnt_codes = codes[is_learnt][order]
    sums = np.vstack([np.zeros(y.shape[1]), y[is_learnt][order].cumsum(axis=0)])
    first, last = (np.searchsorted(learnt_codes, codes[~is_learnt], s) for s in ("left", "right"))
    if ordered:
        unseen = first == last
        first = np.where(unseen, np.maximum(first - NEIGHBOURS, 0), first)
        last = np.where(unseen, np.minimum(last + NEIGHBOURS, len(learnt_codes)), last)
    constant, counts = y[is_learnt].mean(axis=0), (last - first)[:, None]
    means = (sums[last] - sums[first]) / np.maximum(counts, 1)
    predicted, actual = np.where(counts > 0, means, constant), y[~is_learnt]
    if y.shape[1] > 1:
        classes = actual.argmax(axis=1)
        errors = (classes != predicted.argmax(axis=1)).sum()
        avoidable = (classes != constant.argmax()).sum()
        return float(1 - errors / avoidable) if avoidable >= MIN_ERRORS else 0.0
    variance = np.square(actual - constant).sum()
    share = float(1 - np.square(actual - predicted).sum() / variance) if variance else 0.0
    present = ~np.isnan(values)
    if ordered and present.mean() >= MIN_PRESENT:
        with np.errstate(invalid="ignore"):  # a constant has no correlation
            correlation = np.corrcoef(_rank(values[present]), y[present, 0])[0, 1]
        share = max(share, float(np.nan_to_num(correlation**2)))
    return share
