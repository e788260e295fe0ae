"""All explanations of a model, of which each is left out if it fails."""

import os
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from keras_tabular.config.params import Params
from keras_tabular.config.schema import Schema
from keras_tabular.core.errors import truncate
from keras_tabular.core.files import atomic_write, write_json
from keras_tabular.evaluation import plot_data
from keras_tabular.evaluation.evaluation import EXPLANATION_LOG, Evaluation
from keras_tabular.evaluation.result import Result
from keras_tabular.inspection import columns, effects, groups, importance, slices
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

        def compute_and_write() -> dict[str, Any]:
            content = function()
            write_json(path, content)
            return content

        content = self.compute(name, compute_and_write, dict[str, Any]())
        if name in self.failures:
            write_json(path, {})
        return content


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
    explanations = Explanations(metrics)
    evaluation, predictions, split = result.evaluation, result.predictions, data / "split"
    test, work, metadata = predictions["test"], model.multiply_adds, model.metadata
    max_rows = min(MAX_INSPECTED_CELLS // len(schema.columns), MAX_INSPECTED_ROWS)
    train, held_out = (read_first_rows(split / name, max_rows) for name in ("train", "test"))
    tables = {"cross_validation": train, "test": held_out}
    tables = {k: rows[: len(predictions[k].y)] for k, rows in tables.items() if k in predictions}

    shuffled = model.predict, next(read_parts(split / "test")), test.y, schema, work
    measure = partial(importance.permutation_importance, *shuffled)
    increases = explanations.compute("importance", measure, importance.Increases())
    order = importance.sort_by_importance(increases, schema)
    scored = tables, predictions, schema, evaluation.primary_metrics, order, params.evaluate.slices
    varied = model.predict_members, held_out, schema, order, work
    compared = train, held_out, schema, mean_group_size(test.group)
    computations: dict[str, Callable[[], dict[str, Any]]] = {
        "slices": partial(slices.slice_scores, *scored),
        "effects": partial(effects.column_effects, *varied),
        "columns": partial(columns.describe_columns, *compared),
        "errors": partial(slices.largest_errors, split / "test", test, schema),
    }
    contents = {name: explanations.write(name, each) for name, each in computations.items()}
    grouped = result, data, schema, params.evaluate, metadata
    evaluation = explanations.compute("groups", partial(groups.add_groups, *grouped), evaluation)
    costs = metadata.threshold_choice.cost if metadata.threshold_choice else None
    compute_plots = partial(plot_data.compute_plots, test, increases, schema, costs)
    plots = explanations.compute("plots", compute_plots, plot_data.Plots())
    with atomic_write(metrics / "plots") as folder:
        folder.mkdir()
        plot_data.write_plots(folder, plots, test, schema)
    return replace(
        evaluation,
        outside_training=columns.outside_training(contents["columns"], metadata.attribution),
        failed_explanations=explanations.failures,
    )
