"""Columns that leak the target: how much of the target each one explains by itself."""

import math
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_tabular.config.schema import Schema
from keras_tabular.table.cells import as_float64

# A column that explains this share of the target is a warning, if not an error.
MIN_LEAK_SHARE_TO_WARN = 0.95
# Rows and cells of the sample in which leaks are looked for.
MAX_SAMPLE_ROWS = 20_000
MAX_SAMPLE_CELLS = 4_000_000
# With fewer rows, or fewer errors of a constant, no column is checked: one may explain
# them by chance.
MIN_ROWS = 20
MIN_ERRORS = 10
# Rows with the same number are dealt to both halves of the sample if the column has at
# most this many numbers, or if the number stands in more than one in this many rows.
MAX_SHARED_VALUES = 20
# Share of the rows that have a value, for a correlation.
MIN_PRESENT = 0.5
# Weight of the mean of all rows in a prediction, which decides if no row matches.
CONSTANT_WEIGHT = 1e-9
# Column of the sample: the number of rows that each row represents.
REPRESENTED = "__rows__"


def sample_rows(
    part: pa.Table,
    schema: Schema,
    parts: int,
) -> pa.Table:
    """Return evenly spaced rows of each class of a part, so few that all `parts` fit.

    The last column is the number of rows that each row represents.
    """
    max_rows = min(MAX_SAMPLE_ROWS, MAX_SAMPLE_CELLS // part.num_columns) // parts + 1
    codes = np.zeros(len(part))
    if schema.classes:
        codes = _codes(part[schema.target]).to_numpy(zero_copy_only=False)
    classes = np.unique(codes[~np.isnan(codes)])
    represented = np.zeros(len(part))
    for code in classes:
        rows = np.flatnonzero(codes == code)
        step = math.ceil(len(rows) * len(classes) / max_rows)
        represented[rows[::step]] = step
    part = part.append_column(REPRESENTED, pa.array(represented))
    return part.filter(pa.array(represented > 0))


def shares_explained(
    sample: pa.Table,
    schema: Schema,
) -> dict[str, dict[str, float]]:
    """Compute how much of the target each feature explains by itself.

    Args:
        sample: Rows of the table, from `sample_rows`.

    Returns:
        By column, shares of at most 1 by what they are of, in words: "" is the share of
        the variance of the target's ranks, or of the errors of predicting the most
        frequent class. " of class a" is the share of the errors of telling this class
        from the others. What is not checked is left out: texts, and where there are too
        few rows or errors.
    """
    shares: dict[str, dict[str, float]] = {name: {} for name in schema.features}
    sample = sample.filter(sample[schema.target].is_valid())
    sample = sample[: MAX_SAMPLE_CELLS // max(len(schema.classes), 1)]
    if len(sample) < MIN_ROWS:
        return shares
    target = sample[schema.target]
    if schema.classes:
        codes = _codes(target).to_numpy()
        y = np.eye(codes.max() + 1)[codes]  # one-hot, (rows, classes)
    else:
        numbers = as_float64(target, schema.columns[schema.target])
        y = pc.rank_quantile(numbers).to_numpy()[:, None]  # (rows, 1)
    weight = sample[REPRESENTED].to_numpy()
    names = ["", *(f" of class {value}" for value in target.unique().to_pylist())]
    for name, column in schema.features.items():
        if column.feature_type == "text":
            continue
        ordered = column.feature_type != "category"
        if ordered:
            numbers = as_float64(sample[name], column)
        else:
            numbers = _codes(sample[name]).cast(pa.float64())
        values = numbers.to_numpy(zero_copy_only=False)
        pairs = zip(names, share_explained(values, y, weight, ordered), strict=False)
        shares[name] = {key: share for key, share in pairs if share is not None}
    return shares


def _codes(values: pa.ChunkedArray) -> pa.Array:
    """Return the number of each different value, null where a value is missing."""
    return values.combine_chunks().dictionary_encode().indices


def share_explained(
    values: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    ordered: bool,
) -> list[float | None]:
    """Compute how much of the target, and of each class, one column explains.

    The rows are dealt to two halves. The target of a row is predicted from the rows of
    the other half with the same or the nearest value.

    Args:
        values: Float64, shape (rows,); NaN where a value is missing, which is treated
            as a value.
        y: Ranks of the target, shape (rows, 1), or one-hot classes, shape (rows,
            classes).
        weight: Number of rows of the table that each row represents, shape (rows,).
        ordered: Whether values that are close to each other may have a similar target.
    """
    half = deal_halves(values, ordered)
    matches = find_matches(values, half, ordered)
    constant = np.average(y, axis=0, weights=weight)
    predicted = predict_from_matches(matches, y, weight, constant)
    if y.shape[1] > 1:
        best = predicted.argmax(axis=1)
        outcomes: list[Any] = [(y.argmax(axis=1), best, constant.argmax())]
        outcomes += zip(y.T > 0.5, predicted.T > 0.5, constant > 0.5, strict=True)
        return [share_of_errors_avoided(weight, *each) for each in outcomes]
    variance = np.square(y - constant).sum()
    residual = np.square(y - predicted).sum()
    share = float(1 - residual / variance) if variance else 0.0
    is_present = ~np.isnan(values)
    if ordered and is_present.mean() >= MIN_PRESENT:
        ranks = pc.rank_quantile(pa.array(values[is_present])).to_numpy()
        with np.errstate(invalid="ignore"):  # one value has no correlation
            correlation = np.corrcoef(ranks, y[is_present, 0])[0, 1]
        share = max(share, float(np.nan_to_num(correlation**2)))
    return [share]


def deal_halves(values: np.ndarray, ordered: bool) -> np.ndarray:
    """Return the half of each row, 0 or 1, shape (rows,).

    Rows are dealt at random. But all rows with the same number are in one half, so that
    a number that only identifies a group explains nothing. This does not hold for a
    number that is frequent or one of few.

    Examples:
        >>> birthdays = np.repeat(np.arange(25.0), 3)
        >>> deal_halves(birthdays, ordered=True)[:9]
        array([0, 0, 0, 1, 1, 1, 0, 0, 0])
    """
    rng = np.random.default_rng(0)
    half = rng.permutation(len(values)) % 2
    distinct, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    if ordered and len(distinct) > MAX_SHARED_VALUES:
        is_frequent = counts * MAX_SHARED_VALUES > len(values)
        is_shared = np.isnan(distinct) | is_frequent
        half = np.where(is_shared[codes], half, codes % 2)
    return half


class Matches(NamedTuple):
    """Rows of the other half from which the target of each row is predicted.

    Attributes:
        order: The rows, sorted by half and value; shape (rows,).
        first: Position of the first match of each row in this order; shape (rows,).
        last: Position after its last match; shape (rows,).
    """

    order: np.ndarray
    first: np.ndarray
    last: np.ndarray


def find_matches(
    values: np.ndarray,
    half: np.ndarray,
    ordered: bool,
) -> Matches:
    """Find the rows of the other half with the same value, or else the nearest number.

    A category that the other half does not have is without matches.

    Examples:
        >>> values = np.array([1.0, 5.0, 2.0, 1.0])
        >>> half = np.array([0, 0, 1, 1])
        >>> order, first, last = find_matches(values, half, ordered=True)
        >>> for row in range(4):
        ...     print(values[row], "matches", values[order[first[row] : last[row]]])
        1.0 matches [1.]
        5.0 matches [2.]
        2.0 matches [1.]
        1.0 matches [1.]
    """
    distinct, codes = np.unique(values, return_inverse=True)
    key = codes + len(distinct) * half
    key_in_other_half = codes + len(distinct) * (1 - half)
    order = np.argsort(key, kind="stable")
    first = np.searchsorted(key[order], key_in_other_half)
    last = np.searchsorted(key[order], key_in_other_half, side="right")
    if ordered:
        ends = (-np.inf, np.inf)
        neighbors = np.pad(values[order], 1, constant_values=ends)
        distance_to_lower = np.abs(values - neighbors[first])
        distance_to_higher = np.abs(neighbors[last + 1] - values)
        is_higher_nearest = distance_to_higher < distance_to_lower
        is_unseen = first == last
        first -= is_unseen & ~is_higher_nearest
        last += is_unseen & is_higher_nearest
    return Matches(order, first, last)


def predict_from_matches(
    matches: Matches,
    y: np.ndarray,
    weight: np.ndarray,
    constant: np.ndarray,
) -> np.ndarray:
    """Predict the weighted mean of the target of the matches of each row.

    Args:
        y: Target, see `share_explained`.
        weight: Weight of each row, shape (rows,).
        constant: Prediction of rows without matches, shape (columns of y,).

    Returns:
        The predictions, in the shape of `y`.

    Examples:
        >>> first = np.array([1, 0])
        >>> last = np.array([3, 0])
        >>> matches = Matches(np.arange(3), first, last)
        >>> y = np.array([[1.0], [2.0], [5.0]])
        >>> predict_from_matches(matches, y, np.ones(3), np.array([9.0])).round(6)
        array([[3.5],
               [9. ]])
    """
    terms = np.column_stack([y * weight[:, None], weight])
    # The sum over the matches of a row is a difference of cumulative sums.
    sums = terms[matches.order].cumsum(axis=0)
    sums = np.insert(sums, 0, 0, axis=0)
    sums = sums[matches.last] - sums[matches.first]
    target_sums = sums[:, :-1] + CONSTANT_WEIGHT * constant
    return target_sums / (sums[:, -1:] + CONSTANT_WEIGHT)


def share_of_errors_avoided(
    weight: np.ndarray,
    classes: np.ndarray,
    predicted: np.ndarray,
    constant: int,
) -> float | None:
    """Compute the share of the errors of a constant class that predictions avoid.

    Args:
        weight: Weight of each row, shape (rows,).
        classes, predicted: True and predicted classes, shape (rows,).
        constant: The class that is predicted without the column.

    Returns:
        The share, or None if the constant has fewer than `MIN_ERRORS` errors.
    """
    is_avoidable = constant != classes
    if np.count_nonzero(is_avoidable) < MIN_ERRORS:
        return None
    errors = weight[predicted != classes].sum()
    return float(1 - errors / weight[is_avoidable].sum())
