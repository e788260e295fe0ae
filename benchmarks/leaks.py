"""Measure which columns the check `leak` reports, in simulations of random tables.

The parts of a table have up to 500,000 rows, as in the pipeline. The shares are those
of draws in which a column explains at least 0.95 of the target.

- *Copies* of a class with a share of 1, 0.1 or 0.05 % of the rows are two categories,
  numbers with noise, numbers of which every one is different, or numbers that are 0 in
  one class. There are at least 20 rows of the class.
- *Innocent* columns are a number and a category with the same groups or autocorrelation
  as the target, an identifier of the rows in random order, and the group. They are
  drawn by `benchmarks.rows`, and none of them depends on the target.
- *Missed* are a copy that is filled in 80 % of the rows, two numbers whose sum is the
  target, and an identifier that contains the class.
- *False alarms* are the last value of a random walk, and a running number of rows whose
  target rises. Both are known before the target, which no check of the values can see.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import pyarrow as pa

from benchmarks.rows import BINARY, KINDS, Rows, tasks_of_kind
from benchmarks.simulations import Measurement, Simulations, build_schema
from keras_tabular.table import leaks
from keras_tabular.tasks.task import Binary, Regression

ROWS_PER_FILE = 500_000
MIN_POSITIVE = 20
CATEGORIES = ("copy", "category", "group", "identifier with the class")


def reported_columns(columns: dict[str, np.ndarray], y: np.ndarray) -> list[str]:
    """Return the columns that explain nearly all of the target."""
    kinds = {
        name: {"kind": "category" if name in CATEGORIES else "real"} for name in columns
    }
    schema = build_schema("binary" if y.dtype == bool else "regression", **kinds)
    values = {
        name: column.astype(str) if name in CATEGORIES else column
        for name, column in columns.items()
    }
    table = pa.table(values | {"y": y * 1})
    starts = range(0, len(y), ROWS_PER_FILE)
    parts = [table[start : start + ROWS_PER_FILE] for start in starts]
    samples = [leaks.sample_rows(part, schema, len(parts)) for part in parts]
    shares = leaks.shares_explained(pa.concat_tables(samples), schema)
    least = leaks.MIN_LEAK_SHARE_TO_WARN
    return [name for name, share in shares.items() if share.get("", 0.0) >= least]


def count_reports(
    draw: Callable[[np.random.Generator], tuple[dict[str, np.ndarray], np.ndarray]],
    draws: int,
) -> dict[str, float]:
    """Return the share of the draws in which each column is reported.

    Args:
        draw: Draws columns and a target.
    """
    rng = np.random.default_rng(0)
    reported = Counter[str]()
    for _ in range(draws):
        columns, y = draw(rng)
        reported.update(dict.fromkeys(columns, 0))
        reported.update(reported_columns(columns, y))
    return {name: count / draws for name, count in reported.items()}


def measure_copies(name: str, draws: int) -> Iterator[Measurement]:
    for positive, rows in product((0.01, 0.001, 0.0005), (5_000, 20_000, 1_000_000)):
        count = round(positive * rows)
        if count < leaks.MIN_ERRORS:
            continue

        def draw(
            rng: np.random.Generator,
            rows: int = rows,
            count: int = count,
        ) -> tuple[dict[str, np.ndarray], np.ndarray]:
            y = rng.permutation(np.arange(rows) < count)
            return {
                "copy": np.where(y, "c1", "c2"),
                "noisy number": y + 0.05 * rng.normal(size=rows),
                "different numbers": y + rng.permutation(rows) / rows / 2,
                "0 or a number": np.where(y, rng.lognormal(size=rows), 0),
            }, y

        few = max(draws // (200 if rows == 1_000_000 else 10), 1)
        for column, share in count_reports(draw, few).items():
            if count < MIN_POSITIVE and column == "0 or a number":
                continue  # the nearest number of the other half is often 0
            where = f"{column}, {positive:.2%} of {rows} rows"
            yield Measurement("copies", name, where, share, 0.99, True)


def measure_innocent_columns(name: str, draws: int) -> Iterator[Measurement]:
    kind = KINDS[name]
    for rows, task in product(kind.sizes, tasks_of_kind(name)):

        def draw(
            rng: np.random.Generator,
            rows: int = rows,
            task: Binary | Regression = task,
        ) -> tuple[dict[str, np.ndarray], np.ndarray]:
            drawn = Rows(rng, kind, rows)
            (model,) = drawn.draw_models(task, (0.3,))
            columns = {
                "number": drawn.draw(),
                "identifier": rng.permutation(rows),
                "category": np.round(10 * drawn.draw()),
            }
            if drawn.cluster is not None:
                columns["group"] = drawn.cluster
            return columns, model.y > 0 if task is BINARY else model.y

        few = max(draws // (10 if rows > 1000 else 1), 1)
        for column, share in count_reports(draw, few).items():
            where = f"{name}, {task.name}, {column}, {rows} rows"
            yield Measurement("innocent columns", kind.family, where, share, 0.01)


def measure_misses(name: str, draws: int, rows: int = 1000) -> Iterator[Measurement]:
    def draw(rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
        (model,) = Rows(rng, KINDS[name], rows).draw_models(BINARY, (0.3,))
        y = model.y > 0
        part = rng.normal(size=rows)
        identifier = np.char.add(np.where(y, "a", "b"), np.arange(rows).astype(str))
        return {
            "filled in 80 %": np.where(rng.random(rows) < 0.8, y * 1.0, np.nan),
            "first of a pair": y + part,
            "second of a pair": -part,
            "identifier with the class": identifier,
        }, y

    for column, share in count_reports(draw, draws // 4).items():
        yield Measurement("missed copies", KINDS[name].family, column, share)


def measure_false_alarms(name: str, draws: int) -> Iterator[Measurement]:
    kind = KINDS[name]
    for rows in (300, 1000, 10_000):

        def draw(
            rng: np.random.Generator,
            rows: int = rows,
        ) -> tuple[dict[str, np.ndarray], np.ndarray]:
            walk = rng.normal(size=rows + 1).cumsum()
            return {"last value": walk[:-1]}, walk[1:]

        def draw_trend(
            rng: np.random.Generator,
            rows: int = rows,
        ) -> tuple[dict[str, np.ndarray], np.ndarray]:
            number = np.arange(rows)
            errors = Rows(rng, kind, rows).draw()
            return {"running number": number}, 20 * number / rows + errors

        few = max(draws // 4, 1)
        shares = count_reports(draw, few) | count_reports(draw_trend, few)
        for column, share in shares.items():
            claim = f"false alarm: {column}"
            yield Measurement(claim, kind.family, f"{rows} rows", share)


SIMULATIONS: Simulations = {
    measure_copies: ("independent",),
    measure_innocent_columns: tuple(KINDS),
    measure_misses: ("independent",),
    measure_false_alarms: ("independent",),
}
