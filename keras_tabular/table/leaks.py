"""How much of the target each column explains by itself; a leak explains nearly all of it.

The target is learnt from half of the values of a column and predicted for the other half, and the
other way round, so that a column of names explains nothing. A number is predicted from the nearest
one, so that any function of the target is found, also with a little noise. For a regression, the
ranks of the target are predicted, so that a few extreme values do not matter.

Classes have equal shares of the sample, so that it has enough rows of a rare class. A row of the
sample weighs as much as the rows of its class that it represents, so that the share is that of the
whole table.
"""

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Schema
from keras_tabular.table.cells import as_float64

MAX_SAMPLE_ROWS, MAX_SAMPLE_CELLS = 20_000, 4_000_000
MIN_ROWS = 20
MIN_ERRORS = 10  # a column may avoid fewer errors by chance
MAX_SHARED_VALUES = 20  # with so few values, each value is learnt from and predicted
REPRESENTED = "__rows__"  # column of a sample
MIN_PRESENT = 0.5  # share of the rows that have a value


def sample_rows(part: pa.Table, schema: Schema, parts: int) -> pa.Table:
    """Return evenly spaced rows of each class of a part, few enough that all `parts` fit.

    The last column is the number of rows that each row represents.
    """
    limit = min(MAX_SAMPLE_ROWS, MAX_SAMPLE_CELLS // part.num_columns) // parts + 1
    codes, represented = np.zeros(len(part)), np.zeros(len(part))
    if schema.classes:
        codes = _codes(part[schema.target]).to_numpy(zero_copy_only=False)
    classes = np.unique(codes[~np.isnan(codes)])
    for code in classes:
        rows = np.flatnonzero(codes == code)
        step = -(-len(rows) * len(classes) // limit)
        represented[rows[::step]] = step
    part = part.append_column(REPRESENTED, pa.array(represented))
    return part.filter(pa.array(represented > 0))


def shares_explained(sample: pa.Table, schema: Schema) -> dict[str, float | None]:
    """Compute how much of the target each feature explains by itself.

    Args:
        sample: Rows of the table, from `sample_rows`.

    Returns:
        By column, a share of at most 1: of the variance of the target's ranks, or of the errors of
        predicting the most frequent class. None if it is not checked: for texts, and if there are
        too few rows or errors.
    """
    shares: dict[str, float | None] = dict.fromkeys(schema.features)
    sample = sample.filter(sample[schema.target].is_valid())
    sample = sample[: MAX_SAMPLE_CELLS // max(len(schema.classes), 1)]
    if len(sample) < MIN_ROWS:
        return shares
    if not schema.classes:
        numbers = as_float64(sample[schema.target], schema.columns[schema.target])
        y = _rank(numbers.to_numpy())[:, None]
    else:
        codes = _codes(sample[schema.target]).to_numpy()
        y = np.eye(codes.max() + 1)[codes]
    weight = sample[REPRESENTED].to_numpy()
    for name, column in schema.features.items():
        match column.feature_type:
            case "number" | "datetime":
                numbers, ordered = as_float64(sample[name], column), True
            case "category":
                numbers, ordered = _codes(sample[name]).cast(pa.float64()), False
            case "text":
                continue
        values = numbers.to_numpy(zero_copy_only=False)
        shares[name] = _share_explained(values, y, weight, ordered)
    return shares


def _codes(values: pa.ChunkedArray) -> pa.Array:
    """Return the number of each different value, null where a value is missing."""
    return values.combine_chunks().dictionary_encode().indices


def _rank(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value, from 0 to 1; equal values have the mean of their ranks."""
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    return ((counts.cumsum() - counts / 2) / len(values))[codes]


def _share_explained(
    values: np.ndarray, y: np.ndarray, weight: np.ndarray, ordered: bool
) -> float | None:
    """Compute how much of the target one column explains, see `shares_explained`.

    Args:
        values: Float64, shape (rows,); NaN where a value is missing, which is treated as a value.
        y: Ranks of the target, shape (rows, 1), or one-hot classes, shape (rows, classes).
        weight: Number of rows of the table that each row represents, shape (rows,).
        ordered: Whether values that are close to each other may have a similar target.
    """
    distinct, codes = np.unique(values, return_inverse=True)
    by_value = ordered & (len(distinct) > MAX_SHARED_VALUES) & ~np.isnan(values)
    shuffled = np.random.default_rng(0).permutation(len(values))  # the order may have a pattern
    half = np.where(by_value, codes, shuffled) % 2
    key, key_in_other_half = (codes + len(distinct) * number for number in (half, 1 - half))
    order = np.argsort(key, kind="stable")
    weighted = np.column_stack([y, np.ones(len(y))]) * weight[:, None]
    sums = np.vstack([np.zeros(weighted.shape[1]), weighted[order].cumsum(axis=0)])
    first, last = (np.searchsorted(key[order], key_in_other_half, s) for s in ("left", "right"))
    if ordered:  # the nearest number replaces one that the other half does not have
        ends = np.concatenate([[-np.inf], values[order], [np.inf]])
        is_right = np.abs(ends[last + 1] - values) < np.abs(values - ends[first])
        unseen = first == last
        first, last = first - (unseen & ~is_right), last + (unseen & is_right)
    constant = np.average(y, axis=0, weights=weight)
    total = sums[last] - sums[first] + 1e-9 * np.append(constant, 1)  # the constant if unseen
    predicted = total[:, :-1] / total[:, -1:]
    if y.shape[1] > 1:
        wrong, avoidable = (
            weight[each.argmax(axis=-1) != y.argmax(axis=1)] for each in (predicted, constant)
        )
        return float(1 - wrong.sum() / avoidable.sum()) if len(avoidable) >= MIN_ERRORS else None
    variance = np.square(y - constant).sum()
    share = float(1 - np.square(y - predicted).sum() / variance) if variance else 0.0
    present = ~np.isnan(values)
    if ordered and present.mean() >= MIN_PRESENT:
        with np.errstate(invalid="ignore"):  # a constant has no correlation
            correlation = np.corrcoef(_rank(values[present]), y[present, 0])[0, 1]
        share = max(share, float(np.nan_to_num(correlation**2)))
    return share
