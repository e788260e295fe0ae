"""What the preprocessing takes from the training rows."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tabular.config.schema import Column, Schema
from tabular.config.sections import Resolved, Train
from tabular.core.errors import UserError
from tabular.model.backend import keras
from tabular.model.preprocessing import dates, texts
from tabular.table.cells import as_float64, is_missing
from tabular.table.profile import Summary

Parts = Callable[[], Iterable[pa.Table]]
MAX_KNOWN = 100_000  # categories of a column that the model knows by name; more are hashed
BINS = 2**17  # into so many


@dataclass(frozen=True)
class Scaling:
    """What becomes of the value of a number column: gaps filled, `shift` taken away, divided."""

    fill: float
    shift: float
    scale: float


@dataclass(frozen=True)
class Date:
    """What becomes of a datetime column: gaps filled, then those `dates.parts` that vary."""

    fill: float
    first: float  # the first day of training, in seconds as the moments are
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Text:
    """What becomes of a text column: its first characters, known ones and others, are read."""

    alphabet: list[str]
    length: int


@dataclass(frozen=True)
class Statistics:
    """What the preprocessing takes from the training rows, by column.

    Attributes:
        scalings: of the number columns, and of the parts of dates by `part_name`.
        encoded: all categories of the columns that get target statistics; none if `hashed`.
        hashed: the columns of more categories than `MAX_KNOWN`.
    """

    scalings: dict[str, Scaling]
    dates: dict[str, Date]
    texts: dict[str, Text]
    vocabularies: dict[str, list[str]]
    encoded: dict[str, list[str]]
    hashed: set[str]
    with_gaps: set[str]
    target: Scaling
    target_range: tuple[float, float]

    @property
    def categories(self) -> dict[str, list[str]]:
        """What each category column holds in the training rows, but rare ones that none encodes."""
        return {
            name: self.encoded.get(name, known)
            for name, known in self.vocabularies.items()
            if name not in self.hashed
        }

    @property
    def codes(self) -> dict[str, int]:
        """Of the columns that get target statistics, how many codes `build` gives a category."""
        return {
            name: 2 + (BINS if name in self.hashed else len(known))
            for name, known in self.encoded.items()
        }


def adapt(parts: Parts, schema: Schema, train: Train) -> Statistics:
    """Statistics of the training rows, a part at a time (a median: a column at a time).

    Raises:
        UserError: a column has no value, or it has gaps and nothing says how to fill them.
    """
    summaries, counts, characters = summarise(parts, schema, train)
    of_numbers, of_parts, of_dates = dict[str, Scaling](), dict[str, Scaling](), dict[str, Date]()
    for name, column in schema.features.items():
        summary = summaries[name]
        match column.feature_type:
            case "number":
                middle = median(parts, name, column) if train.imputation == "median" else None
                fill = summary.mean if middle is None else middle
                of_numbers[name] = scaling(summary, train.normalization, fill)
            case "datetime":
                first = summary.min // dates.DAY * dates.DAY
                found = summarise_dates(parts, name, column, first)
                varying = [part for part, s in found.items() if s.max > s.min] or ["time"]
                of_dates[name] = Date(round(summary.mean), first, tuple(varying))
                for part in varying:
                    of_parts[part_name(name, part)] = scaling(found[part], train.normalization)
            case "category" | "text":
                pass
            case other:
                assert_never(other)
    target = summaries[schema.target]
    return Statistics(
        scalings=of_numbers | of_parts,
        dates=of_dates,
        texts={
            name: Text(
                texts.alphabet(found.counts), texts.read_length(found.longest, train.text_length)
            )
            for name, found in characters.items()
        },
        vocabularies={name: vocabulary(known.counts, train) for name, known in counts.items()},
        encoded={
            name: [] if known.hashed else sorted(known.counts)
            for name, known in counts.items()
            if train.target_statistics and len(known.counts) >= train.target_statistics
        },
        hashed={name for name, known in counts.items() if known.hashed},
        with_gaps={name for name in schema.features if summaries[name].missing},
        target=scaling(target, "standard") if schema.task == "regression" else Scaling(0, 0, 1),
        target_range=(target.min, target.max),
    )


def summarise(
    parts: Parts, schema: Schema, train: Train
) -> tuple[dict[str, Summary], dict[str, "Categories"], dict[str, "Characters"]]:
    """A summary of each column, and what each category and text column holds.

    Raises:
        UserError: see `adapt`.
    """
    read = {name: column for name, column in schema.columns.items() if name not in schema.ignore}
    summaries, of_type = dict.fromkeys(read, Summary()), dict[str, list[str]]()
    for name, column in schema.features.items():
        of_type.setdefault(column.feature_type, []).append(name)
    counts = {name: Categories() for name in of_type.get("category", [])}
    characters = {name: Characters() for name in of_type.get("text", [])}
    for part in parts():
        for name, column in read.items():
            summaries[name] = summaries[name].merge(Summary.of(part[name], column))
            imputed = name in schema.features and not column.is_string
            if train.imputation == "none" and imputed and part[name].null_count:
                raise UserError(
                    f"column {name} has empty cells in the training rows and train.imputation is "
                    "none; set it to mean or median"
                )
        for name, categories in counts.items():
            categories.add(part[name], schema.columns[name])
        for name, found in characters.items():
            found.add(part[name], train.text_length)
    for name, summary in summaries.items():
        if not summary.count:
            raise UserError(
                f"column {name} is empty in every training row; take it out of columns in "
                "data/schema.yaml"
            )
    return summaries, counts, characters


def describe_preprocessing(
    statistics: Statistics, schema: Schema, train: Resolved
) -> dict[str, str]:
    """What the model does with each column, in words."""
    used = {members.network: train.networks[members.network] for members in train.members}
    embedded = [
        f"up to {network.embedding.bins} bins in {name}"
        for name, network in used.items()
        if network.embedding
    ]
    scaled = {"standard": "standardised", "min_max": "scaled to 0 to 1"}.get(
        train.normalization, "as it is"
    )
    found = {}
    for name, column in schema.features.items():
        gaps = name in statistics.with_gaps
        match column.feature_type:
            case "category":
                steps = [f"one-hot of {len(statistics.vocabularies[name])} categories"]
                if name in statistics.encoded:
                    steps.append("mean target of each category")
            case "text":
                steps = ["hashed words and character runs, weighted by what they say of the target"]
            case "datetime":
                steps = [f"{', '.join(statistics.dates[name].parts)}, {scaled}", *embedded]
            case "number":
                fill = f"gaps become {statistics.scalings[name].fill:.5g}"
                filled = gaps and train.imputation != "none"
                steps = [scaled, *([fill] if filled else []), *embedded]
            case other:
                assert_never(other)
        if gaps and (column.is_string or train.missing_indicators):
            steps.append("an input says where gaps are")
        found[name] = "; ".join(steps)
    return found


class Categories:
    """How often each category of a column occurs; of very many only the frequent ones."""

    def __init__(self) -> None:
        self.counts, self.hashed = Counter[str](), False

    def add(self, values: pa.ChunkedArray, column: Column) -> None:
        """Take the values of one part."""
        present = values.filter(pc.invert(is_missing(values, column))).value_counts().to_pylist()
        self.counts += Counter({pair["values"]: pair["counts"] for pair in present})
        if len(self.counts) > MAX_KNOWN:
            self.hashed = True
            self.counts = Counter(dict(self.counts.most_common(MAX_KNOWN // 2)))


class Characters:
    """How often each character occurs in a text column, and the length of the longest text."""

    def __init__(self) -> None:
        self.counts, self.longest = Counter[str](), 0

    def add(self, values: pa.ChunkedArray, length: int) -> None:
        """Take the first characters, `length` at most, of the texts of one part."""
        # As the layer lowers them, before it looks them up.
        cells = pc.ascii_lower(pc.utf8_slice_codeunits(values.drop_null(), 0, length))
        self.counts.update("".join(cells.to_pylist()))
        self.longest = max(self.longest, pc.max(pc.utf8_length(cells)).as_py() or 0)


def part_name(name: str, part: str) -> str:
    """What a part of a datetime column is called, unlike any column."""
    return f"{name}\x1f{part}"


def summarise_dates(parts: Parts, name: str, column: Column, first: float) -> dict[str, Summary]:
    """Of each part of a datetime column, see `dates.parts`."""
    found: dict[str, Summary] = {}
    for part in parts():
        seconds = as_float64(part[name].drop_null(), column).to_numpy()
        if len(seconds):
            for key, values in dates.parts(
                keras.ops.convert_to_tensor(seconds[:, None]), column.timezone, first
            ).items():
                summary = Summary.of_numbers(np.asarray(values)[:, 0])
                found[key] = found.get(key, Summary()).merge(summary)
    return found


def scaling(summary: Summary, normalization: str, fill: float = 0.0) -> Scaling:
    """What the normalization makes of a column; a constant one is not scaled."""
    shift = {"standard": summary.mean, "min_max": summary.min}.get(normalization, 0.0)
    width = summary.max - summary.min
    widths = {"standard": math.sqrt(summary.variance) if width else 0.0, "min_max": width}
    return Scaling(fill, shift, widths.get(normalization, 1.0) or 1.0)


def median(parts: Parts, name: str, column: Column) -> float:
    """The median of the values of one column that are not missing."""
    present = [
        as_float64(part[name].filter(pc.invert(is_missing(part[name], column))), column).to_numpy()
        for part in parts()
    ]
    return float(np.median(np.concatenate(present)))


def vocabulary(counts: Counter[str], train: Train) -> list[str]:
    """The most frequent categories, at most `train.max_categories`, in alphabetical order."""
    by_frequency = sorted(counts, key=lambda value: (-counts[value], value))
    return sorted(by_frequency[: train.max_categories])
