"""All that an evaluation finds out about a model."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tabular.config.schema import Schema
from tabular.config.sections import Choice
from tabular.core.engine import ordered_map
from tabular.core.errors import UserError
from tabular.core.metrics import (
    ENDS,
    TASKS,
    flat_numbers,
    flatten,
    get_nested,
    nested,
    primary_metrics,
)
from tabular.core.process import require_memory
from tabular.evaluation import uncertainty
from tabular.evaluation.calibration import choose_threshold, scale_by_temperature
from tabular.evaluation.equal_rows import find_equal_rows
from tabular.evaluation.scores import Baseline, Outputs, score
from tabular.evaluation.uncertainty import Bootstrap
from tabular.model.intervals import Intervals
from tabular.table.arrays import (
    FINITE,
    Predict,
    feature_arrays,
    labels,
    predicted_classes,
    row_hashes,
    row_weights,
)
from tabular.table.parquet import part_paths, read_parts

if TYPE_CHECKING:  # TensorFlow starts after the parameters are checked
    from tabular.model.saved_model import SavedModel

FEW_ROWS = 10  # intervals of fewer would be far too narrow: what was not seen is not drawn again


class Result(NamedTuple):
    """What an evaluation gives.

    Attributes:
        scores: nested, as `metrics/` holds them.
        rows: the model's outputs for the test rows and, where there are folds, for the rows of
            cross-validation, the first of the training rows; by the keys of `metrics.ROWS`.
        unlike_training: which of these rows equal none that their answers were learnt from.
    """

    scores: dict[str, Any]
    rows: dict[str, Outputs]
    unlike_training: dict[str, np.ndarray]


def predict_part(path: Path, predict: Predict, schema: Schema) -> Outputs:
    """Those of one part."""
    part = pq.read_table(path)
    outputs = predict(feature_arrays(part, schema))
    found = Outputs(labels(part, schema)[:, 0], outputs, row_weights(part, schema))
    if schema.group not in part.column_names:
        return found
    return found._replace(group=row_hashes([part[schema.group]]))


def predict_table(predict: Predict, folder: Path, schema: Schema, threshold: float) -> Outputs:
    """The labels of a table and the model's outputs for it.

    Raises:
        UserError: an output is not finite.
    """
    outputs_of = partial(predict_part, predict=predict, schema=schema)
    parts = list(ordered_map(outputs_of, part_paths(folder), threads=False))
    y, outputs, weight = (
        np.concatenate(arrays)
        for arrays in zip(*((part.y, part.outputs, part.weight) for part in parts), strict=True)
    )
    group = None
    if hashed := [part.group for part in parts if part.group is not None]:
        group = np.unique(np.concatenate(hashed), return_inverse=True)[1]
    found = Outputs(y, outputs, weight, threshold, group)
    if count := int((~np.isfinite(found.outputs)).any(axis=1).sum()):
        rows = f"{count} of {len(found.y)} rows"
        raise UserError(f"{folder}: {rows}: found no number; expected {FINITE}")
    return found


Baselines = dict[str, Baseline]


def predict_baselines(
    split: Path, fold: np.ndarray, schema: Schema, tests: Path | None = None
) -> Baselines:
    """See `baselines`, which imports scikit-learn."""
    require_memory("scikit-learn")
    from tabular.evaluation import baselines

    return baselines.predict_baselines(split, fold, schema, tests)


def fit_baselines(data: Path, schema: Schema) -> Baselines:
    """See `predict_baselines`, for the test rows and the folds of the out-of-fold predictions.

    Args:
        data: folder of `split` and `oof`.
    """
    fold = pa.concat_tables(read_parts(data / "oof", ["fold"]))
    return predict_baselines(data / "split", fold[0].to_numpy(), schema)


def evaluate_model(
    model: "SavedModel", data: Path, schema: Schema, baselines: Callable[[], Baselines]
) -> Result:
    """See `evaluate`; and what the model's file says of its answers."""
    metadata = model.metadata
    oof = pa.concat_tables(read_parts(data / "oof"))
    result = evaluate(
        *(model.predict, data / "split", oof, schema, baselines),
        *(model.threshold, model.threshold_choice, model.temperature),
    )
    equal = find_equal_rows(data / "split", oof["fold"].to_numpy(), schema)
    found = result.scores | {key: metadata.get(key) for key in ("repeats", "version")}
    found["equal_rows"] = equal.scores(result.rows, schema)
    later = data / "oof" / "forward_chaining"
    if later.is_dir():
        learnt = result.rows["cross_validation"]
        found["forward_chaining"] = score_later(later, learnt, schema, model.temperature)
    if schema.task == "binary":
        found["threshold"] = model.threshold
    if "calibration" in metadata:
        found["calibration"] = metadata["calibration"]
    if model.intervals:
        found["interval"] = interval_scores(result.rows["test"], model.intervals)
    return result._replace(scores=found, unlike_training=equal.without)


def evaluate(
    predict: Predict,
    split: Path,
    oof: pa.Table,
    schema: Schema,
    baselines: Callable[[], Baselines],
    threshold: float,
    choice: Choice | None,
    temperature: float = 1.0,
) -> Result:
    """Score a model and its baselines on all rows of a split, and on the folds if there are any.

    Args:
        split: the folder of the tables train, validation and test.
        oof: the out-of-fold predictions of the training rows, and the `fold` of each.
        baselines: gives what `fit_baselines` does.
        choice: by what the threshold was chosen; so are those of the baselines.
        temperature: of the model's probabilities, which those of `oof` have not yet.
    """
    rows = {
        name: predict_table(predict, split / name, schema, threshold)
        for name in ("train", "validation", "test")
    }
    if not rows["test"].weight.any():
        raise UserError(f"column {schema.weight}: every test row has a weight of 0")
    *columns, fold = (column.to_numpy() for column in oof.columns)
    learnt = rows["train"].first(len(fold))
    rows["cross_validation"] = learnt._replace(
        outputs=scale_by_temperature(np.column_stack(columns), temperature)
    )
    rows = {name: found for name, found in rows.items() if len(found.y)}
    scored: dict[str, Any] = {name: score(found, schema) for name, found in rows.items()}
    decides = scored["decides"] = list(primary_scores(rows["train"], scored["test"], schema))
    held_out: dict[str, Outputs] = {
        name: rows[name] for name in ("test", "cross_validation") if name in rows
    }
    bootstraps = {name: uncertainty.bootstrap(found, schema) for name, found in held_out.items()}
    for name, of_rows in bootstraps.items():
        add_intervals(scored[name], uncertainty.intervals(of_rows, schema))

    others = baselines()
    thresholds = baseline_thresholds(others, learnt, threshold, choice, schema)
    scored |= compare_with_baselines(bootstraps, others, thresholds, decides, schema)
    if schema.task == "binary":
        scored["thresholds"] = thresholds
    scored["classes_not_found"] = classes_not_found(rows["test"], schema)
    return Result(scored, held_out, {})


def score_later(
    folder: Path, learnt: Outputs, schema: Schema, temperature: float
) -> dict[str, Any]:
    """The scores of the training rows that forward chaining has predicted."""
    *columns, block = (column.to_numpy() for column in pa.concat_tables(read_parts(folder)).columns)
    later = block > 0
    outputs = scale_by_temperature(np.column_stack(columns)[later], temperature)
    found = learnt.of(later)._replace(outputs=outputs)
    scored = score(found, schema)
    add_intervals(scored, uncertainty.intervals(uncertainty.bootstrap(found, schema), schema))
    return scored


def without_intervals(scored: dict[str, Any]) -> dict[str, Any]:
    """Scores alone."""
    return nested({key: value for key, value in flatten(scored) if not key.endswith(ENDS)})


def score_labelled(
    predict: Predict,
    folder: Path,
    split: Path | None,
    schema: Schema,
    threshold: float,
    thresholds: dict[str, float],
) -> dict[str, Any]:
    """The scores of `test`, of each `baseline`, and the `paired_difference`, of labelled rows.

    Of fewer rows than `FEW_ROWS` there are no intervals, and so no differences.

    Args:
        folder: of the rows.
        split: from which the baselines learn; without it there are none.
        threshold, thresholds: of the model, and of baselines that have another one.
    """
    found = predict_table(predict, folder, schema, threshold)
    if not found.weight.any():
        raise UserError(f"column {schema.weight}: every row has a weight of 0")
    bootstrap = uncertainty.bootstrap(found, schema)
    scored: dict[str, Any] = {"test": score(found, schema)}
    scored["decides"] = list(primary_scores(found, scored["test"], schema))
    add_intervals(scored["test"], uncertainty.intervals(bootstrap, schema))
    if split:
        others = predict_baselines(split, np.empty(0, np.int32), schema, folder)
        thresholds = baseline_thresholds(others, found, threshold, None, schema) | thresholds
        scored |= compare_with_baselines(
            {"test": bootstrap}, others, thresholds, scored["decides"], schema
        )
    if len(found.y) < FEW_ROWS:
        scored["test"] = without_intervals(scored["test"])
        if split:
            scored["baseline"] = without_intervals(scored["baseline"])
            scored["paired_difference"] = {"test": {}}
    return scored


def interval_scores(test: Outputs, intervals: Intervals) -> dict[str, Any]:
    """How many values of the test rows their intervals hold, and how wide these are in the mean.

    Rows count alike: intervals are for any row, whatever its weight.
    """
    low, high = intervals.ends(test.outputs[:, 0]).T.astype(np.float64)
    inside = ((low <= test.y) & (test.y <= high)).astype(np.float64)
    ends = uncertainty.mean_interval(inside, np.ones(len(inside)), share=True, group=test.group)
    return {
        "asked": intervals.coverage,
        "coverage": float(inside.mean()),
        "coverage_low": ends[0],
        "coverage_high": ends[1],
        "mean_width": float((high - low).mean()),
    }


def compare_with_baselines(
    bootstraps: dict[str, Bootstrap],
    others: Baselines,
    thresholds: dict[str, float],
    decides: list[str],
    schema: Schema,
) -> dict[str, Any]:
    """The scores of each `baseline`, and the `paired_difference` of the model's from them.

    Args:
        bootstraps: the model's, of test rows and cross-validation.
    """
    task = TASKS[schema.task]
    scored: dict[str, Any] = {name: {} for name in others}
    paired: dict[str, Any] = {rows: {} for rows in bootstraps}
    for rows, mine in bootstraps.items():
        for name, predicted in others.items():
            outputs = predicted.test if rows == "test" else predicted.oof
            own = mine.found.first(len(outputs))
            if len(own.y) < len(mine.found.y):
                mine = uncertainty.bootstrap(own, schema)
            found = own._replace(outputs=outputs, threshold=thresholds[name])
            beside, theirs = score(found, schema), uncertainty.bootstrap(found, schema)
            # One constant a fold ranks no rows.
            if rows != "test" and name == task.baselines["constant"]:
                beside = {key: beside[key] for key in ("rows", "loss", task.main)}
            differences = uncertainty.score_differences(mine, theirs, schema)
            paired[rows][name] = nested(
                {
                    key: of._asdict()
                    for key, of in differences.items()
                    if key in flat_numbers(beside)
                }
            )
            keys = tuple(key for key in decides if key in flat_numbers(beside))
            add_intervals(beside, uncertainty.intervals(theirs, schema, keys))
            scored[name] |= beside if rows == "test" else {rows: beside}
    return {"baseline": scored, "paired_difference": paired}


def classes_not_found(test: Outputs, schema: Schema) -> list[str]:
    """The classes with a recall of 0: they have test rows, and none is predicted to be of it."""
    if schema.task == "regression":
        return []
    right = predicted_classes(test.outputs, schema, test.threshold) == test.y
    return [
        str(name)
        for k, name in enumerate(schema.classes)
        if (own := test.y == k).any() and not right[own].any()
    ]


def primary_scores(train: Outputs, test: dict[str, Any], schema: Schema) -> tuple[str, ...]:
    """See `metrics.primary_metrics`; the main score where the test rows have not the others."""
    counts = [int((train.y == k).sum()) for k in range(len(schema.classes))]
    keys = primary_metrics(schema.task, counts)
    return keys if set(keys) <= set(flat_numbers(test)) else (TASKS[schema.task].main,)


def add_intervals(scored: dict[str, Any], limits: dict[str, tuple[float, float]]) -> None:
    """Put the ends of intervals beside their scores, in place."""
    for key, ends in limits.items():
        path, _, last = key.rpartition(".")
        place = get_nested(scored, path) if path else scored
        if last in place:
            place[f"{last}_low"], place[f"{last}_high"] = ends


def baseline_thresholds(
    others: Baselines,
    learnt: Outputs,
    threshold: float,
    choice: Choice | None,
    schema: Schema,
) -> dict[str, float]:
    """The threshold of each baseline: chosen as that of the model was.

    Args:
        learnt: the labels and weights of the rows that were predicted out of fold.
    """
    names = TASKS[schema.task].baselines
    thresholds = dict.fromkeys(others, threshold)
    thresholds[names["constant"]] = 0.5  # or it would not be the majority
    if choice and len(learnt.y):
        for key in ("linear", "boosted"):
            oof = others[names[key]].oof[:, 0]
            y, _, weight, *_ = learnt.first(len(oof))
            thresholds[names[key]] = choose_threshold(choice, y, oof, weight)
    return thresholds


def headline(scores: dict[str, Any], schema: Schema) -> dict[str, Any]:
    """Of all scores of a run the few that decide.

    The main score, the second one, the loss and those that decide of the test rows, the folds and
    other `tests`; of each baseline the main score and those that decide; the interval of the first
    that decides; and the threshold.
    """
    task, (first, *others) = TASKS[schema.task], scores["decides"]
    tests = (f"tests.{name}" for name in scores.get("tests", {}))
    keys = {"threshold", f"test.{first}_low", f"test.{first}_high"}
    keys |= {
        f"{rows}.{score}"
        for rows in ("test", "cross_validation", "forward_chaining", *tests)
        for score in (task.main, task.second, "loss", first, *others)
    }
    keys |= {
        f"baseline.{name}.{score}"
        for name in task.baselines.values()
        for score in (task.main, first, *others)
    }
    return nested({key: value for key, value in flatten(scores) if key in keys})
