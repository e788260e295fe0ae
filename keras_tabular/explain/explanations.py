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
from keras_tabular.core import process
from keras_tabular.core.errors import truncate
from keras_tabular.core.files import write_json
from keras_tabular.evaluation import plot_data
from keras_tabular.evaluation.records import EXPLANATION_LOG, Evaluation
from keras_tabular.evaluation.result import Result
from keras_tabular.evaluation.scores import Predictions, score
from keras_tabular.explain import slices
from keras_tabular.explain.distributions import describe_columns, outside_training
from keras_tabular.explain.effects import column_effects
from keras_tabular.explain.importance import Increases, permutation_importance
from keras_tabular.model.metadata import ModelMetadata
from keras_tabular.table import arrays, groups
from keras_tabular.table.parquet import read_first_rows, read_parts

if TYPE_CHECKING:
    from keras_tabular.model.saved_model import SavedModel

# Files in `metrics`, each with {} if its explanation fails.
FILES = ("slices", "effects", "columns", "errors")
# If this environment variable is set, no explanation may fail.
STRICT = "TABULAR_STRICT"
# Rows and cells in memory for slices, effects and pictures of columns.
MAX_INSPECTED_ROWS = 200_000
MAX_INSPECTED_CELLS = 20_000_000
# Test rows that are predicted to compare trainings.
MAX_ROWS_FOR_DEVIATION = 2000
# Draws of folds, and draws of networks that give the ensemble weights of one of these.
DRAWS = 50
PICKS = 10


def explain(
    model: "SavedModel",
    data: Path,
    metrics: Path,
    result: Result,
    schema: Schema,
    params: Evaluate,
) -> Evaluation:
    """Explain where errors are larger, what drives predictions, and how columns differ.

    The result is the evaluation with the explanations, and with those that failed.

    Args:
        data, metrics: Folder with `split`, and folder for the files and plots.
        result: The evaluation, and the predictions by row set.
    """
    test_folder = data / "split/test"
    test = result.predictions["test"]
    metadata = model.metadata
    max_rows = min(MAX_INSPECTED_CELLS // len(schema.columns), MAX_INSPECTED_ROWS)
    train = read_first_rows(data / "split/train", max_rows)
    test_rows = read_first_rows(test_folder, max_rows)
    failures = dict[str, str]()
    update: dict[str, Any] = {"failed_explanations": failures}
    contents: dict[str, Any] = {name: {} for name in FILES}
    increases = Increases()
    plots = plot_data.Plots()
    EXPLANATION_LOG.unlink(missing_ok=True)
    with log_failure("training", failures):
        first_rows = test_rows[:MAX_ROWS_FOR_DEVIATION]
        members = model.predict_members(arrays.feature_arrays(first_rows, schema))
        update["training_deviation"] = training_deviation(members, test, metadata)
    with log_failure("importance", failures):
        increases = permutation_importance(
            model.predict,
            next(read_parts(test_folder)),
            test.y,
            schema,
            model.multiply_adds,
        )
    with log_failure("effects", failures):
        contents["effects"] = column_effects(
            model.predict_members,
            test_rows,
            schema,
            columns_by_importance(schema, increases),
            model.multiply_adds,
        )
    with log_failure("columns", failures):
        group = test.group if schema.group or not schema.time else None  # no blocks
        columns = describe_columns(
            train,
            test_rows,
            schema,
            limit=metadata.drift_params.distance,
            group_size=groups.mean_group_size(group),
        )
        contents["columns"] = columns
        attribution = metadata.trained_on.attribution if metadata.trained_on else {}
        update["outside_training"] = outside_training(columns, attribution)
    with log_failure("slices", failures):
        declared = slices.declared_scores(test, test_folder, schema, params.slices)
        update["scores"] = (*result.evaluation.scores, *declared)
        tables = {"cross_validation": train, "test": test_rows}
        contents["slices"] = slices.slice_scores(tables, result, schema, params.slices)
    with log_failure("errors", failures):
        contents["errors"] = slices.largest_errors(test_folder, test, schema)
    with log_failure("plots", failures):
        plots = plot_data.compute_plots(test, increases)
    keys = plot_data.row_keys(test_folder, schema, metadata.ignore)
    plot_data.write_plots(metrics / "plots", plots, test, keys)
    for name, content in contents.items():
        write_json(metrics / f"{name}.json", content)
    return result.evaluation.model_copy(update=update)


def columns_by_importance(schema: Schema, increases: Increases) -> list[str]:
    """Sort the features by importance; those that are not measured come last."""
    importance = {name: values.mean() for name, values in increases.items()}
    return sorted(
        schema.features,
        key=lambda name: importance.get(name, -np.inf),
        reverse=True,
    )


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
    # (architectures and numbers of steps, folds, rows, outputs)
    means, weights = metadata.ensemble.fold_means(members, test.task.n_outputs)
    n_folds = means.shape[1]
    equal_shares = np.full(n_folds, 1 / n_folds)
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(DRAWS):
        picks = rng.multinomial(PICKS, weights)
        counts = rng.multinomial(n_folds - 1, equal_shares)
        fold_predictions = np.average(means, axis=0, weights=picks)
        y_pred = np.average(fold_predictions, axis=0, weights=counts)
        scores.append(score(rows._replace(y_pred=y_pred)))
    return {
        key: float(np.std([values[key] for values in scores]))
        for key in sorted(scores[0])
        if all(key in values for values in scores)
    }


@contextmanager
def log_failure(name: str, failures: dict[str, str]) -> Iterator[None]:
    """Catch the error of an explanation, and log its traceback.

    An error that another run may not have, such as a lack of memory or a full disk, is
    not caught: DVC would keep the results without the explanation.

    Args:
        name: Name of the explanation.
        failures: First line of each error, by the name of the explanation. The error is
            added to them.
    """
    try:
        yield
    except Exception as error:
        if os.environ.get(STRICT) or process.explanation(error):
            raise
        with EXPLANATION_LOG.open("a", encoding="utf-8") as log:
            log.write(f"{name}: {traceback.format_exc()}\n")
        first_line = f"{type(error).__name__}: {error}".partition("\n")[0]
        failures[name] = truncate(first_line)
