"""Compute the explanations of a model, and leave out those that fail."""

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from keras_tabular.config.params import Params
from keras_tabular.config.schema import Schema
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


class Explanations:
    """Explanations of a model that are computed one by one.

    Attributes:
        failures: The error of each explanation that failed, by its name.
    """

    def __init__(self, metrics: Path) -> None:
        self.failures: dict[str, str] = {}
        self._metrics = metrics
        EXPLANATION_LOG.unlink(missing_ok=True)

    def compute(self, name: str, function: Callable[[], Value], default: Value) -> Value:
        """Return what a function computes; if it fails, log the traceback, and return `default`."""
        try:
            return function()
        except Exception as error:
            if os.environ.get(STRICT):
                raise
            with EXPLANATION_LOG.open("a", encoding="utf-8") as log:
                log.write(f"{name}: {traceback.format_exc()}\n")
            first_line = f"{type(error).__name__}: {error}".partition("\n")[0]
            self.failures[name] = truncate(first_line)
            return default

    def write(self, name: str, function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Write what a function computes to the JSON file of a name; if it fails, write {}."""
        path = self._metrics / f"{name}.json"
        write_json(path, {})

        def compute_and_write() -> dict[str, Any]:
            content = function()
            write_json(path, content)
            return content

        return self.compute(name, compute_and_write, dict[str, Any]())


def explain(
    model: "SavedModel", data: Path, metrics: Path, result: Result, schema: Schema, params: Params
) -> Evaluation:
    """Explain where the model is weak, what drives its predictions, and how the columns differ.

    Args:
        data: Folder with `split`.
        metrics: Folder for the files slices, effects, columns and errors, and for the plots.
        result: The evaluation, and the predictions by row set.
        params: The section `evaluate` of params.yaml.

    Returns:
        The evaluation with the groups, the declared slices, the columns with test rows outside of
        the training values, and the explanations that failed.
    """
    explanations, test, metadata = Explanations(metrics), result.predictions["test"], model.metadata
    split = data / "split"
    increases, differences = _explain_columns(explanations, model, split, result, schema, params)
    explanations.write("errors", lambda: slices.largest_errors(split / "test", test, schema))
    evaluation = explanations.compute(
        "groups",
        lambda: subgroups.add_subgroups(result, data, schema, params.evaluate, metadata),
        result.evaluation,
    )
    costs = metadata.threshold_choice.cost if metadata.threshold_choice else None
    plots = explanations.compute(
        "plots",
        lambda: plot_data.compute_plots(test, increases, schema, costs),
        plot_data.Plots(),
    )
    plot_data.write_plots(metrics / "plots", plots, test, schema)
    outside = columns.outside_training(differences, metadata.attribution)
    update = {"outside_training": outside, "failed_explanations": explanations.failures}
    return evaluation.model_copy(update=update)


def _explain_columns(
    explanations: Explanations,
    model: "SavedModel",
    split: Path,
    result: Result,
    schema: Schema,
    params: Params,
) -> tuple[importance.Increases, dict[str, Any]]:
    """Write the explanations that the importance of the columns orders.

    Returns:
        The importance of the columns, and the result of `describe_columns`.
    """
    predictions, keys = result.predictions, result.evaluation.primary_metrics
    test, work = predictions["test"], model.multiply_adds
    first_part = next(read_parts(split / "test"))
    increases = explanations.compute(
        "importance",
        lambda: importance.permutation_importance(model.predict, first_part, test.y, schema, work),
        importance.Increases(),
    )
    order = importance.sort_by_importance(increases, schema)
    max_rows = min(MAX_INSPECTED_CELLS // len(schema.columns), MAX_INSPECTED_ROWS)
    train, held_out = (read_first_rows(split / name, max_rows) for name in ("train", "test"))
    tables = {"cross_validation": train, "test": held_out}
    tables = {k: rows[: len(predictions[k].y)] for k, rows in tables.items() if k in predictions}
    declared, group_size = params.evaluate.slices, mean_group_size(test.group)
    explanations.write(
        "slices", lambda: slices.slice_scores(tables, predictions, schema, keys, order, declared)
    )
    explanations.write(
        "effects",
        lambda: effects.column_effects(model.predict_members, held_out, schema, order, work),
    )
    differences = explanations.write(
        "columns", lambda: columns.describe_columns(train, held_out, schema, group_size)
    )
    return increases, differences
