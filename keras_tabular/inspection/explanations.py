"""Compute the explanations of a model, and leave out those that fail."""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Evaluate
from keras_tabular.core.errors import truncate
from keras_tabular.core.files import write_json
from keras_tabular.evaluation import plot_data
from keras_tabular.evaluation.plot_data import row_keys
from keras_tabular.evaluation.result import Result
from keras_tabular.inspection import columns, effects, importance, members, slices
from keras_tabular.scoring.evaluation import EXPLANATION_LOG, Evaluation
from keras_tabular.table.arrays import feature_arrays
from keras_tabular.table.groups import mean_group_size
from keras_tabular.table.parquet import read_first_rows, read_parts

if TYPE_CHECKING:  # TensorFlow starts after the parameters are checked
    from keras_tabular.model_file.saved_model import SavedModel

# Limit the memory of slices, effects and pictures of columns.
MAX_INSPECTED_ROWS, MAX_INSPECTED_CELLS = 200_000, 20_000_000
STRICT = "TABULAR_STRICT"  # if this environment variable is set, no explanation may fail
FILES = ("slices", "effects", "columns", "errors")  # in `metrics`; {} if an explanation fails


def explain(
    model: "SavedModel", data: Path, metrics: Path, result: Result, schema: Schema, params: Evaluate
) -> Evaluation:
    """Explain where the errors are larger, what drives predictions, and how the columns differ.

    The result is the evaluation with what the explanations add to it, and with those that failed.

    Args:
        data, metrics: Folder with `split`, and folder for the files and plots.
        result: The evaluation, and the predictions by row set.
    """
    test, metadata = result.predictions["test"], model.metadata
    evaluation, split, work = result.evaluation, data / "split", model.multiply_adds
    failures, increases, differences = dict[str, str](), importance.Increases(), dict[str, Any]()
    plots = plot_data.Plots()
    files = {name: metrics / f"{name}.json" for name in FILES}
    for file in files.values():
        write_json(file, {})
    EXPLANATION_LOG.unlink(missing_ok=True)
    with log_failure("importance", failures):
        rows = next(read_parts(split / "test"))
        increases = importance.permutation_importance(model.predict, rows, test.y, schema, work)
    order = importance.sort_by_importance(increases, schema)
    max_rows = min(MAX_INSPECTED_CELLS // len(schema.columns), MAX_INSPECTED_ROWS)
    train, held_out = (read_first_rows(split / name, max_rows) for name in ("train", "test"))
    tables = {"cross_validation": train, "test": held_out}
    with log_failure("slices", failures):
        declared = slices.declared_scores(test, split / "test", schema, params.slices)
        evaluation = evaluation.model_copy(update={"scores": (*evaluation.scores, *declared)})
        write_json(files["slices"], slices.slice_scores(tables, result, schema, params.slices))
    with log_failure("effects", failures):
        predict = model.predict_members
        write_json(files["effects"], effects.column_effects(predict, held_out, schema, order, work))
    with log_failure("columns", failures):
        limit, group_size = metadata.drift_params.distance, mean_group_size(test.group)
        differences = columns.describe_columns(train, held_out, schema, limit, group_size)
        write_json(files["columns"], differences)
    with log_failure("errors", failures):
        write_json(files["errors"], slices.largest_errors(split / "test", test, schema))
    with log_failure("training", failures):
        rows = feature_arrays(held_out[: effects.MAX_ROWS], schema)
        deviation = members.training_deviation(model.predict_members(rows), test, metadata)
        evaluation = evaluation.model_copy(update={"training_deviation": deviation})
    with log_failure("plots", failures):
        plots = plot_data.compute_plots(test, increases)
    plot_data.write_plots(metrics / "plots", plots, test, row_keys(split / "test", schema))
    outside = columns.outside_training(differences, metadata.attribution)
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
