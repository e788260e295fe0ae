"""Conversion of scores to JSON and back.

Keys with dots become nested objects: `macro.roc_auc` is written as `{"macro": {"roc_auc": ...}}`.
The ends of an interval stand next to their score, as `accuracy_low` and `accuracy_high`. The scores
of a baseline for other row sets than the test rows are nested in its scores for the test rows.
"""

from collections.abc import Mapping
from typing import Any

from keras_tabular.core.metrics import CUSTOM, METRIC_KEYS, ROW_SETS, TASKS
from keras_tabular.core.nested import flatten, nest
from keras_tabular.evaluation.evaluation import (
    EqualRows,
    Estimate,
    Evaluation,
    IntervalCoverage,
    PairedDifference,
    Scores,
    ScoreSet,
)

COVERAGE_KEYS = ("asked", "coverage", "coverage_low", "coverage_high", "mean_width")


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return the content of `metrics/scores.json`."""
    coverage = evaluation.interval_coverage
    optional = {
        "calibration": dict(evaluation.calibration),
        "custom_metrics": dict(evaluation.custom_metrics),
        "interval": coverage and dict(zip(COVERAGE_KEYS, coverage, strict=True)),
        "tests": {k: _test_file_to_json(scores) for k, scores in evaluation.test_files.items()},
        "threshold": evaluation.threshold,
        "thresholds": evaluation.baseline_thresholds,
    }
    return (
        score_sets_to_json(evaluation.score_sets)
        | {key: value for key, value in optional.items() if value not in (None, {})}
        | {
            "classes_not_found": list(evaluation.classes_not_found),
            "equal_rows": {
                name: {
                    "equal": rows.equal,
                    "equal_with_target": rows.equal_with_target,
                    "without": scores_to_json(rows.scores_without),
                }
                for name, rows in evaluation.equal_rows.items()
            },
            "outside_training": dict(evaluation.outside_training),
            "primary_metrics": list(evaluation.primary_metrics),
            "repeats": evaluation.repeats,
            "version": evaluation.version,
        }
    )


def score_sets_to_json(score_sets: Mapping[str, ScoreSet]) -> dict[str, Any]:
    """Return the scores of the model and of its baselines for several row sets."""
    content = {row_set: scores_to_json(scores.model) for row_set, scores in score_sets.items()}
    baselines: dict[str, dict[str, Any]] = {}
    differences = {}
    for row_set, scores in score_sets.items():
        if scores.baselines:
            differences[row_set] = _differences_to_json(scores)
        for name, baseline in scores.baselines.items():
            values = scores_to_json(baseline)
            values = values if row_set == "test" else {row_set: values}
            baselines.setdefault(name, {}).update(values)
    if baselines:
        content |= {"baseline": baselines, "paired_difference": differences}
    return content


def scores_to_json(scores: Scores) -> dict[str, Any]:
    """Return the number of rows under `rows`, and the scores with their intervals."""
    values: dict[str, float] = {"rows": scores.rows}
    for key, (value, interval) in scores.items():
        values[key] = value
        if interval:
            values[f"{key}_low"], values[f"{key}_high"] = interval
    return nest(values)


def _test_file_to_json(scores: ScoreSet) -> dict[str, Any]:
    return scores_to_json(scores.model) | {
        "training_rows": scores.training_rows,
        "baseline": {k: scores_to_json(baseline) for k, baseline in scores.baselines.items()},
        "paired_difference": _differences_to_json(scores),
    }


def _differences_to_json(scores: ScoreSet) -> dict[str, Any]:
    return {
        name: nest({key: difference._asdict() for key, difference in by_metric.items()})
        for name, by_metric in scores.differences.items()
    }


def flat(evaluation: Evaluation) -> dict[str, float]:
    """Return all numbers by dotted keys like `test.macro.roc_auc`, as in params.yaml."""
    leaves = flatten(to_json(evaluation))
    return {key: value for key, value in leaves if isinstance(value, int | float)}


def summary_to_json(evaluation: Evaluation, task_name: str) -> dict[str, Any]:
    """Return the content of `metrics/metrics.json`: the scores that readers compare.

    - Of the model: the main score, the second one, the loss, the primary metrics and the metrics of
      the project, for the test rows, the folds and additional test files.
    - Of each baseline: the main score and the primary metrics for the test rows.
    - The interval of the first primary metric, and the threshold.
    """
    task, primary = TASKS[task_name], evaluation.primary_metrics
    test_files = (f"tests.{name}" for name in evaluation.test_files)
    custom = [CUSTOM + name for name in evaluation.custom_metrics]
    of_model = (task.main, task.second, "loss", *primary, *custom)
    of_baselines = (task.main, *primary)
    row_sets = ("test", "cross_validation", "forward_chaining", *test_files)
    keys = {"threshold", f"test.{primary[0]}_low", f"test.{primary[0]}_high"}
    keys |= {f"{row_set}.{key}" for row_set in row_sets for key in of_model}
    keys |= {f"baseline.{name}.{key}" for name in task.baselines.values() for key in of_baselines}
    return nest({key: value for key, value in flatten(to_json(evaluation)) if key in keys})


# Raised by `from_json` for content in another format, such as that of an old commit.
OTHER_SHAPE = (AttributeError, KeyError, TypeError, ValueError)


def from_json(content: Mapping[str, Any]) -> Evaluation:
    """Read the content of `metrics/scores.json`; all but the test rows may be missing.

    Raises:
        OTHER_SHAPE: The content has another format.
    """
    # Commits before version 0.5 have the key `decides`.
    primary_metrics = tuple(content.get("primary_metrics") or content["decides"])
    if not primary_metrics or not set(primary_metrics) <= set(METRIC_KEYS):
        raise ValueError
    score_sets = {}
    for row_set in ("test", *(name for name in ROW_SETS if name in content and name != "test")):
        baselines = content.get("baseline", {})
        if row_set != "test":
            baselines = {k: scores[row_set] for k, scores in baselines.items() if row_set in scores}
        differences = content.get("paired_difference", {}).get(row_set, {})
        score_sets[row_set] = _score_set(content[row_set], baselines, differences)
    coverage = content.get("interval")
    return Evaluation(
        primary_metrics,
        score_sets,
        test_files={
            name: _score_set(scores, scores["baseline"], scores["paired_difference"])
            for name, scores in content.get("tests", {}).items()
        },
        threshold=content.get("threshold"),
        baseline_thresholds=content.get("thresholds", {}),
        calibration=content.get("calibration", {}),
        interval_coverage=coverage and IntervalCoverage(*(coverage[key] for key in COVERAGE_KEYS)),
        equal_rows={
            name: EqualRows(
                rows["equal"], rows["equal_with_target"], scores_from_json(rows["without"])
            )
            for name, rows in content.get("equal_rows", {}).items()
        },
        outside_training=content.get("outside_training", {}),
        classes_not_found=tuple(content.get("classes_not_found", ())),
        custom_metrics=content.get("custom_metrics", {}),
        version=content.get("version"),
        repeats=content.get("repeats"),
    )


def _score_set(scores: Any, baselines: Any, differences: Any) -> ScoreSet:
    return ScoreSet(
        scores_from_json(scores),
        {name: scores_from_json(baseline) for name, baseline in baselines.items()},
        {name: _differences_from_json(by_metric) for name, by_metric in differences.items()},
        scores.get("training_rows"),
    )


def scores_from_json(content: Any) -> Scores:
    """Read the scores of one row set."""
    values = dict(flatten(content))
    estimates = {}
    for key in (key for key in _metric_keys(content) if key in values):
        interval = None
        if f"{key}_low" in values:
            interval = (float(values[f"{key}_low"]), float(values[f"{key}_high"]))
        estimates[key] = Estimate(float(values[key]), interval)
    return Scores(int(content["rows"]), estimates)


def _differences_from_json(content: Any) -> dict[str, PairedDifference]:
    values = dict(flatten(content))
    return {
        key: PairedDifference(*(float(values[f"{key}.{end}"]) for end in PairedDifference._fields))
        for key in _metric_keys(content)
        if f"{key}.difference" in values
    }


def _metric_keys(content: Any) -> list[str]:
    names = content.get(CUSTOM.rstrip("."), {})
    custom = [CUSTOM + name for name in names if not name.endswith(("_low", "_high"))]
    return [*METRIC_KEYS, *custom]
