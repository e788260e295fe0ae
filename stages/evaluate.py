"""Score the model and its baselines with confidence intervals, and explain the predictions."""

import sys
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from keras_tabular.config.params import Params, load_params
from keras_tabular.config.schema import Schema, load_schema
from keras_tabular.core.files import atomic_write, write_json
from keras_tabular.core.metrics import CustomMetric, check_custom_metrics
from keras_tabular.core.parallel import run_in_background
from keras_tabular.evaluation.evaluation import summary_to_json, to_json
from keras_tabular.evaluation.plot_data import write_plot_data
from keras_tabular.evaluation.result import Result, evaluate, fit_baselines, score_file
from keras_tabular.evaluation.summary import summary_lines
from keras_tabular.inspection.columns import describe_columns, outside_training
from keras_tabular.model_file.metadata import read_metadata
from keras_tabular.table.groups import mean_group_size
from keras_tabular.table.parquet import read_first_rows, read_parts, write_part
from stages import run

if TYPE_CHECKING:  # TensorFlow starts after the parameters are checked
    from keras_tabular.model_file.saved_model import SavedModel

# Your own metrics; `keras-tabular docs own-parts` has an example.
METRICS: list[CustomMetric] = []
# Limit the memory of slices, effects and pictures of columns.
MAX_INSPECTED_ROWS, MAX_INSPECTED_CELLS = 200_000, 20_000_000


def inspect(
    model: "SavedModel", data: Path, result: Result, schema: Schema, params: Params
) -> tuple[dict[str, dict[str, Any]], dict[str, np.ndarray]]:
    """Describe where the model is weak, what drives its predictions, and how the columns differ.

    Returns:
        The content of the files slices, effects, columns and errors, by name; and the importance of
        each column.
    """
    from keras_tabular.inspection.effects import column_effects
    from keras_tabular.inspection.importance import permutation_importance, sort_by_importance
    from keras_tabular.inspection.slices import largest_errors, slice_scores

    predictions, multiply_adds = result.predictions, model.multiply_adds
    test, split = predictions["test"], data / "split"
    rows = next(read_parts(split / "test"))
    importance = permutation_importance(model.predict, rows, test.y, schema, multiply_adds)
    order = sort_by_importance(importance, schema)
    max_rows = min(MAX_INSPECTED_CELLS // len(schema.columns), MAX_INSPECTED_ROWS)
    train, held_out = (read_first_rows(split / name, max_rows) for name in ("train", "test"))
    tables = {"cross_validation": train, "test": held_out}
    tables = {k: rows[: len(predictions[k].y)] for k, rows in tables.items() if k in predictions}
    metrics, slices = result.evaluation.primary_metrics, params.evaluate.slices
    return {
        "slices": slice_scores(tables, predictions, schema, metrics, order, slices),
        "effects": column_effects(model.predict_members, held_out, schema, order, multiply_adds),
        "columns": describe_columns(train, held_out, schema, mean_group_size(test.group)),
        "errors": {"rows": largest_errors(split / "test", test, schema)},
    }, importance


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="the .keras file to score")
    parser.add_argument("data", type=Path, help="folder with split, oof and tests")
    parser.add_argument("metrics", type=Path, help="folder for scores and plot data")
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("evaluate", "validate", schema=schema)
    check_custom_metrics(METRICS)
    content = args.model.read_bytes()
    loss = read_metadata(args.model, content).loss
    baselines = run_in_background(fit_baselines, args.data, schema, loss)  # while TensorFlow starts

    from keras_tabular.inspection.groups import add_groups
    from keras_tabular.model_file.saved_model import load_model

    model = load_model(args.model, content, schema)
    print("Scoring the model and its baselines, then shuffling each column", file=sys.stderr)
    result = evaluate(model, args.data, schema, baselines, METRICS)
    tests, thresholds = args.data / "tests", result.evaluation.baseline_thresholds
    options = (model, schema, params.validate, args.data / "split", thresholds, METRICS)
    test_files = {name: score_file(tests / name, *options) for name in params.evaluate.tests}
    files, importance = inspect(model, args.data, result, schema, params)
    evaluation = replace(
        add_groups(result, args.data, schema, params.evaluate, model.metadata),
        test_files={name.partition(".")[0]: file.scores for name, file in test_files.items()},
        outside_training=outside_training(files["columns"], model.metadata.attribution),
    )
    test, choice = result.predictions["test"], model.metadata.threshold_choice
    files |= {"scores": to_json(evaluation), "metrics": summary_to_json(evaluation, schema.task)}
    for name, content in files.items():
        write_json(args.metrics / f"{name}.json", content)
    with atomic_write(args.metrics / "plots") as folder:
        folder.mkdir()
        write_plot_data(folder, test, importance, schema, choice.cost if choice else None)
    with atomic_write(args.data / "predictions") as folder:
        outputs = {f"output_{i}": column for i, column in enumerate(test.y_pred.T)}
        write_part(folder, 0, pa.table({"actual": test.y, **outputs}))
    print(*summary_lines(evaluation, test_files, schema.task, choice), sep="\n")


if __name__ == "__main__":
    run(main)
