"""Whether new rows still are as the training rows were, by the sketches in a model's file."""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tabular.config.schema import Schema
from tabular.config.sections import Drift
from tabular.core.errors import UserError, listed, quoted
from tabular.inspection.bins import OTHERS, most_frequent
from tabular.inspection.sketch import Sketch, total_variation, unknown
from tabular.model.metadata import known_categories
from tabular.table.arrays import row_hashes
from tabular.table.rows import Batch

MAX_UNKNOWN_KEPT = 100  # categories of a column that are counted by themselves, in some rows
MAX_UNKNOWN_SHOWN = 5  # of a column
Unknown = Counter[tuple[str, str]]  # rows by column and category


class TrainingRows(NamedTuple):
    """What a model's file says of the training rows, of each column by its name."""

    sketches: dict[str, Sketch]
    importance: dict[str, float]  # the share of all that moves the answers
    categories: dict[str, list[str]]  # that the model knows
    rows: int  # all of them

    @classmethod
    def read(cls, path: Path, metadata: dict[str, Any], schema: Schema) -> "TrainingRows":
        """Of the file at `path`.

        Raises:
            UserError: it holds no sketches, or something else.
        """
        if "sketches" not in metadata:
            raise UserError(f"{path}: holds no sketches of its training rows; run `dvc repro`")
        try:
            sketches = {
                name: Sketch.read(metadata["sketches"][name], column)
                for name, column in schema.features.items()
            }
            importance = {name: float(metadata["importance"][name]) for name in sketches}
            rows = int(metadata["trained_on"]["rows"])
            if not all(0 <= share <= 1 for share in importance.values()):
                raise ValueError("importance: expected shares")
        except (TypeError, KeyError, ValueError, OverflowError) as error:
            raise UserError(f"{path}: is not as `dvc repro` writes it: {error!r}") from None
        return cls(sketches, importance, known_categories(path, metadata, schema), rows)


class Counts(NamedTuple):
    """How the rows of a file lie in the bins of the sketches; sums of pieces."""

    rows: int
    bins: dict[tuple[str, str], np.ndarray]  # by column and `Sketch.histograms`: (bins,)
    unknown: Unknown
    failed: Counter[str]  # rows whose cell fails a check, by column
    groups: list[np.ndarray]  # hashes of the group of each row, see `groups.row_groups`

    @classmethod
    def of(cls, batch: Batch, trained: TrainingRows, schema: Schema) -> "Counts":
        """Of some rows."""
        features, grouped = batch.features, schema.group in batch.texts.column_names
        return cls(
            len(features),
            {
                (name, what): histogram.bins.counts(features[name])
                for name, sketch in trained.sketches.items()
                for what, histogram in sketch.histograms.items()
            },
            unknown_categories(features, trained.categories, schema),
            Counter(failure.column for failure in batch.failures),
            [row_hashes([batch.texts[schema.group]] if grouped else features.columns)],
        )

    def merge(self, other: "Counts") -> "Counts":
        """Of both."""
        return Counts(
            self.rows + other.rows,
            {key: counts + other.bins[key] for key, counts in self.bins.items()},
            self.unknown + other.unknown,
            self.failed + other.failed,
            self.groups + other.groups,
        )


def unknown_categories(
    features: pa.Table, categories: dict[str, list[str]], schema: Schema
) -> Unknown:
    """How many rows hold which category that is not among the known ones of its column."""
    found = Unknown()
    for name, known in categories.items():
        values = features[name]
        strange = values.filter(pa.array(unknown(values, known, schema.columns[name])))
        frequent = most_frequent(strange)[:MAX_UNKNOWN_KEPT]
        found.update({(name, value): count for value, count in frequent})
        if others := len(strange) - sum(count for _, count in frequent):
            found[name, OTHERS] += others
    return found


def unknown_rows(found: Unknown) -> Counter[str]:
    """How many rows of each column hold an unknown category."""
    rows = Counter[str]()
    for (name, _), count in found.items():
        rows[name] += count
    return rows


def unknown_lines(found: Unknown, rows: int) -> list[str]:
    """What is said of each column, with the most frequent of its unknown categories."""
    lines = []
    for name, count in unknown_rows(found).items():
        values = sorted((-n, value) for (of, value), n in found.items() if of == name)
        shown = listed(f"{quoted(value)} ({-n})" for n, value in values)
        said = "rows hold a category that the model does not know"
        lines.append(f"{name}: {count} of {rows} {said}: {shown}")
    return lines


def find_drift(
    trained: TrainingRows, counts: Counts, params: Drift, group_size: float = 1.0
) -> dict[str, Any]:
    """What has moved, and the verdict: the content of the JSON file.

    A column has moved where it is further from the training rows than `params.distance` and
    than chance takes as many of them. The verdict is `pass` where none has, and `fail` where those
    that have carry `params.importance` of the model's importance, else `warn`. Moments do not count
    for that: new rows are later. Cells that are not as declared are a `warn` at least.

    Args:
        group_size: How many rows depend on each other, see `groups.mean_group_size`.
    """
    columns = {
        name: _column(sketch, name, trained, counts, params, group_size)
        for name, sketch in trained.sketches.items()
    }
    columns = dict(sorted(columns.items(), key=lambda of: _order(of[1])))
    moved = [name for name, of in columns.items() if of["moved"]]
    dates = [n for n in moved if trained.sketches[n].values.bins.column.feature_type == "datetime"]
    share = sum(columns[name]["importance"] for name in moved if name not in dates)
    verdict = "pass" if not moved else "fail" if share >= params.importance else "warn"
    later = ", dates not counted, since new rows are later" if dates else ""
    reason = (
        f"{listed(moved)} moved; {'they carry' if moved[1:] else 'it carries'} {share:.1%} of the "
        f"importance{later}"
        if moved
        else "no column is further from the training rows than chance and the limit allow"
    )
    if failed := sum(counts.failed.values()):
        verdict = "warn" if verdict == "pass" else verdict
        reason += f"; {failed:,} cells are not as declared"
    return {
        "verdict": verdict,
        "reason": reason,
        "rows": counts.rows,
        "training_rows": trained.rows,
        "limits": params.model_dump(),
        "columns": columns,
    }


def _order(of: dict[str, Any]) -> tuple[bool, float]:
    """Moved columns first, then those that matter."""
    return not of["moved"], -of["importance"] * (of["distance"] if of["moved"] else 1)


def _column(
    sketch: Sketch,
    name: str,
    trained: TrainingRows,
    counts: Counts,
    params: Drift,
    group_size: float,
) -> dict[str, Any]:
    """One column."""
    distances = {
        what: total_variation(histogram.counts, counts.bins[name, what], group_size)
        for what, histogram in sketch.histograms.items()
    }
    by = max(distances, key=lambda what: distances[what][0] - distances[what][1])
    found, by_chance = distances[by]
    training, new = sketch.histograms[by], counts.bins[name, by]

    def share(bins: list[int]) -> dict[str, float]:
        return {
            rows: float(of[bins].sum() / max(of.sum(), 1))
            for rows, of in (("train", sketch.values.counts), ("new", counts.bins[name, "values"]))
        }

    details: dict[str, Any] = {"missing": share([-1])}
    feature_type = sketch.values.bins.column.feature_type
    if feature_type == "category":
        details["unknown"] = {
            "train": sketch.unknown,
            "new": unknown_rows(counts.unknown)[name] / max(counts.rows, 1),
        }
        frequent = Counter({v: n for (of, v), n in counts.unknown.items() if of == name})
        details["unknown_values"] = dict(frequent.most_common(MAX_UNKNOWN_SHOWN))
    elif feature_type != "text" and len(sketch.values.counts) > 2:
        details["outside"] = share([0, -2])
    return {
        "importance": trained.importance[name],
        "distance": found,
        "by_chance": by_chance,
        "moved": found > max(by_chance, params.distance),
        **details,
        "failed_checks": counts.failed[name],
        "by": by,
        "bins": training.bins.names,
        "train": training.counts.tolist(),
        "new": new.tolist(),
    }
