"""A run compared with its baselines and with another run, as plain rows."""

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from keras_tabular.config.params import PARAMS
from keras_tabular.config.schema import SCHEMA, Schema
from keras_tabular.core.metrics import AVERAGES, Metric, metrics_by_key
from keras_tabular.core.nested import flatten
from keras_tabular.evaluation.evaluation import NO_SCORES, Evaluation, PairedDifference, ScoreSet
from keras_tabular.evaluation.scores import Predictions
from keras_tabular.evaluation.uncertainty import bootstrap, score_differences
from keras_tabular.experiments.run import LOCK, Run, inputs, outs_of, params_of
from keras_tabular.experiments.verdict import Verdict

METRICS_OF_TASKS = metrics_by_key({})
TEXTS = {"true class", "predicted class", "column"}  # columns of text in files of points


class ScoreComparison(NamedTuple):
    """Another score, and how the score of this run differs from it.

    Attributes:
        change: The score of this run minus the other one.
        verdict: `better`, `worse`, `same`, or `level` where the interval of the difference contains
            0; empty where this run has no such score.
        interval: The 95% interval of the difference.
    """

    value: float
    change: float
    verdict: str
    interval: tuple[float, float] | None = None


class ScoreRow(NamedTuple):
    """One score of a run, of its base and of its baselines.

    Attributes:
        average: How it is averaged over the classes, in words; empty where it is not.
        value: None where it is undefined.
    """

    key: str
    label: str
    average: str
    value: float | None
    interval: tuple[float, float] | None
    base: ScoreComparison | None
    baselines: dict[str, ScoreComparison | None]


class ChangedValue(NamedTuple):
    """A value that differs; None where a run has none."""

    name: str
    value: Any
    base: Any


class Comparison(NamedTuple):
    """What a page or a comment shows of a run and, where there is one, of its base.

    Attributes:
        verdict: Of the gate; None where the run has none.
        scores: By the keys of `metrics.ROW_SETS`, then by metric key; those of the test rows are
            compared with the base.
        tests: By the names of the additional test files, then by metric key.
        code: The paths of code that differs.
        data: Differences of the profiles; None where one of the runs has none.
        stale: What has changed since the results were made.
        files: What the page shows as it is written, by the names in `REPORT_FILES`.
    """

    run: Run
    base: Run | None
    evaluation: Evaluation
    verdict: Verdict | None
    scores: dict[str, dict[str, ScoreRow]]
    tests: dict[str, dict[str, ScoreRow]]
    params: list[ChangedValue]
    code: list[str]
    packages: list[ChangedValue]
    data: list[ChangedValue] | None
    test_rows_differ: bool
    stale: list[str]
    files: dict[str, dict[str, Any]]


REPORT_FILES = ("slices", "effects", "columns", "networks", "profile", "validation")


def compare(run: Run, base: Run | None, verdict: Verdict | None = None) -> Comparison:
    """Compare a run with another one of the same table.

    Args:
        verdict: The verdict to show instead of that of the run.

    Raises:
        UserError: The run has no scores.
    """
    evaluation = run.require_evaluation()
    compared = partial(compare_scores, metrics=metrics_by_key(evaluation.custom_metrics))
    scores = {name: compared(each) for name, each in evaluation.score_sets.items()}
    lock, base_lock = run.load(LOCK), base.load(LOCK) if base else {}
    profiles = [r.load(r.files["profile"]) for r in (base, run) if r]
    split, base_split = ([out["md5"] for out in outs_of(k, "split")] for k in (lock, base_lock))
    test_rows_differ = bool(split and base_split) and split != base_split
    if base and base.evaluation:
        paired = {} if test_rows_differ else paired_differences(run, base)
        scores["test"] = compared(evaluation.test, base.evaluation.test, paired)
    return Comparison(
        run,
        base,
        evaluation,
        verdict=verdict or run.verdict,
        scores=scores,
        tests={name: compared(each) for name, each in evaluation.test_files.items()},
        params=changed_values(settings(base, base_lock), settings(run, lock)) if base else [],
        code=changed_code(base_lock, lock) if base else [],
        packages=changed_values(locked_versions(base), locked_versions(run)) if base else [],
        data=changed_values(*profiles) if base and all(profiles) else None,
        test_rows_differ=test_rows_differ,
        stale=stale(run, lock),
        files={name: run.load(run.files[name]) for name in REPORT_FILES},
    )


def compare_scores(
    scores: ScoreSet,
    base: ScoreSet | None = None,
    paired: Mapping[str, PairedDifference] | None = None,
    keys: Iterable[str] = (),
    metrics: Mapping[str, Metric] = METRICS_OF_TASKS,
) -> dict[str, ScoreRow]:
    """Compare the scores for one set of rows with those of the base and of the baselines.

    Args:
        base: Scores of the base for the same set of rows.
        paired: Differences from the base on the same rows, by metric key.
        keys: Metric keys that have a row even if they are undefined everywhere.
        metrics: The metrics to compare, by their keys.

    Returns:
        By metric key, in the order in which they are read.
    """
    before = (base or NO_SCORES).model
    baselines = dict(sorted(scores.baselines.items()))
    compared = (scores.model, before, *baselines.values())
    defined = {key for each in compared for key, _ in each.items()}
    by_key = {}
    for key, metric in metrics.items():
        if key not in {*defined, *keys}:
            continue
        average, estimate = key.rpartition(".")[0], scores.model.get(key)
        value, greater = scores.model.value(key), metric.greater_is_better
        by_key[key] = ScoreRow(
            key,
            metric.label,
            AVERAGES.get(average, ""),
            value,
            estimate.interval if estimate else None,
            compare_score(value, before.value(key), greater, (paired or {}).get(key)),
            {
                name: compare_score(value, other.value(key), greater, scores.difference(name, key))
                for name, other in baselines.items()
            },
        )
    return by_key


def compare_score(
    value: float | None,
    other: float | None,
    greater_is_better: bool,
    paired: PairedDifference | None = None,
) -> ScoreComparison | None:
    """Compare a score with another one; None where there is no other."""
    if other is None or value is None:
        return None if other is None else ScoreComparison(other, 0.0, "")
    if _rounded(value) == _rounded(other) and not (paired and paired.difference):
        return ScoreComparison(other, 0.0, "same")
    interval = (paired.low, paired.high) if paired else None
    if paired and paired.within_chance:
        return ScoreComparison(other, value - other, "level", interval)
    better = (value > other) == greater_is_better
    return ScoreComparison(other, value - other, "better" if better else "worse", interval)


def _rounded(value: float) -> float:
    """Round to four decimals, or to five digits if it is large."""
    return round(value, 4) if abs(value) < 10 else float(f"{value:.5g}")


def paired_differences(run: Run, base: Run) -> dict[str, PairedDifference]:
    """Compare the scores of two runs on the same test rows, by key.

    Where there are more test rows than a run has kept, it is the difference on all of them, with
    the interval of those that were kept, moved and narrower. Empty where one of the runs has kept
    none, or they have not the same labels.
    """
    rows, base_rows = (test_rows(each) for each in (run, base))
    target, base_target = (r.schema.get("columns", {}).get(r.target) for r in (run, base))
    if rows is None or base_rows is None or target != base_target:
        return {}
    if not np.array_equal(rows.y, base_rows.y):
        return {}
    base_rows, schema = base_rows._replace(group=rows.group), Schema.model_validate(run.schema)
    in_kept_rows = score_differences(bootstrap(rows, schema), bootstrap(base_rows, schema), schema)
    if run.evaluation is None or base.evaluation is None:
        return in_kept_rows
    scores, before = run.evaluation.test.model, base.evaluation.test.model
    narrower = (len(rows.y) / max(scores.rows, len(rows.y))) ** 0.5
    if narrower == 1:
        return in_kept_rows
    differences = {}
    for key, (difference, low, high) in in_kept_rows.items():
        value, other = scores.value(key), before.value(key)
        if value is not None and other is not None:
            low, high = (narrower * (end - difference) for end in (low, high))
            change = value - other
            differences[key] = PairedDifference(change, change + low, change + high)
    return differences


def test_rows(run: Run) -> Predictions | None:
    """Read the test rows that a run has kept, see `plot_data.test_rows`."""
    rows = points(run, "test_rows")
    if not rows:
        return None
    columns = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    y_pred = np.column_stack([columns[name] for name in columns if name.startswith("output_")])
    weight = columns.get("weight", np.ones(len(rows)))
    threshold = run.evaluation.threshold if run.evaluation else None
    group = columns["group"].astype(int) if "group" in columns else None
    return Predictions(columns["y"], y_pred, weight, 0.5 if threshold is None else threshold, group)


def points(run: Run, name: str, folder: str = "plots") -> list[dict[str, Any]]:
    """Read a file of points of `metrics/`: numbers, None where a cell is empty, or text."""
    text = run.text(run.files["metrics"].parent / folder / f"{name}.csv")
    return [
        {key: cell if key in TEXTS else float(cell) if cell else None for key, cell in row.items()}
        for row in csv.DictReader(io.StringIO(text))
    ]


def changed_values(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> list[ChangedValue]:
    """List the leaves of nested mappings that differ, by dotted key."""
    before, after = dict(flatten(old)), dict(flatten(new))
    return [
        ChangedValue(name, after.get(name), before.get(name))
        for name in after | before
        if before.get(name) != after.get(name)
    ]


def settings(run: Run, lock: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of the results, and the keys of the schema as DVC names them."""
    params = params_of(lock) or run.load(PARAMS)
    return params | {f"{SCHEMA}:{key}": value for key, value in run.schema.items()}


def changed_code(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """List the paths of the code that the stages use and whose content differs."""
    before, after = (
        {path: dep.get("md5") for path, dep in inputs(lock).items()} for lock in (old, new)
    )
    paths = [changed.name for changed in changed_values(before, after)]
    code = ("keras_tabular/", "requirements.txt")
    return sorted(path for path in paths if path.startswith(code) or path.endswith(".py"))


def locked_versions(run: Run) -> dict[str, str]:
    """Return the version of each package that requirements.txt locks."""
    text = run.text("requirements.txt")
    return dict(re.findall(r"^([\w.-]+)(?:\[.*\])?==(\S+)", text, re.MULTILINE))


def stale(run: Run, lock: Mapping[str, Any]) -> list[str]:
    """List the parameters that differ from those of the results, and the schema if it does."""
    params, written = params_of(lock), run.load(PARAMS)
    now = {section: written.get(section) for section in params}
    names = [changed.name for changed in changed_values(params, now)]
    schema = hashlib.md5(run.read(SCHEMA) or b"", usedforsecurity=False).hexdigest()
    if inputs(lock).get(str(SCHEMA), {}).get("md5", schema) != schema:
        names.append(str(SCHEMA))
    return names
