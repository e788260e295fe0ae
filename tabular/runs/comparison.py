"""A run beside its baselines and the run that it is compared with, as plain rows."""

import csv
import hashlib
import io
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tabular.config.params import PARAMS
from tabular.config.schema import SCHEMA, Schema
from tabular.core.metrics import (
    AVERAGES,
    BASELINES,
    ENDS,
    METRICS,
    ROWS,
    flat_numbers,
    flatten,
    get_nested,
)
from tabular.evaluation.scores import Outputs
from tabular.evaluation.uncertainty import PairedDifference, bootstrap, score_differences
from tabular.runs.run import LOCK, Run, inputs, outs_of, params_of

TEXTS = {"true class", "predicted class", "column"}  # columns of text in files of points


class ScoreComparison(NamedTuple):
    """Another score, and how this one differs from it."""

    value: float
    change: float  # this score minus the other
    verdict: str  # better, worse, same, level: the interval holds 0; empty: better is not known
    interval: tuple[float, float] | None = None  # of 95%, of the difference


class Score(NamedTuple):
    """One score of a run, beside that of the base and of the baselines, where they have it."""

    key: str
    label: str
    average: str  # over the classes, in words; empty where there is one number
    value: float | None  # None where it is undefined
    interval: tuple[float, float] | None
    base: ScoreComparison | None
    baselines: dict[str, ScoreComparison | None]


class Scores(NamedTuple):
    """The scores of some rows by key, in the order in which they are read."""

    rows: int | None
    by_key: dict[str, Score]


class ChangedValue(NamedTuple):
    """A value that differs; None where a run has none."""

    name: str
    value: Any
    base: Any


class Comparison(NamedTuple):
    """What a page or a comment shows of a run and, where there is one, of its base."""

    run: Run
    base: Run | None
    gate: dict[str, Any]  # see `evaluate_gate`; empty where the run has no verdict
    standings: dict[str, list[dict[str, Any]]]  # by each score that decides, see `standings`
    scores: dict[str, Scores]  # by the keys of `metrics.ROWS`
    tests: dict[str, Scores]  # by the names of the other files
    params: list[ChangedValue]
    code: list[str]  # the paths of code that differs
    packages: list[ChangedValue]
    data: list[ChangedValue] | None  # of the profiles; None where one of the runs has none
    test_rows_differ: bool
    stale: list[str]  # what has changed since the results were made
    files: dict[str, dict[str, Any]]  # what the page shows as it is written: `REPORT_FILES`


REPORT_FILES = ("slices", "effects", "columns", "networks", "profile", "validation")


def compare(run: Run, base: Run | None, gate: dict[str, Any] | None = None) -> Comparison:
    """Compare a run with another one of the same table; `gate` stands for its own verdict."""
    lock, scores = run.load(LOCK), run.scores
    old, before = (base.load(LOCK), base.scores) if base else ({}, {})
    profiles = [r.load(r.files["profile"]) for r in (base, run) if r]
    split, base_split = ([out["md5"] for out in outs_of(k, "split")] for k in (lock, old))
    test_rows_differ = bool(split and base_split) and split != base_split
    paired = paired_differences(run, base) if base and not test_rows_differ else {}
    return Comparison(
        run,
        base,
        gate=run.load(run.files["gate"]) if gate is None else gate,
        standings={key: standings(scores, key) for key in scores.get("decides", [])},
        scores={
            rows: compare_scores(scores, before, rows, paired if rows == "test" else {})
            for rows in ROWS
            if rows == "test" or ordered(scores.get(rows, {}))
        },
        tests={
            name: compare_scores(
                as_test(found), as_test(before.get("tests", {}).get(name, {})), "test", {}
            )
            for name, found in scores.get("tests", {}).items()
        },
        params=changed_values(settings(base, old), settings(run, lock)) if base else [],
        code=changed_code(old, lock) if base else [],
        packages=changed_values(locked_versions(base), locked_versions(run)) if base else [],
        data=changed_values(*profiles) if base and all(profiles) else None,
        test_rows_differ=test_rows_differ,
        stale=stale(run, lock),
        files={name: run.load(run.files[name]) for name in REPORT_FILES},
    )


COUNTS = ("rows", "training_rows")  # among scores


def ordered(scores: Mapping[str, Any]) -> dict[str, float]:
    """The scores of some rows by dotted key, in the order in which they are read."""
    own = {key: value for key, value in scores.items() if key not in {*ROWS, *COUNTS}}
    values = flat_numbers(own)
    order = [*METRICS, *(f"{average}.{score}" for average in AVERAGES for score in METRICS)]
    return {key: values.pop(key) for key in order if key in values} | values


def standings(scores: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """A score of the model and of its baselines, of the test rows and cross-validated.

    Of each, the model's first, the `name` for a reader, `of` which rows, `value`, `low` and `high`.
    """
    found = []
    for rows, said in (("test", "test rows"), ("cross_validation", "cross-validated")):
        beside = {"this model": scores.get(rows, {})}
        for name, of in scores.get("baseline", {}).items():
            beside[BASELINES.get(name, name)] = of if rows == "test" else of.get(rows, {})
        for name, of in beside.items():
            values = flat_numbers(of)
            value, low, high = (values.get(f"{key}{end}") for end in ("", *ENDS))
            if None not in (value, low, high):
                ends = {"low": low, "high": high}
                found.append({"name": name, "of": said, "value": value, **ends})
    return sorted(found, key=lambda row: row["name"] != "this model")


def as_test(found: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of another file of labelled rows as those of test rows are held."""
    own = {key: of for key, of in found.items() if key not in ("baseline", "paired_difference")}
    paired = {"test": found.get("paired_difference", {})}
    return {"test": own, "baseline": found.get("baseline", {}), "paired_difference": paired}


def compare_scores(
    scores: Mapping[str, Any],
    base: Mapping[str, Any],
    rows: str,
    paired: Mapping[str, PairedDifference],
) -> Scores:
    """The scores of these rows of a run, beside those of the base and of the baselines.

    Args:
        scores, base: of the run and of its base, as `metrics/` holds them.
        paired: by how much scores differ from the base's on the same rows.
    """
    own = scores.get(rows, {})
    values, before = ordered(own), ordered(base.get(rows, {}))
    of_baselines = {
        name: found
        for name, of in sorted(scores.get("baseline", {}).items())
        if (found := ordered(of if rows == "test" else of.get(rows, {})))
    }
    by_key = {}
    known = (values, before, *of_baselines.values())
    for key in ordered({key: 0.0 for of in known for key in of}):
        if key.endswith(ENDS):
            continue
        average, _, name = key.rpartition(".")
        metric, value = METRICS.get(name), values.get(key)
        greater = metric.greater_is_better if metric else None
        low, high = (values.get(f"{key}{end}") for end in ENDS)
        beside = {}
        for baseline, of in of_baselines.items():
            found = get_nested(scores, f"paired_difference.{rows}.{baseline}.{key}")
            difference = PairedDifference(**found) if found else None
            beside[baseline] = compare_score(value, of.get(key), greater, difference)
        by_key[key] = Score(
            key,
            metric.label if metric else key.replace("_", " ").replace(".", ", "),
            AVERAGES.get(average, average) if metric else "",
            value,
            None if low is None or high is None else (low, high),
            compare_score(value, before.get(key), greater, paired.get(key)),
            beside,
        )
    return Scores(own.get("rows"), by_key)


def compare_score(
    value: float | None,
    other: float | None,
    greater_is_better: bool | None,
    paired: PairedDifference | None = None,
) -> ScoreComparison | None:
    """How a score differs from another; None where there is no other."""
    if other is None or value is None:
        return None if other is None else ScoreComparison(other, 0.0, "")
    if _rounded(value) == _rounded(other) and not (paired and paired.difference):
        return ScoreComparison(other, 0.0, "same")
    limits = (paired.low, paired.high) if paired else None
    if limits and limits[0] <= 0 <= limits[1]:
        return ScoreComparison(other, value - other, "level", limits)
    better = (value > other) == greater_is_better
    verdict = "" if greater_is_better is None else "better" if better else "worse"
    return ScoreComparison(other, value - other, verdict, limits)


def _rounded(value: float) -> float:
    """To four decimals, or five digits of a large number."""
    return round(value, 4) if abs(value) < 10 else float(f"{value:.5g}")


def paired_differences(run: Run, base: Run) -> dict[str, PairedDifference]:
    """By how much the scores of two runs differ on the same test rows, by key.

    Of more rows than a run has kept it is the difference of all with the interval of those, moved
    and narrower. Empty where one of the runs has kept none, or they have not the same labels.
    """
    try:
        schema = Schema.model_validate(run.schema)
        mine, other = (test_rows(of) for of in (run, base))
    except (ValueError, KeyError):  # of a revision of long ago
        return {}
    target, theirs = (of.schema.get("columns", {}).get(of.target) for of in (run, base))
    if mine is None or other is None or target != theirs or not np.array_equal(mine.y, other.y):
        return {}
    found = score_differences(bootstrap(mine, schema), bootstrap(other, schema), schema)
    every = max(run.scores.get("test", {}).get("rows", 0), len(mine.y))
    narrower = (len(mine.y) / every) ** 0.5
    if narrower == 1:
        return found
    scores, before = (flat_numbers(of.scores.get("test", {})) for of in (run, base))
    of_all = {key: scores[key] - before[key] for key in found if key in scores and key in before}
    return {
        key: PairedDifference(
            change,
            change + narrower * (found[key].low - found[key].difference),
            change + narrower * (found[key].high - found[key].difference),
        )
        for key, change in of_all.items()
    }


def test_rows(run: Run) -> Outputs | None:
    """The test rows that a run has kept, see `plot_data.test_rows`."""
    rows = points(run, "test_rows")
    if not rows:
        return None
    columns = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    outputs = [columns[name] for name in columns if name.startswith("output_")]
    weight = columns.get("weight", np.ones(len(rows)))
    return Outputs(columns["y"], np.column_stack(outputs), weight, run.scores.get("threshold", 0.5))


def points(run: Run, name: str, folder: str = "plots") -> list[dict[str, Any]]:
    """The rows of a file of points of `metrics/`: numbers, None where a cell is empty, or text."""
    text = run.text(run.files["metrics"].parent / folder / f"{name}.csv")
    return [
        {key: cell if key in TEXTS else float(cell) if cell else None for key, cell in row.items()}
        for row in csv.DictReader(io.StringIO(text))
    ]


def changed_values(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> list[ChangedValue]:
    """The leaves of nested mappings that differ, by dotted key."""
    before, after = dict(flatten(old)), dict(flatten(new))
    return [
        ChangedValue(name, after.get(name), before.get(name))
        for name in after | before
        if before.get(name) != after.get(name) or (name in before) != (name in after)
    ]


def settings(run: Run, lock: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of the results, and the table as DVC names the keys of another file."""
    params = params_of(lock) or run.load(PARAMS)
    return params | {f"{SCHEMA}:{key}": value for key, value in run.schema.items()}


def changed_code(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The paths of code whose content differs, of that which the stages use."""
    before, after = ({path: of.get("md5") for path, of in inputs(k).items()} for k in (old, new))
    differ = sorted(changed.name for changed in changed_values(before, after))
    return [path for path in differ if path.startswith(("stages/", "tabular/"))]


def locked_versions(run: Run) -> dict[str, str]:
    """The version of each package that requirements.txt locks."""
    text = run.text("requirements.txt")
    return dict(re.findall(r"^([\w.-]+)(?:\[.*\])?==(\S+)", text, re.MULTILINE))


def stale(run: Run, lock: Mapping[str, Any]) -> list[str]:
    """The parameters, and the schema, that are not what the results were made with."""
    used, written = params_of(lock), run.load(PARAMS)
    now = {section: written.get(section) for section in used}
    names = [changed.name for changed in changed_values(used, now)]
    schema = hashlib.md5(run.read(SCHEMA) or b"", usedforsecurity=False).hexdigest()
    if inputs(lock).get(str(SCHEMA), {}).get("md5", schema) != schema:
        names.append(str(SCHEMA))
    return names
