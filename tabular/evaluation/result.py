"""All that an evaluation finds out about a model."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tabular.engine import ordered_map
from tabular.errors import UserError
from tabular.evaluation import baselines, importance, scores
from tabular.metrics import TASKS
from tabular.params.evaluate import Choice
from tabular.schema import Schema
from tabular.table.arrays import FINITE, Predict, feature_arrays, labels, row_weights
from tabular.table.parquet import part_paths, read_parts
from tabular.threshold import choose_threshold


class Predictions(NamedTuple):
    """Labels (rows,), outputs (rows, outputs), and how much each row counts (rows,)."""

    y: np.ndarray
    outputs: np.ndarray
    weight: np.ndarray


class Result(NamedTuple):
    """What an evaluation gives: nested scores, predictions of the test rows, column importance.

    `ahead`: the baselines whose main score is better beyond the interval of the paired difference.
    """

    scores: dict[str, Any]
    test: Predictions
    importance: dict[str, np.ndarray]
    ahead: list[str]


def predict_part(path: Path, predict: Predict, schema: Schema) -> Predictions:
    """Those of one part."""
    part = pq.read_table(path)
    outputs = predict(feature_arrays(part, schema))
    return Predictions(labels(part, schema)[:, 0], outputs, row_weights(part, schema))


def predict_table(predict: Predict, folder: Path, schema: Schema) -> Predictions:
    """The labels of a table and the model's outputs for it.

    Raises:
        UserError: an output is not finite.
    """
    outputs_of = partial(predict_part, predict=predict, schema=schema)
    parts = ordered_map(outputs_of, part_paths(folder), threads=False)
    found = Predictions(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
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
    predictions = {
        name: predict_table(predict, split / name, schema)
        for name in ("train", "validation", "test")
    }
    *columns, fold = (column.to_numpy() for column in oof.columns)
    train = predictions["train"]
    predictions["cross_validation"] = Predictions(
        train.y[: len(fold)], np.column_stack(columns), train.weight[: len(fold)]
    )
    predictions = {name: found for name, found in predictions.items() if len(found.y)}

    def score(
        y: np.ndarray, outputs: np.ndarray, weight: np.ndarray, threshold: float = threshold
    ) -> scores.Scores:
        return scores.score(y, outputs, schema, threshold, weight)

    scored: dict[str, Any] = {name: score(*found) for name, found in predictions.items()}

    test = predictions["test"]
    if not test.weight.any():
        raise UserError(f"column {schema.weight}: every test row has a weight of 0")
    of_rows = scores.row_scores(test.y, test.outputs, schema, threshold)
    low, high = scores.interval(of_rows, schema, test.weight)
    task = TASKS[schema.task]
    scored["test"] |= {f"{task.main}_low": low, f"{task.main}_high": high}

    others = baselines.predict_baselines(split, fold, schema)
    thresholds = dict.fromkeys(others, threshold)
    thresholds[task.baselines["constant"]] = 0.5  # or it would not be the majority
    if choice and len(fold):
        for key in ("linear", "boosted"):
            oof_of = others[task.baselines[key]].oof[:, 0]
            n = len(oof_of)
            chosen = choose_threshold(choice, train.y[:n], oof_of, train.weight[:n])
            thresholds[task.baselines[key]] = chosen
    scored["baseline"] = {
        name: score(test.y, other.test, test.weight, thresholds[name])
        for name, other in others.items()
    }
    beside = {"test": {name: other.test for name, other in others.items()}}
    if len(fold):
        beside["cross_validation"] = {name: other.oof for name, other in others.items()}
        for name, other in others.items():
            rows = len(other.oof)
            crossed = score(train.y[:rows], other.oof, train.weight[:rows], thresholds[name])
            if name == task.baselines["constant"]:  # one constant a fold: it ranks no rows
                crossed = {key: crossed[key] for key in ("rows", task.main, "loss")}
            scored["baseline"][name]["cross_validation"] = crossed
    scored["paired_difference"] = {
        name: baselines.difference_from_best(
            *predictions[name], outputs, schema, threshold, thresholds
        )
        for name, outputs in beside.items()
    }
    rises = importance.permutation_importance(
        predict, next(read_parts(split / "test")), test.y, schema, work, progress
    )
    most = "cross_validation" if len(fold) else "test"
    ahead = baselines.ahead(*predictions[most], beside[most], schema, threshold, thresholds)
    return Result(scored, test, rises, ahead)
