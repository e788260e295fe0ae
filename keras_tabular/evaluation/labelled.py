"""Scores for the rows of another file with labels, which is read and checked like the table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Validate
from keras_tabular.core.errors import UserError
from keras_tabular.core.metrics import CustomMetric
from keras_tabular.evaluation.equal_rows import hash_rows
from keras_tabular.evaluation.evaluation import ScoreSet
from keras_tabular.evaluation.result import (
    baseline_thresholds,
    choose_primary_metrics,
    compare_with_baselines,
    predict_table,
)
from keras_tabular.evaluation.scores import Baselines
from keras_tabular.evaluation.uncertainty import MIN_ROWS_FOR_INTERVAL, score_and_resample
from keras_tabular.table.checks import declared_checks
from keras_tabular.table.parquet import write_part
from keras_tabular.table.rows import check_rows, raise_failures
from keras_tabular.table.source import check_columns, read_rows, row_locator

if TYPE_CHECKING:  # TensorFlow starts after the parameters are checked
    from keras_tabular.model_file.saved_model import SavedModel


class LabelledFile(NamedTuple):
    """Scores for the rows of a file, and warnings about these rows."""

    primary_metrics: tuple[str, ...]
    scores: ScoreSet
    warnings: list[str]


def score_file(
    file: Path,
    model: "SavedModel",
    schema: Schema,
    policies: Validate,
    split: Path | None,
    thresholds: dict[str, float],
    metrics: Sequence[CustomMetric] = (),
) -> LabelledFile:
    """Score the model and its baselines on the rows of a file, and count the training rows in it.

    Args:
        policies: The section `validate` of params.yaml.
        split: Folder of the split, from which the baselines learn; None for no baselines.
        thresholds: Thresholds of the baselines; those that are missing are chosen.
        metrics: Metrics of the project.

    Raises:
        UserError: All weights are 0, or the rows are not valid, see `write_valid_rows`.
    """
    training_rows, baselines = 0, Baselines()
    with TemporaryDirectory() as name:
        folder = Path(name)
        failures = write_valid_rows(file, schema, policies, folder)
        predictions = predict_table(model.predict, folder, schema, model.metadata.threshold)
        if not predictions.weight.any():
            raise UserError(f"column {schema.weight}: every row has a weight of 0")
        if split:
            from keras_tabular.evaluation.baselines import predict_baselines  # takes a second

            hashes, _ = hash_rows(folder, schema)
            training_rows = int(np.isin(hashes, hash_rows(split / "train", schema)[0]).sum())
            baselines = predict_baselines(split, {}, schema, model.metadata.loss, folder)
            thresholds = baseline_thresholds(baselines, {}, model.metadata, schema) | thresholds
    scored = score_and_resample(predictions._replace(custom_metrics=metrics), schema)
    primary_metrics = choose_primary_metrics(predictions, scored, schema)
    scores = compare_with_baselines(scored, baselines, thresholds, primary_metrics, schema)
    warnings = [f"{failure}: {count} rows" for failure, count in failures.items()]
    rows = scores.model.rows
    if training_rows:
        counts = f"{training_rows:,} of {rows:,} rows are training rows"
        warnings.append(f"{counts}, so the scores are too optimistic")
    if rows < MIN_ROWS_FOR_INTERVAL:
        warnings.append(f"intervals need {MIN_ROWS_FOR_INTERVAL} rows or more, got {rows}")
    return LabelledFile(primary_metrics, replace(scores, training_rows=training_rows), warnings)


def write_valid_rows(file: Path, schema: Schema, policies: Validate, folder: Path) -> Counter[str]:
    """Check the rows of a file, and write those that are not dropped as parts of a table.

    The features, the target, the weight and, if the file has it, the group are checked for their
    kind, missing values, ranges and values.

    Args:
        policies: The section `validate` of params.yaml.
        folder: Where to write the table.

    Returns:
        The number of rows that failed a check with the policy drop or warn, by column and check.

    Raises:
        UserError: A row fails a check with the policy error, the columns of the file are not those
            of the schema, or no row is left.
    """
    required = [*schema.features, schema.target, *([schema.weight] if schema.weight else [])]
    names = check_columns(file, schema, required)
    needed = {*required, schema.group} & {*names}
    columns = {name: column for name, column in schema.columns.items() if name in needed}
    checks, counts, rows = declared_checks(schema, policies), Counter[str](), 0
    line = row_locator([file], schema)
    for number, raw in enumerate(read_rows(file, schema, list(columns))):
        table, failures = check_rows(raw, columns, checks)[1:]
        raise_failures([f for f in failures if f.policy == "error"], raw.first, line)
        counts.update(f"{f.column}: {f.check}: {f.policy}" for f in failures)
        is_valid = np.ones(len(table), bool)
        is_valid[[failure.row for failure in failures if failure.policy == "drop"]] = False
        write_part(folder, number, table.filter(pa.array(is_valid)))
        rows += int(is_valid.sum())
    if not rows:
        raise UserError(f"{file}: expected at least one valid row, got none")
    return counts
