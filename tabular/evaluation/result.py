"""All that an evaluation finds out about a model."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tabular.engine import ordered_map
from tabular.errors import UserError
from tabular.evaluation import baselines, importance, scores, uncertainty
from tabular.evaluation.uncertainty import Outputs
from tabular.metrics import TASKS, deciding, numbers
from tabular.params.evaluate import Choice
from tabular.schema import Schema
from tabular.table.arrays import (
    FINITE,
    Predict,
    feature_arrays,
    labels,
    predicted_classes,
    row_weights,
)
from tabular.table.parquet import part_paths, read_parts
from tabular.threshold import choose_threshold


class Result(NamedTuple):
    """What an evaluation gives.

    Attributes:
        scores: nested, as `metrics/` holds them.
        rows: the model's outputs for the test rows and, where there are folds, for the rows of
            cross-validation, the first of the training rows; by the keys of `metrics.ROWS`.
        importance: of each column, see `importance`.
    """

    scores: dict[str, Any]
    rows: dict[str, Outputs]
    importance: dict[str, np.ndarray]

    def important(self, schema: Schema) -> list[str]:
        """All columns, the most important one first."""
        rises = {name: float(rise.mean()) for name, rise in self.importance.items()}
        return sorted(schema.features, key=lambda name: -rises.get(name, -np.inf))


def predict_part(path: Path, predict: Predict, schema: Schema) -> Outputs:
    """Those of one part."""
    part = pq.read_table(path)
    outputs = predict(feature_arrays(part, schema))
    return Outputs(labels(part, schema)[:, 0], outputs, row_weights(part, schema))


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
    found = Outputs(y, outputs, weight, threshold)
    if count := int((~np.isfinite(found.outputs)).any(axis=1).sum()):
        rows = f"{count} of {len(found.y)} rows"
        raise UserError(f"{folder}: {rows}: found no number; expected {FINITE}")
    return found


def evaluate(
    predict: Predict,
    split: Path,
    oof: pa.Table,
    schema: Schema,
    threshold: float,
    choice: Choice | None,
    work: float,
    progress: importance.Progress = lambda more, name: None,
) -> Result:
    """Score a model and its baselines on all rows of a split, and on the folds if there are any.

    Args:
        split: the folder of the tables train, validation and test.
        oof: the out-of-fold predictions of the training rows, and the `fold` of each.
        choice: by what the threshold was chosen; so are those of the baselines.
        work: multiply-adds of the model for a row.
        progress: see `permutation_importance`.
    """
    rows = {
        name: predict_table(predict, split / name, schema, threshold)
        for name in ("train", "validation", "test")
    }
    if not rows["test"].weight.any():
        raise UserError(f"column {schema.weight}: every test row has a weight of 0")
    *columns, fold = (column.to_numpy() for column in oof.columns)
    learnt = rows["train"].first(len(fold))
    rows["cross_validation"] = learnt._replace(outputs=np.column_stack(columns))
    rows = {name: found for name, found in rows.items() if len(found.y)}
    scored: dict[str, Any] = {name: score(found, schema) for name, found in rows.items()}
    decides = scored["decides"] = list(deciding_scores(rows["train"], scored["test"], schema))
    held_out: dict[str, Outputs] = {
        name: rows[name] for name in ("test", "cross_validation") if name in rows
    }
    for name, found in held_out.items():
        add_intervals(scored[name], uncertainty.intervals(found, schema))

    others = baselines.predict_baselines(split, fold, schema)
    thresholds = baseline_thresholds(others, learnt, threshold, choice, schema)
    main, constant = TASKS[schema.task].main, TASKS[schema.task].baselines["constant"]
    of_baselines: dict[str, Any] = {name: {} for name in others}
    paired: dict[str, Any] = {name: {} for name in held_out}
    for name, mine in held_out.items():
        for other, predicted in others.items():
            outputs = predicted.test if name == "test" else predicted.oof
            theirs = mine.first(len(outputs))._replace(outputs=outputs, threshold=thresholds[other])
            beside = score(theirs, schema)
            if name != "test" and other == constant:  # one constant a fold: it ranks no rows
                beside = {key: beside[key] for key in ("rows", "loss", main)}
            keys = tuple(numbers(beside))
            apart = uncertainty.differences(mine.first(len(outputs)), theirs, schema, keys)
            add_intervals(beside, uncertainty.intervals(theirs, schema, tuple(decides)))
            paired[name][other] = {key: of._asdict() for key, of in apart.items()}
            of_baselines[other] |= beside if name == "test" else {name: beside}
    scored |= {"baseline": of_baselines, "paired_difference": paired}
    scored["classes_not_found"] = classes_not_found(rows["test"], schema)
    rises = importance.permutation_importance(
        predict, next(read_parts(split / "test")), rows["test"].y, schema, work, progress
    )
    return Result(scored, held_out, rises)


def score(found: Outputs, schema: Schema) -> scores.Scores:
    """See `scores.score`."""
    return scores.score(found.y, found.outputs, schema, found.threshold, found.weight)


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


def deciding_scores(train: Outputs, test: dict[str, Any], schema: Schema) -> tuple[str, ...]:
    """See `metrics.deciding`; the main score where the test rows have not the others."""
    counts = [int((train.y == k).sum()) for k in range(len(schema.classes))]
    keys = deciding(schema.task, counts)
    return keys if set(keys) <= set(numbers(test)) else (TASKS[schema.task].main,)


def add_intervals(scored: dict[str, Any], limits: dict[str, tuple[float, float]]) -> None:
    """Put the ends of intervals beside their scores, in place."""
    for key, ends in limits.items():
        *path, last = key.split(".")
        place = scored
        for name in path:
            place = place[name]
        if last in place:
            place |= {
                f"{last}_{end}": value for end, value in zip(("low", "high"), ends, strict=True)
            }


def baseline_thresholds(
    others: dict[str, baselines.Baseline],
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
            y, _, weight, _ = learnt.first(len(oof))
            thresholds[names[key]] = choose_threshold(choice, y, oof, weight)
    return thresholds
