"""Scores of a labelled file."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from keras_tabular.config.metrics import CustomMetric
from keras_tabular.config.params import Params
from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Validate
from keras_tabular.core.errors import UserError
from keras_tabular.evaluation import result
from keras_tabular.evaluation.records import TEST_FILE, Evaluation, Score
from keras_tabular.evaluation.scores import Baselines
from keras_tabular.evaluation.uncertainty import (
    MIN_ROWS_FOR_INTERVAL,
    score_and_resample,
)
from keras_tabular.table.checks import declared_checks
from keras_tabular.table.parquet import write_part
from keras_tabular.table.rows import map_checked_rows, raise_failures
from keras_tabular.table.source import check_columns, read_rows, row_locator

if TYPE_CHECKING:  # TensorFlow starts after the parameters are checked
    from keras_tabular.model.saved_model import SavedModel


class LabelledFile(NamedTuple):
    """Scores for the rows of a file, and warnings about these rows.

    Attributes:
        training_rows: Number of rows that the model was trained on.
    """

    main_metrics: tuple[str, ...]
    scores: list[Score]
    rows: int
    training_rows: int
    warnings: list[str]


FLATTERED = (
    "so the scores are too optimistic, often most of all those of gradient boosting"
)


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
        split: Folder of the split, from which the baselines learn; None for no
            baselines.
        thresholds: Thresholds of the baselines; those that are missing are chosen.
        metrics: Metrics of the project.

    Raises:
        UserError: The file is missing, or the rows are not valid, see
            `write_valid_rows`.
    """
    if not file.exists():
        raise UserError(
            f"{file} does not exist, but evaluate.tests in params.yaml lists it",
        )
    training_rows = 0
    baselines = Baselines()
    with TemporaryDirectory() as name:
        folder = Path(name)
        failures = write_valid_rows(file, schema, policies, folder)
        predictions = result.predict_table(
            model.predict,
            folder,
            schema,
            model.metadata,
        )
        if split:
            from keras_tabular.evaluation.baselines import (
                predict_baselines,
            )  # takes a second

            tables = folder, split / "train"
            hashes, learnt = (
                result.row_and_feature_hashes(each, schema)[0] for each in tables
            )
            training_rows = int(np.isin(hashes, learnt).sum())
            baselines = predict_baselines(
                split,
                {},
                schema,
                model.metadata.loss,
                folder,
            )
            chosen = result.baseline_thresholds(
                baselines,
                {},
                {},
                model.metadata,
                predictions.task,
            )
            thresholds = chosen["test"] | thresholds
    scored = score_and_resample(predictions._replace(custom_metrics=metrics))
    primary = result.choose_main_metrics(predictions, scored, model.metadata)
    scores = result.compare_with_baselines(scored, baselines, thresholds, primary)
    rows = len(predictions.y)
    warnings = [f"{failure}: {count} rows" for failure, count in failures.items()]
    if training_rows:
        counts = f"{training_rows:,} of {rows:,} rows are training rows"
        warnings.append(f"{counts}, {FLATTERED}")
    if rows < MIN_ROWS_FOR_INTERVAL:
        warnings.append(
            f"intervals need {MIN_ROWS_FOR_INTERVAL} rows or more, got {rows}",
        )
    return LabelledFile(primary, scores, rows, training_rows, warnings)


def score_test_files(
    model: "SavedModel",
    data: Path,
    schema: Schema,
    params: Params,
    evaluation: Evaluation,
    metrics: Sequence[CustomMetric],
) -> dict[str, LabelledFile]:
    """Score the files that `evaluate.tests` in params.yaml names, by their name without ending.

    Args:
        data: Folder with `split` and `tests`.
        params: The sections `evaluate` and `validate`.
        evaluation: Evaluation of the model on the test rows.
        metrics: Metrics of the project.

    Raises:
        UserError: See `score_file`.
    """
    thresholds = evaluation.baseline_thresholds
    options = (model, schema, params.validate, data / "split", thresholds, metrics)
    files = params.evaluate.tests
    return {
        file.partition(".")[0]: score_file(data / "tests" / file, *options)
        for file in files
    }


def add_test_files(
    evaluation: Evaluation,
    files: Mapping[str, LabelledFile],
) -> Evaluation:
    """Add the scores of additional test files to an evaluation."""
    scores = [
        score.model_copy(update={"row_set": TEST_FILE + name})
        for name, file in files.items()
        for score in file.scores
    ]
    training_rows = {name: file.training_rows for name, file in files.items()}
    update = {"scores": (*evaluation.scores, *scores), "training_rows": training_rows}
    return evaluation.model_copy(update=update)


def write_valid_rows(
    file: Path,
    schema: Schema,
    policies: Validate,
    folder: Path,
) -> Counter[str]:
    """Check the rows of a file, and write those that are not dropped as parts of a table.

    The features, the target, the weight and, if the file has it, the group are checked
    for their kind, missing values, ranges and values.

    Args:
        policies: The section `validate` of params.yaml.
        folder: Where to write the table.

    Returns:
        The number of rows that failed a check with the policy drop or warn, by column
        and check.

    Raises:
        UserError: A row fails a check with the policy error, the columns of the file
            are not those of the schema, or no row is left.
    """
    required = [
        *schema.features,
        schema.target,
        *([schema.weight] if schema.weight else []),
    ]
    needed = {*required, schema.group} & {*check_columns(file, schema, required)}
    columns = {
        name: column for name, column in schema.columns.items() if name in needed
    }
    checks = declared_checks(schema, policies)
    counts = Counter[str]()
    rows = 0
    valid_rows = 0
    line = row_locator([file], schema)
    raw_rows = read_rows(file, schema, list(columns))
    batches = map_checked_rows(lambda batch: batch, raw_rows, columns, checks)
    for number, (_, table, failures) in enumerate(batches):
        raise_failures([f for f in failures if f.policy == "error"], rows, line)
        counts.update(f"{f.column}: {f.check}: {f.policy}" for f in failures)
        is_valid = np.ones(len(table), bool)
        is_valid[[failure.row for failure in failures if failure.policy == "drop"]] = (
            False
        )
        write_part(folder, number, table.filter(pa.array(is_valid)))
        rows += len(table)
        valid_rows += int(is_valid.sum())
    if not valid_rows:
        raise UserError(f"{file}: expected at least one valid row, got none")
    return counts
