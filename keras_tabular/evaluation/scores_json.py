"""Scores as JSON: the one conversion in each direction.

Keys are nested by dots, `macro.roc_auc` as `{"macro": {"roc_auc": ...}}`, and the ends of intervals
stand next to their score as `accuracy_low` and `accuracy_high`. The scores of a baseline for other
rows than the test rows are inside those for the test rows.
"""

from collections.abc import Mapping
from typing import Any

from keras_tabular.core.metrics import CUSTOM, METRIC_KEYS, ROW_SETS, TASKS
from keras_tabular.core.nested import flatten, nest
from keras_tabular.evaluation.evaluation import (
    Calibration,
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
        "calibration": evaluation.calibration and calibration_to_json(evaluation.calibration),
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
    """Return the scores for several sets of rows, of the model and of its baselines."""
    content = {rows: scores_to_json(scores.model) for rows, scores in score_sets.items()}
    baselines: dict[str, dict[str, Any]] = {}
    for rows, scores in score_sets.items():
        for name, baseline in scores.baselines.items():
            values = scores_to_json(baseline)
            baselines.setdefault(name, {}).update(values if rows == "test" else {rows: values})
    if not baselines:
        return content
    compared = {rows: scores for rows, scores in score_sets.items() if scores.baselines}
    differences = {rows: _differences_to_json(scores) for rows, scores in compared.items()}
    return content | {"baseline": baselines, "paired_difference": differences}


def scores_to_json(scores: Scores) -> dict[str, Any]:
    """Return the number of `rows`, and the scores with their intervals."""
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


def calibration_to_json(calibration: Calibration) -> dict[str, float]:
    """Return what the metrics and the file of the model hold of a calibration."""
    return {key: value for key, value in calibration._asdict().items() if value is not None}


def flat(evaluation: Evaluation) -> dict[str, float]:
    """Return all numbers by dotted key such as `test.macro.roc_auc`, as params.yaml names them."""
    leaves = flatten(to_json(evaluation))
    return {key: value for key, value in leaves if isinstance(value, int | float)}


def summary_to_json(evaluation: Evaluation, task_name: str) -> dict[str, Any]:
    """Return the content of `metrics/metrics.json`: the few scores that a reader compares.

    The main score, the second one, the loss, the primary metrics and the metrics of the project for
    the test rows, the folds and other test files; of each baseline the main score and the primary
    metrics; the interval of the first primary metric; and the threshold.
    """
    task, primary = TASKS[task_name], evaluation.primary_metrics
    tests = (f"tests.{name}" for name in evaluation.test_files)
    custom = [CUSTOM + name for name in evaluation.custom_metrics]
    keys = {"threshold", f"test.{primary[0]}_low", f"test.{primary[0]}_high"}
    keys |= {
        f"{rows}.{key}"
        for rows in ("test", "cross_validation", "forward_chaining", *tests)
        for key in (task.main, task.second, "loss", *primary, *custom)
    }
    keys |= {
        f"baseline.{name}.{key}"
        for name in task.baselines.values()
        for key in (task.main, *primary)
    }
    return nest({key: value for key, value in flatten(to_json(evaluation)) if key in keys})


# What `from_json` raises if the content has another shape, as in an old commit.
OTHER_SHAPE = (AttributeError, KeyError, TypeError, ValueError)


def from_json(content: Mapping[str, Any]) -> Evaluation:
    """Read the content of `metrics/scores.json`; it raises one of `OTHER_SHAPE` for other content.

    A part that is missing leaves the others.
    """
    primary_metrics = tuple(content["primary_metrics"])
    if not primary_metrics or not set(primary_metrics) <= set(METRIC_KEYS):
        raise ValueError
    score_sets = {}
    for rows in ("test", *(name for name in ROW_SETS if name in content and name != "test")):
        baselines = content.get("baseline", {})
        if rows != "test":
            baselines = {k: baseline[rows] for k, baseline in baselines.items() if rows in baseline}
        differences = content.get("paired_difference", {}).get(rows, {})
        score_sets[rows] = _score_set(content[rows], baselines, differences)
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
        calibration=calibration_from_json(content.get("calibration")),
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
        {name: _differences(by_metric) for name, by_metric in differences.items()},
        scores.get("training_rows"),
    )


def scores_from_json(content: Any) -> Scores:
    """Read the scores for one set of rows."""
    values = dict(flatten(content))
    estimates = {}
    for key in (key for key in (*METRIC_KEYS, *_custom_keys(content)) if key in values):
        interval = None
        if f"{key}_low" in values:
            interval = (float(values[f"{key}_low"]), float(values[f"{key}_high"]))
        estimates[key] = Estimate(float(values[key]), interval)
    return Scores(int(content["rows"]), estimates)


def _differences(content: Any) -> dict[str, PairedDifference]:
    numbers = dict(flatten(content))
    return {
        key: PairedDifference(*(float(numbers[f"{key}.{end}"]) for end in PairedDifference._fields))
        for key in (*METRIC_KEYS, *_custom_keys(content))
        if f"{key}.difference" in numbers
    }


def _custom_keys(content: Any) -> list[str]:
    names = content.get(CUSTOM.rstrip("."), {})
    return [CUSTOM + name for name in names if not name.endswith(("_low", "_high"))]


def calibration_from_json(content: Any) -> Calibration | None:
    """Read a calibration, if there is one."""
    return None if content is None else Calibration(**content)
