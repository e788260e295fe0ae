"""A summary of each column of the training rows, and how other rows lie beside it."""

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa

from tabular.config.schema import Column, Schema
from tabular.inspection.bins import (
    MISSING,
    Bins,
    drop_missing,
    format_value,
    is_among,
    missing_mask,
    most_frequent,
    numeric_values,
)

NUMBER_BINS, CATEGORY_BINS = 10, 20
TEXT_BINS, MIN_ROWS_OF_WORD = 50, 5  # words; rows that each of them is in
TEXT_ROWS = 20_000  # whose words are counted
BACKGROUND_SIZE = 16  # values of a column
DRAWS, DEVIATIONS = 100, 4.0  # of tables that do not differ; beyond, it is no chance
MAX = 2**53  # rows
WORD = re.compile(r"\w+")


class Words(NamedTuple):
    """The most frequent words of a text as bins. A row counts as one, shared among its words."""

    column: Column
    words: tuple[str, ...]

    @classmethod
    def of(cls, values: pa.ChunkedArray, column: Column) -> Self:
        """Those of some texts."""
        rows = Counter[str]()
        for text in drop_missing(values[:TEXT_ROWS], column).to_pylist():
            rows.update(set(WORD.findall(text.lower())))
        frequent = [word for word, count in rows.items() if count >= MIN_ROWS_OF_WORD]
        return cls(
            column, tuple(sorted(frequent, key=lambda word: (-rows[word], word))[:TEXT_BINS])
        )

    @property
    def names(self) -> list[str]:
        """What each bin holds."""
        return [*self.words, "other words", MISSING]

    def counts(self, values: pa.ChunkedArray) -> np.ndarray:
        """How many of the first rows are in each bin: float64, (bins,)."""
        values = values[:TEXT_ROWS]
        places = {word: place for place, word in enumerate(self.words)}
        found = np.zeros(len(self.names))
        for text in drop_missing(values, self.column).to_pylist():
            words = WORD.findall(text.lower()) or [""]
            for word in words:
                found[places.get(word, -2)] += 1 / len(words)
        found[-1] = missing_mask(values, self.column).sum()
        return found


class BinCounts(NamedTuple):
    """How many rows of a table are in each of some bins: float64, (bins,)."""

    bins: Bins | Words
    counts: np.ndarray


class Sketch(NamedTuple):
    """Of a column of some rows."""

    rows: int
    values: BinCounts  # of a text by its length
    words: BinCounts | None  # of a text
    # Some values, each as frequent as in the rows, None for a gap; none of a text, a row's own.
    background: tuple[float | str | None, ...]
    unknown: float  # the share of rows whose category the model does not know

    @classmethod
    def of(cls, values: pa.ChunkedArray, column: Column, known: list[str] | None = None) -> Self:
        """Of some rows, one at least.

        Args:
            known: the categories that the model knows; None where it knows all.
        """
        kind = column.feature_type
        bins = Bins.of(
            values, column, CATEGORY_BINS if kind == "category" else NUMBER_BINS, outside=True
        )
        words = Words.of(values, column) if kind == "text" else None
        return cls(
            len(values),
            BinCounts(bins, bins.counts(values)),
            BinCounts(words, words.counts(values)) if words else None,
            () if words else _background(values, column),
            float(unknown(values, known, column).mean()) if known is not None else 0.0,
        )

    @property
    def histograms(self) -> dict[str, BinCounts]:
        """Those by value, and by word where there are words."""
        return {"values": self.values} | ({"words": self.words} if self.words else {})

    def to_json(self) -> dict[str, Any]:
        """What `read` reads."""
        bins = self.values.bins
        assert isinstance(bins, Bins)
        found = {
            "rows": self.rows,
            "edges": bins.edges.tolist(),
            "categories": list(bins.categories),
            "counts": self.values.counts.tolist(),
            "drawn": list(self.background),
            "unknown": round(self.unknown, 6),
        }
        if self.words:
            assert isinstance(self.words.bins, Words)
            counts = np.round(self.words.counts, 3).tolist()
            found |= {"words": list(self.words.bins.words), "word_counts": counts}
        return found

    @classmethod
    def read(cls, found: Any, column: Column) -> Self:
        """Of a model's file.

        Raises:
            TypeError, KeyError, ValueError: it is something else.
        """

        def histogram(bins: Bins | Words, counts: Any) -> BinCounts:
            array = np.array(counts, np.float64)
            if (
                array.shape != (len(bins.names),)
                or not (array >= 0).all()
                or not 0 < array.sum() < MAX
            ):
                raise ValueError(f"sketch: expected {len(bins.names)} counts of rows")
            return BinCounts(bins, array)

        background, edges = tuple(found["drawn"]), np.array(found["edges"], np.float64)
        right = (lambda value: isinstance(value, str)) if column.is_string else math.isfinite
        if len(background) not in (0, BACKGROUND_SIZE) or not all(
            value is None or right(value) for value in background
        ):
            raise ValueError(f"sketch: expected {BACKGROUND_SIZE} values")
        if not 0 <= found["unknown"] <= 1:
            raise ValueError("sketch: expected a share of unknown categories")
        if edges.ndim != 1 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
            raise ValueError("sketch: expected edges that ascend")
        if ("words" in found) != (column.feature_type == "text"):
            raise ValueError("sketch: expected words of a text alone")
        bins = Bins(column, edges, tuple(map(str, found["categories"])), outside=True)
        words = Words(column, tuple(map(str, found["words"]))) if "words" in found else None
        return cls(
            int(found["rows"]),
            histogram(bins, found["counts"]),
            histogram(words, found["word_counts"]) if words else None,
            background,
            float(found["unknown"]),
        )


def sketch_columns(
    rows: pa.Table, schema: Schema, known: Mapping[str, list[str]]
) -> dict[str, Sketch]:
    """Those of each column that the model reads; of some, `known` has the categories it knows."""
    return {
        name: Sketch.of(rows[name], column, known.get(name))
        for name, column in schema.features.items()
    }


def _background(values: pa.ChunkedArray, column: Column) -> tuple[float | str | None, ...]:
    """See `Sketch`: those at even places of the sorted rows."""
    if column.is_string:
        counts = most_frequent(drop_missing(values, column))
        ordered: list[Any] = [value for value, _ in counts]
        ends = np.cumsum([count for _, count in counts])
    else:
        ordered = np.sort(numeric_values(values, column)).tolist()
        ends = np.arange(1, len(ordered) + 1)
    places = np.searchsorted(
        ends, (np.arange(BACKGROUND_SIZE) + 0.5) / BACKGROUND_SIZE * len(values), side="right"
    )
    return tuple(ordered[place] if place < len(ordered) else None for place in places)


def unknown(values: pa.ChunkedArray, known: list[str], column: Column) -> np.ndarray:
    """Where a row holds a category that is not among these, and no gap: bool, (rows,)."""
    return ~missing_mask(values, column) & ~is_among(values, pa.array(known, pa.string()))


def total_variation(
    first: np.ndarray, second: np.ndarray, group_size: float = 1.0
) -> tuple[float, float]:
    """How far two tables are apart in a column, and how far chance takes tables of their sizes.

    The distance is the share of the rows that would have to be in another bin for the tables to be
    alike (total variation).

    Args:
        first, second: how many rows of each are in each bin, (bins,).
        group_size: How many rows depend on each other, see `groups.mean_group_size`.
    """
    sizes = [round(of.sum()) for of in (first, second)]
    if not all(sizes):
        return 0.0, 0.0

    rng, shares = np.random.default_rng(0), (first + second) / (first + second).sum()
    independent = [max(round(size / group_size), 1) for size in sizes]
    drawn = [rng.multinomial(size, shares, DRAWS) / size for size in independent]
    alike = np.abs(drawn[0] - drawn[1]).sum(axis=1) / 2
    distance = np.abs(first / sizes[0] - second / sizes[1]).sum() / 2
    return float(distance), float(alike.mean() + DEVIATIONS * alike.std())


BARS, CATEGORIES = 12, 6  # of a picture
MATTERS, MANY = 0.02, 0.1  # a share of the importance, of the test rows
EDGES = (0.005, 0.995)  # quantiles of the training rows, where the picture begins and ends


def describe_columns(
    train: pa.Table, test: pa.Table, schema: Schema, group_size: float = 1.0
) -> dict[str, Any]:
    """Each column that the model reads, and the target: what `metrics/columns.json` holds.

    See `sketch.total_variation`; a column has `moved` where it is further than by chance.
    """
    found = {}
    for name in (schema.target, *schema.features):
        of = (train[name], test[name], schema.columns[name])
        shift = column_shift(*of, group_size)
        found[name] = histogram(*of) | shift | {"outside": share_outside(*of)}
    return found


def share_outside(train: pa.ChunkedArray, test: pa.ChunkedArray, column: Column) -> float:
    """The share of test values beyond the training values, or of categories not among them."""
    known = drop_missing(test, column)
    if column.feature_type == "text" or not len(known):
        return 0.0
    if column.feature_type == "category":
        return 1 - float(is_among(known, train.unique()).mean())
    values, seen = numeric_values(known, column), numeric_values(train, column)
    if not len(seen):
        return 1.0
    return float(np.mean((values < seen.min()) | (values > seen.max())))


def outside_training(
    columns: Mapping[str, Mapping[str, Any]], importance: Mapping[str, float]
) -> dict[str, float]:
    """The share of test rows outside of what training saw, by column; the most important first.

    Of columns that matter, where it is many; see `describe_columns`.
    """
    found = {
        name: columns[name]["outside"]
        for name, share in importance.items()
        if share >= MATTERS and columns.get(name, {}).get("outside", 0) >= MANY
    }
    return dict(sorted(found.items(), key=lambda of: -importance[of[0]]))


def column_shift(
    train: pa.ChunkedArray, test: pa.ChunkedArray, column: Column, group_size: float = 1.0
) -> dict[str, Any]:
    """How far the test rows of a column are from its training rows, and what chance would do."""
    histograms = Sketch.of(train, column).histograms.values()
    found = [total_variation(of.counts, of.bins.counts(test), group_size) for of in histograms]
    most, limit = max(found, key=lambda of: of[0] - of[1])
    return {"distance": most, "by_chance": limit, "moved": most > limit}


def histogram(train: pa.ChunkedArray, test: pa.ChunkedArray, column: Column) -> dict[str, Any]:
    """The histogram of a column: `names` or `from` and `to`, and the rows in each bar.

    The bars of numbers are equally wide; the first and the last one hold what lies beyond.
    """
    tables = {"train": train, "test": test}
    found: dict[str, Any] = {
        "missing": {name: int(missing_mask(of, column).sum()) for name, of in tables.items()},
        "rows": {name: len(of) for name, of in tables.items()},
    }
    if column.feature_type == "category":
        bins = Bins.of(train, column, CATEGORIES)
        counts = {name: bins.counts(of).astype(int)[:-1] for name, of in tables.items()}
        shown = len(bins.categories) + any(of[-1] for of in counts.values())  # others too
        bars = {name: of[:shown].tolist() for name, of in counts.items()}
        return found | {"names": bins.names[:shown]} | bars
    values = {name: numeric_values(of, column) for name, of in tables.items()}
    if not len(values["train"]):
        return found
    different = np.unique(values["train"])
    low, high = np.quantile(values["train"], EDGES, method="nearest")
    if low == high:
        low, high = different[0], different[-1]
    if len(different) <= BARS:
        middles = (different[1:] + different[:-1]) / 2
        found["names"] = [format_value(value, column) for value in different]
    else:
        middles = np.linspace(low, high, BARS + 1)[1:-1]
        found |= {"from": float(low), "to": float(high)}
    for name, of_rows in values.items():
        places = np.searchsorted(middles, of_rows, side="right")
        found[name] = np.bincount(places, minlength=len(middles) + 1).tolist()
    return found
