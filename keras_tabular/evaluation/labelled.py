"""Labelled rows, read and checked as those of the table are."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from keras_tabular.config.params import Params
from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Validate
from keras_tabular.core.errors import UserError, format_list
from keras_tabular.core.metrics import CustomMetric
from keras_tabular.evaluation.equal_rows import hash_rows
from keras_tabular.evaluation.evaluation import ScoreSet
from keras_tabular.evaluation.result import (
    Result,
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
    """Scores for the rows of a labelled file, and warnings about these rows."""

    primary_metrics: tuple[str, ...]
    scores: ScoreSet
    warnings: list[str]


def check_test_files(names: Iterable[str], folder: Path) -> None:
    """Raise `UserError` if a file that `evaluate.tests` names does not exist."""
    for name in names:
        if not (folder / name).is_file():
            existing = format_list(sorted(p.name for p in folder.glob("[!.]*"))) or "nothing"
            raise UserError(f"evaluate.tests: found {name!r}; {folder} has {existing}")


def score_test_files(
    data: Path, model: "SavedModel", schema: Schema, params: Params, result: Result
) -> dict[str, LabelledFile]:
    """Score each file that `evaluate.tests` names; see `score_file`.

    Args:
        data: Folder of `split` and `tests`.
        result: The evaluation on the test rows, whose metrics count, and whose thresholds the
            baselines take.
    """
    thresholds = result.evaluation.baseline_thresholds
    options = params.validate, data / "split", thresholds, result.predictions["test"].custom_metrics
    return {
        name: score_file(data / "tests" / name, model, schema, *options)
        for name in params.evaluate.tests
    }


def score_file(
    file: Path,
    model: "SavedModel",
    schema: Schema,
    policies: Validate,
    split: Path | None,
    thresholds: dict[str, float],
    metrics: Sequence[CustomMetric] = (),
) -> LabelledFile:
    """Score the rows of a file, and count those that are training rows.

    Args:
        split: Folder of the split, whose training rows the baselines learn from; None for no
            baselines.
        thresholds: Thresholds of the baselines that have another one than the model.
        metrics: Metrics of the project.

    Raises:
        UserError: No row has a weight above 0; see also `write_labelled`.
    """
    training_rows, fitted = 0, Baselines()
    with TemporaryDirectory() as name:
        folder = Path(name)
        failures = write_labelled(file, schema, policies, folder)
        predictions = predict_table(model.predict, folder, schema, model.metadata.threshold)
        if not predictions.weight.any():
            raise UserError(f"column {schema.weight}: every row has a weight of 0")
        if split:
            from keras_tabular.evaluation.baselines import predict_baselines  # takes a second

            hashes, _ = hash_rows(folder, schema)
            training_rows = int(np.isin(hashes, hash_rows(split / "train", schema)[0]).sum())
            fitted = predict_baselines(split, {}, schema, model.metadata.loss, folder)
            thresholds = baseline_thresholds(fitted, {}, model.metadata, schema) | thresholds
    scored = score_and_resample(predictions._replace(custom_metrics=metrics), schema)
    primary_metrics = choose_primary_metrics(predictions, scored, schema)
    scores = compare_with_baselines(scored, fitted, thresholds, primary_metrics, schema)
    warnings = [f"{failure}: {count} rows" for failure, count in failures.items()]
    rows = scores.model.rows
    if training_rows:
        share = f"{training_rows:,} of {rows:,} rows are training rows"
        warnings.append(f"{share}, so these scores are too good")
    if rows < MIN_ROWS_FOR_INTERVAL:
        needed = f"intervals take {MIN_ROWS_FOR_INTERVAL} or more"
        warnings.append(f"found {rows} rows to score; {needed}")
    return LabelledFile(primary_metrics, replace(scores, training_rows=training_rows), warnings)


def write_labelled(file: Path, schema: Schema, policies: Validate, folder: Path) -> Counter[str]:
    """Write the rows of a file as parts of a table into `folder`, without those a check drops.

    Each cell of the columns that the model reads, the target, the weight and, if the file has it,
    the group is checked for kind, missing, range and values.

    Returns:
        The number of rows that each check dropped or warned of, by its description.

    Raises:
        UserError: The file is not as declared, no row is left, or a row fails a check whose policy
            is error; the message names lines.
    """
    needed = {*schema.features, schema.target, schema.weight}
    optional = {*schema.columns, *schema.ignore} - needed
    names = check_columns(file, schema, [n for n in schema.columns if n in needed], optional)
    needed |= {schema.group} & {*names}
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
        raise UserError(f"{file}: found no row to score; expected one at least")
    return counts
