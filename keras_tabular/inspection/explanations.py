"""Compute the explanations of a model, and leave out those that fail."""

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Evaluate
from keras_tabular.core.errors import truncate
from keras_tabular.core.files import write_json
from keras_tabular.evaluation import plot_data
from keras_tabular.evaluation.result import Result
from keras_tabular.inspection import columns, effects, importance, slices, subgroups
from keras_tabular.scoring.evaluation import EXPLANATION_LOG, Evaluation
from keras_tabular.table.groups import mean_group_size
from keras_tabular.table.parquet import read_first_rows, read_parts

if TYPE_CHECKING:  # TensorFlow starts after the parameters are checked
    from keras_tabular.model_file.saved_model import SavedModel

# Limit the memory of slices, effects and pictures of columns.
MAX_INSPECTED_ROWS, MAX_INSPECTED_CELLS = 200_000, 20_000_000
STRICT = "TABULAR_STRICT"  # if this environment variable is set, no explanation may fail
Value = TypeVar("Value")
JSON = dict[str, Any]


class Explanations:
    """Explanations of a model that are computed one by one.

    Attributes:
        failures: The error of each explanation that failed, by its name.
    """

    def __init__(self, metrics: Path) -> None:
        self.failures: dict[str, str] = {}
        self._metrics = metrics
        EXPLANATION_LOG.unlink(missing_ok=True)

    def compute(
        self, name: str, default: Value, function: Callable[..., Value], *args: Any
    ) -> Value:
        """Return what a function computes; if it fails, log the traceback, and return `default`."""
        try:
            return function(*args)
        except Exception as error:
            if os.environ.get(STRICT):
                raise
            with EXPLANATION_LOG.open("a", encoding="utf-8") as log:
                log.write(f"{name}: {traceback.format_exc()}\n")
            first_line = f"{type(error).__name__}: {error}".partition("\n")[0]
            self.failures[name] = truncate(first_line)
            return default

    def write(self, name: str, function: Callable[..., JSON], *args: Any) -> JSON:
        """Write what a function computes to the JSON file of a name; if it fails, write {}."""
        path = self._metrics / f"{name}.json"
        write_json(path, {})

        def compute_and_write() -> JSON:
            content = function(*args)
            write_json(path, content)
            return content

        return self.compute(name, JSON(), compute_and_write)


def explain(
    model: "SavedModel", data: Path, metrics: Path, result: Result, schema: Schema, params: Evaluate
) -> Evaluation:
    """Explain where the model is weak, what drives its predictions, and how the columns differ.

    Args:
        data: Folder with `split`.
        metrics: Folder for the files slices, effects, columns and errors, and for the plots.
        result: The evaluation, and the predictions by row set.
        params: The section `evaluate` of params.yaml.

    Returns:
        The evaluation with the subgroups, the declared slices, the columns with test rows outside
        of the training values, and the explanations that failed.
    """
    explanations, predictions = Explanations(metrics), result.predictions
    test, metadata, work = predictions["test"], model.metadata, model.multiply_adds
    compute, write = explanations.compute, explanations.write
    first_rows = next(read_parts(data / "split" / "test"))
    measure, none = importance.permutation_importance, importance.Increases()
    arguments = (model.predict, first_rows, test.y, schema, work)
    increases = compute("importance", none, measure, *arguments)
    order = importance.sort_by_importance(increases, schema)

    max_rows = min(MAX_INSPECTED_CELLS // len(schema.columns), MAX_INSPECTED_ROWS)
    train, held_out = (read_first_rows(data / "split" / k, max_rows) for k in ("train", "test"))
    tables = {"cross_validation": train, "test": held_out}
    tables = {k: rows[: len(predictions[k].y)] for k, rows in tables.items() if k in predictions}
    keys, declared = result.evaluation.primary_metrics, params.slices
    write("slices", slices.slice_scores, tables, predictions, schema, keys, order, declared)
    write("effects", effects.column_effects, model.predict_members, held_out, schema, order, work)
    group_size = mean_group_size(test.group)
    differences = write("columns", columns.describe_columns, train, held_out, schema, group_size)
    write("errors", slices.largest_errors, data / "split" / "test", test, schema)
    add = subgroups.add_subgroups
    evaluation = compute(
        "subgroups", result.evaluation, add, result, data, schema, params, metadata.intervals
    )
    costs = metadata.threshold_choice.cost if metadata.threshold_choice else None
    plots = compute("plots", plot_data.Plots(), plot_data.compute_plots, test, increases, costs)
    plot_data.write_plots(metrics / "plots", plots, test)
    outside = columns.outside_training(differences, metadata.attribution)
    update = {"outside_training": outside, "failed_explanations": explanations.failures}
    return evaluation.model_copy(update=update)
