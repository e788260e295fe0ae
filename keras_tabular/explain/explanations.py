"""All explanations of a model, in the order in which they are computed."""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Evaluate
from keras_tabular.core.errors import truncate
from keras_tabular.core.files import write_json
from keras_tabular.evaluation import plot_data
from keras_tabular.evaluation.plot_data import row_keys
from keras_tabular.evaluation.records import EXPLANATION_LOG, Evaluation
from keras_tabular.evaluation.result import Result
from keras_tabular.evaluation.scores import Predictions, score
from keras_tabular.explain import columns, slices
from keras_tabular.model.metadata import ModelMetadata
from keras_tabular.table import arrays, groups
from keras_tabular.table.parquet import read_first_rows, read_parts

if TYPE_CHECKING:
    from keras_tabular.model.saved_model import SavedModel


# of folds; and of architectures and steps, for the weights of a draw
DRAWS = 50
PICKS = 10


def training_deviation(
    members: np.ndarray,
    test: Predictions,
    metadata: ModelMetadata,
) -> dict[str, float]:
    """Estimate the standard deviation of each score between trainings with other seeds.

    The networks of a fold are like those of a fold in another training. So the folds
    are drawn with replacement, one less than there are. The mean of their predictions
    then varies as much as between trainings: Rao and Wu, "Resampling inference with
    complex survey data" (1988). The ensemble weights differ between trainings, too.
    With ten seeds for each of three tables, they varied as much as the weights of 5 to
    13 random picks.

    Args:
        members: Predictions for the first test rows, as `ExactModel.predict_members`
            returns them.
        test: Predictions of the model for the test rows.
        metadata: How the predictions of the networks are combined.

    Returns:
        The standard deviation by metric; empty if the model was trained without folds.
    """
    if metadata.ensemble is None:
        return {}
    rows = test.select(slice(len(members)))._replace(custom_metrics=())
    means, weights = metadata.ensemble.fold_means(members, test.task.n_outputs)
    rng = np.random.default_rng(0)
    n_folds = means.shape[1]
    scores = []
    for _ in range(DRAWS):
        picks = rng.multinomial(PICKS, weights)
        counts = rng.multinomial(n_folds - 1, np.full(n_folds, 1 / n_folds))
        y_pred = np.average(
            np.average(means, axis=0, weights=picks),
            axis=0,
            weights=counts,
        )
        scores.append(score(rows._replace(y_pred=y_pred)))
    keys = set.intersection(*map(set, scores))
    return {
        key: float(np.std([values[key] for values in scores])) for key in sorted(keys)
    }


# Limit the memory of slices, effects and pictures of columns.
MAX_INSPECTED_ROWS = 200_000
MAX_INSPECTED_CELLS = 20_000_000
STRICT = (  # if this environment variable is set, no explanation may fail
    "TABULAR_STRICT"
)
FILES = (
    "slices",
    "effects",
    "columns",
    "errors",
)  # in `metrics`; {} if an explanation fails


def explain(
    model: "SavedModel",
    data: Path,
    metrics: Path,
    result: Result,
    schema: Schema,
    params: Evaluate,
) -> Evaluation:
    """Explain where the errors are larger, what drives predictions, and how the columns differ.

    The result is the evaluation with what the explanations add to it, and with those
    that failed.

    Args:
        data, metrics: Folder with `split`, and folder for the files and plots.
        result: The evaluation, and the predictions by row set.
    """
    test = result.predictions["test"]
    metadata = model.metadata
    evaluation = result.evaluation
    split = data / "split"
    work = model.multiply_adds
    max_rows = min(MAX_INSPECTED_CELLS // len(schema.columns), MAX_INSPECTED_ROWS)
    train, held_out = (
        read_first_rows(split / name, max_rows) for name in ("train", "test")
    )
    tables = {"cross_validation": train, "test": held_out}
    contents: dict[str, Any] = {name: {} for name in FILES}
    failures = dict[str, str]()
    increases = columns.Increases()
    plots = plot_data.Plots()
    EXPLANATION_LOG.unlink(missing_ok=True)
    with log_failure("training", failures):
        rows = arrays.feature_arrays(held_out[: columns.MAX_ROWS], schema)
        deviation = training_deviation(model.predict_members(rows), test, metadata)
        evaluation = evaluation.model_copy(update={"training_deviation": deviation})
    with log_failure("importance", failures):
        part = next(read_parts(split / "test"))
        increases = columns.permutation_importance(
            model.predict,
            part,
            test.y,
            schema,
            work,
        )
    by_importance = sorted(
        schema.features,
        key=lambda name: -np.mean(increases.get(name, -np.inf)),
    )
    with log_failure("effects", failures):
        predict = model.predict_members
        contents["effects"] = columns.column_effects(
            predict,
            held_out,
            schema,
            by_importance,
            work,
        )
    with log_failure("columns", failures):
        limit = metadata.drift_params.distance
        group_size = groups.mean_group_size(test.group)
        differences = columns.describe_columns(
            train,
            held_out,
            schema,
            limit,
            group_size,
        )
        contents["columns"] = differences
    with log_failure("slices", failures):
        declared = slices.declared_scores(test, split / "test", schema, params.slices)
        evaluation = evaluation.model_copy(
            update={"scores": (*evaluation.scores, *declared)},
        )
        contents["slices"] = slices.slice_scores(tables, result, schema, params.slices)
    with log_failure("errors", failures):
        contents["errors"] = slices.largest_errors(split / "test", test, schema)
    with log_failure("plots", failures):
        plots = plot_data.compute_plots(test, increases)
    keys = row_keys(split / "test", schema, metadata.ignore)
    plot_data.write_plots(metrics / "plots", plots, test, keys)
    for name, content in contents.items():
        write_json(metrics / f"{name}.json", content)
    attribution = metadata.trained_on.attribution if metadata.trained_on else {}
    outside = columns.outside_training(contents["columns"], attribution)
    update = {"outside_training": outside, "failed_explanations": failures}
    return evaluation.model_copy(update=update)


@contextmanager
def log_failure(name: str, failures: dict[str, str]) -> Iterator[None]:
    """Catch the error of an explanation: log its traceback, and add its first line to `failures`.

    Args:
        name: Name of the explanation.
        failures: First line of each error, by the name of the explanation.
    """
    try:
        yield
    except Exception as error:
        if os.environ.get(STRICT):
            raise
        with EXPLANATION_LOG.open("a", encoding="utf-8") as log:
            log.write(f"{name}: {traceback.format_exc()}\n")
        failures[name] = truncate(f"{type(error).__name__}: {error}".partition("\n")[0])
