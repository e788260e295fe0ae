"""Measure which columns the check `leak` reports, in simulations of random tables.

The parts of a table have up to 500,000 rows, as in the pipeline. Each line of the
output is the share of draws in which a column explains at least 0.95 of the target,
unless its name ends in `not checked`. The names begin with the simulation:

- `copy`: columns that are copies of a class with a share of 1, 0.1 or 0.05% of the
  rows: as two categories, as numbers with noise, as numbers of which every one is
  different, or as numbers that are 0 in one class.
- `innocent`: columns that do not depend on the target: numbers, identifiers in random
  order, and 200 categories. The target is a number, two equally frequent classes, or a
  class with 0.5%.
- `nearly`: a flag that all rows of a rare class have, and the same number of other
  rows.
- `random walk`: the last value of a random walk that predicts the next one. It is no
  leak, but no check of the values can know this.

The figures in benchmarks/EVIDENCE.md are from this script. The exit code is 1 if a
limit is exceeded.

    python -m benchmarks.leaks
"""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np
import pyarrow as pa

from benchmarks.simulations import (
    Measurement,
    at_least,
    at_most,
    build_schema,
    simulate,
)
from keras_tabular.table import leaks

ROWS_PER_FILE = 500_000
MIN_SHARE_OF_COPIES = 0.99
MAX_SHARE_OF_INNOCENT = 0.01
KINDS = {"copy": "category", "flag": "category", "category": "category"}


def explained_shares(
    columns: dict[str, np.ndarray],
    y: np.ndarray,
) -> dict[str, float | None]:
    """Return how much of the target each column explains."""
    names = {name: {"kind": KINDS.get(name, "real")} for name in columns}
    schema = build_schema("binary" if y.dtype == bool else "regression", **names)
    texts = {
        n: values.astype(str) if n in KINDS else values for n, values in columns.items()
    }
    table = pa.table(texts | {"y": y * 1})
    parts = [
        table[first : first + ROWS_PER_FILE]
        for first in range(0, len(y), ROWS_PER_FILE)
    ]
    sample = pa.concat_tables(
        [leaks.sample_rows(part, schema, len(parts)) for part in parts],
    )
    return leaks.shares_explained(sample, schema)


def is_reported(share: float | None) -> bool:
    return share is not None and share >= leaks.MIN_LEAK_SHARE_TO_WARN


def draw_copies(rng: np.random.Generator, y: np.ndarray) -> dict[str, np.ndarray]:
    """Draw columns that reveal the class."""
    return {
        "copy": np.where(y, "c1", "c2"),
        "noisy number": y + 0.05 * rng.normal(size=len(y)),
        "different numbers": y + rng.permutation(len(y)) / len(y) / 2,
        "0 or a number": np.where(y, rng.lognormal(size=len(y)), 0),
    }


def measure_copies(draws: int = 50) -> Iterator[Measurement]:
    for positive, rows in product(
        (0.01, 0.001, 0.0005),
        (5_000, 20_000, 100_000, 1_000_000),
    ):
        rng = np.random.default_rng(0)
        reported = Counter[str]()
        count = draws if rows < 1_000_000 else max(draws // 5, 1)
        for _ in range(count):
            y = rng.permutation(np.arange(rows) < round(positive * rows))
            for name, share in explained_shares(draw_copies(rng, y), y).items():
                reported[name] += is_reported(share)
                reported[f"{name}, not checked"] += share is None
        for name, times in sorted(reported.items()):
            is_found = "not checked" not in name
            # With ten positive rows, the nearest number of the other half is often 0.
            least = 20 if name.startswith("0 or a number") else leaks.MIN_ERRORS
            enough = round(positive * rows) >= least
            limit = MIN_SHARE_OF_COPIES if enough and is_found else 0.0
            where = f"copy, {positive:.2%} of {rows:,} rows: {name}"
            yield at_least(where, times / count, limit)


def measure_innocent_columns(draws: int = 200) -> Iterator[Measurement]:
    for rows, target in product((200, 2_000, 20_000), ("number", "half", "rare")):
        rng = np.random.default_rng(0)
        reported = Counter[str]()
        for _ in range(draws):
            errors = rng.normal(size=rows)
            rare = rng.permutation(
                np.arange(rows) < max(rows // 200, leaks.MIN_ERRORS),
            )
            y = {"number": errors, "half": errors > 0, "rare": rare}[target]
            columns = {
                "noise": rng.normal(size=rows),
                "identifier": rng.permutation(rows),
                "category": rng.integers(0, 200, rows),
            }
            for name, share in explained_shares(columns, y).items():
                reported[name] += is_reported(share)
        for name, times in sorted(reported.items()):
            where = f"innocent, {target}, {rows:,} rows: {name}"
            yield at_most(where, times / draws, MAX_SHARE_OF_INNOCENT)


def measure_near_copies(draws: int = 50, rows: int = 100_000) -> Iterator[Measurement]:
    for positive in (0.01, 0.001):
        rng = np.random.default_rng(0)
        reported = 0
        count = round(positive * rows)
        for _ in range(draws):
            place = rng.permutation(rows)
            flag = {"flag": place < 2 * count}
            reported += is_reported(explained_shares(flag, place < count)["flag"])
        where = f"nearly, {positive:.1%} of {rows:,} rows: twice as many"
        yield at_most(where, reported / draws, MAX_SHARE_OF_INNOCENT)


def measure_random_walks(draws: int = 200) -> Iterator[Measurement]:
    for rows in (200, 1_000, 10_000):
        rng = np.random.default_rng(0)
        walks = [rng.normal(size=rows + 1).cumsum() for _ in range(draws)]
        shares = [
            explained_shares({"lag": walk[:-1]}, walk[1:])["lag"] for walk in walks
        ]
        for limit in (leaks.MIN_LEAK_SHARE_TO_WARN, 0.99):
            reported = float(
                np.mean([share is not None and share >= limit for share in shares]),
            )
            where = f"random walk of {rows:,} rows: at least {limit}"
            yield at_most(where, reported, 1)


main = partial(simulate, __name__)

if __name__ == "__main__":
    main()
