"""Which rows test and validate where no draw decides, and which of them stay together."""

import math
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

TRAIN, VALIDATION, TEST = range(3)
SHARES = ("train", "validation", "test")
# A column of the training rows, float64 from 0 to 1: rows of one value are in one fold.
FOLD_KEY = "__fold__"
HALF = 2**32


def hashes(columns: list[pa.ChunkedArray], seed: int) -> np.ndarray:
    """A hash of the values of each row, uint64, shape (rows,); a missing value is a value too.

    SipHash of the texts, so that it is the same in every table that holds the row.
    """
    texts = [pc.fill_null(column.cast(pa.large_string()), "\0") for column in columns]
    separator = pa.scalar("\x1f", pa.large_string())
    joined = pc.binary_join_element_wise(*texts, separator) if len(texts) > 1 else texts[0]
    import pandas as pd  # takes half a second

    values = joined.to_numpy(zero_copy_only=False)
    return pd.util.hash_array(values, hash_key=f"{seed:016d}"[-16:], categorize=True)


def by_hash(
    hashed: np.ndarray, test_size: float, validation_size: float
) -> tuple[np.ndarray, np.ndarray]:
    """The share of each row by the high half of its hash, and its fold key by the low half.

    So the rows of one hash share both, in whatever table they are.

    Returns:
        Indices in `SHARES`, int8, and fold keys, float64; shape (rows,).
    """
    place = (hashed // HALF) / HALF
    share = np.full(len(hashed), TRAIN, np.int8)
    share[place < test_size + validation_size * (1 - test_size)] = VALIDATION
    share[place < test_size] = TEST
    return share, (hashed % HALF) / HALF


def by_time(
    times: np.ndarray, test_size: float, validation_size: float
) -> tuple[np.ndarray, np.ndarray]:
    """The latest rows test, those before them validate; rows of one time are never parted.

    Args:
        times: of the rows, what can be sorted, shape (rows,).

    Returns:
        Indices in `SHARES`, int8, and fold keys, the place of each time among the training rows.

    Raises:
        ValueError: a share would be empty.
    """
    share = np.full(len(times), TRAIN, np.int8)
    for kind, size in ((TEST, test_size), (VALIDATION, validation_size)):
        left = np.flatnonzero(share == TRAIN)
        if size and len(left):
            ordered = np.sort(times[left])
            first = ordered[len(left) - math.ceil(size * len(left))]
            share[left[times[left] >= first]] = kind
    if (share != TRAIN).all():
        raise ValueError("the rows have too few different times to part them")
    ordered = np.sort(times[share == TRAIN])
    return share, np.searchsorted(ordered, times) / len(ordered)


def by_column(names: Iterable[str | None]) -> np.ndarray:
    """The share that each row names, an index in `SHARES`, int8.

    Raises:
        ValueError: a row names another one.
    """
    names = list(names)
    wrong = sorted({repr(name) for name in names} - {repr(name) for name in SHARES})
    if wrong:
        raise ValueError(f"found {', '.join(wrong[:5])}; expected {', '.join(SHARES)}")
    return np.array([SHARES.index(str(name)) for name in names], np.int8)
