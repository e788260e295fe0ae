"""Scores of a labelled file; its labels may come later than the rows, in a file of their own."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from keras_tabular.config.params import Params
from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Validate
from keras_tabular.core.errors import UserError, quote
from keras_tabular.evaluation import result
from keras_tabular.evaluation.equal_rows import hash_rows
from keras_tabular.scoring.evaluation import TEST_FILE, Evaluation, Score
from keras_tabular.scoring.scores import Baselines
from keras_tabular.scoring.uncertainty import MIN_ROWS_FOR_INTERVAL, score_and_resample
from keras_tabular.table.checks import declared_checks
from keras_tabular.table.parquet import write_part
from keras_tabular.table.rows import check_rows, raise_failures, text_columns
from keras_tabular.table.source import check_columns, read_rows, row_locator
from keras_tabular.tasks.metrics import CustomMetric

if TYPE_CHECKING:  # TensorFlow starts after the parameters are checked
    from keras_tabular.model_file.saved_model import SavedModel


class Labels(NamedTuple):
    """The labels of the rows of a file.

    Attributes:
        values: The target and, if the labels have them, the weight and the group.
        positions: Position in `values` of the label of each row that has one, by the row's number.
        warnings: How many rows have no label, and why.
    """

    values: pa.Table
    positions: dict[int, int]
    warnings: list[str]


def find_labels(file: Path, labels: Path, key: str, schema: Schema, policies: Validate) -> Labels:
    """Find the labels of the rows of a file by a column that both files have.

    Keys are compared as texts. A row with a missing target has no label. If several rows have the
    same key, the last one gets the label. The memory grows with the number of labels alone.

    Args:
        file: A file of rows, or the folder of a log of answers.
        labels: A file with the columns `key` and target, and any others.
        key: Name of the column.
        policies: The section `validate` of params.yaml.

    Raises:
        UserError: A column is missing, a label is not valid, a key has two labels, or no row has a
            label.
    """
    names = check_columns(labels, schema, [key, schema.target], allow_others=True)
    roles = schema.target, schema.weight, schema.group
    columns = {name: schema.columns[name] for name in names if name in roles}
    checks, line = declared_checks(schema, policies), row_locator([labels], schema)
    parts, label_rows = [], dict[str, int]()
    for raw in read_rows(labels, schema, [*{key, *columns}]):
        texts, values, failures = check_rows(raw, columns, checks)
        parts.append(values)
        unlabelled = {f.row for f in failures if (f.column, f.check) == (schema.target, "missing")}
        keys = {r: t for r, t in enumerate(texts[key].to_pylist()) if t and r not in unlabelled}
        errors = [f for f in failures if f.row in keys and f.policy != "warn"]
        raise_failures(errors, raw.first, line)
        for row, text in keys.items():
            if label_rows.setdefault(text, raw.first + row) != raw.first + row:
                problem = f"column {key}: expected one label for each key, got another for"
                raise UserError(f"{line(raw.first + row)}, {problem} {quote(text)}")

    check_columns(file, schema, [*schema.features, key])
    rows, labelled, last_rows = 0, 0, dict[str, int]()
    for raw in read_rows(file, schema, [key]):
        for row, text in enumerate(text_columns(raw, {})[key].to_pylist(), start=raw.first):
            if text in label_rows:
                labelled += 1
                last_rows[text] = row
        rows += len(raw.cells)
    if not last_rows:
        raise UserError(f"{labels}: the texts in column {key} are not those of any row of {file}")
    counts = {
        "have no label": rows - labelled,
        f"are left out, because a later row has the same {key}": labelled - len(last_rows),
    }
    warnings = [f"{count:,} of {rows:,} rows {why}" for why, count in counts.items() if count]
    positions = {row: label_rows[text] for text, row in last_rows.items()}
    return Labels(pa.concat_tables(parts), positions, warnings)


class LabelledFile(NamedTuple):
    """Scores for the rows of a file, and warnings about these rows.

    Attributes:
        training_rows: Number of rows that the model was trained on.
    """

    primary_metrics: tuple[str, ...]
    scores: list[Score]
    rows: int
    training_rows: int
    warnings: list[str]


FLATTERED = "so the scores are too optimistic, often most of all those of gradient boosting"


def score_file(
    file: Path,
    model: "SavedModel",
    schema: Schema,
    policies: Validate,
    split: Path | None,
    thresholds: dict[str, float],
    metrics: Sequence[CustomMetric] = (),
    labels: Labels | None = None,
) -> LabelledFile:
    """Score the model and its baselines on the rows of a file, and count the training rows in it.

    Args:
        policies: The section `validate` of params.yaml.
        split: Folder of the split, from which the baselines learn; None for no baselines.
        thresholds: Thresholds of the baselines; those that are missing are chosen.
        metrics: Metrics of the project.
        labels: Labels of the rows, if the file itself does not contain them.

    Raises:
        UserError: The file is missing, all weights are 0, or the rows are not valid, see
            `write_valid_rows`.
    """
    if not file.exists():
        raise UserError(f"{file} does not exist, but evaluate.tests in params.yaml lists it")
    training_rows, baselines = 0, Baselines()
    with TemporaryDirectory() as name:
        folder = Path(name)
        failures = write_valid_rows(file, schema, policies, folder, labels)
        predictions = result.predict_table(model.predict, folder, schema, model.metadata)
        if split:
            from keras_tabular.evaluation.baselines import predict_baselines  # takes a second

            hashes, _ = hash_rows(folder, schema)
            training_rows = int(np.isin(hashes, hash_rows(split / "train", schema)[0]).sum())
            baselines = predict_baselines(split, {}, schema, model.metadata.loss, folder)
            chosen = result.baseline_thresholds(baselines, {}, {}, model.metadata, predictions.task)
            thresholds = chosen["test"] | thresholds
    scored = score_and_resample(predictions._replace(custom_metrics=metrics))
    primary = result.choose_primary_metrics(predictions, scored, model.metadata, schema.weight)
    scores = result.compare_with_baselines(scored, baselines, thresholds, primary)
    rows = len(predictions.y)
    warnings = [f"{failure}: {count} rows" for failure, count in failures.items()]
    warnings += labels.warnings if labels else []
    if training_rows:
        counts = f"{training_rows:,} of {rows:,} rows are training rows"
        warnings.append(f"{counts}, {FLATTERED}")
    if rows < MIN_ROWS_FOR_INTERVAL:
        warnings.append(f"intervals need {MIN_ROWS_FOR_INTERVAL} rows or more, got {rows}")
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
    return {file.partition(".")[0]: score_file(data / "tests" / file, *options) for file in files}


def add_test_files(evaluation: Evaluation, files: Mapping[str, LabelledFile]) -> Evaluation:
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
    file: Path, schema: Schema, policies: Validate, folder: Path, labels: Labels | None = None
) -> Counter[str]:
    """Check the rows of a file, and write those that are not dropped as parts of a table.

    The features, the target, the weight and, if the file has it, the group are checked for their
    kind, missing values, ranges and values.

    Args:
        policies: The section `validate` of params.yaml.
        folder: Where to write the table.
        labels: See `score_file`. Rows without a label are left out and not checked.

    Returns:
        The number of rows that failed a check with the policy drop or warn, by column and check.

    Raises:
        UserError: A row fails a check with the policy error, the columns of the file are not those
            of the schema, or no row is left.
    """
    required = [*schema.features, schema.target, *([schema.weight] if schema.weight else [])]
    added = labels.values.column_names if labels else []
    names = check_columns(file, schema, [name for name in required if name not in added])
    needed = {*required, schema.group} & {*names} - {*added}
    columns = {name: column for name, column in schema.columns.items() if name in needed}
    checks, counts, rows = declared_checks(schema, policies), Counter[str](), 0
    line = row_locator([file], schema)
    for number, raw in enumerate(read_rows(file, schema, list(columns))):
        table, failures = check_rows(raw, columns, checks)[1:]
        is_valid = np.ones(len(table), bool)
        if labels:
            numbers = range(raw.first, raw.first + len(table))
            positions = pa.array(map(labels.positions.get, numbers), pa.int64())
            values, is_valid = labels.values.take(positions), np.array(positions.is_valid())
            table = pa.table([*table.columns, *values.columns], [*columns, *added])
            failures = [failure for failure in failures if is_valid[failure.row]]
        raise_failures([f for f in failures if f.policy == "error"], raw.first, line)
        counts.update(f"{f.column}: {f.check}: {f.policy}" for f in failures)
        is_valid[[failure.row for failure in failures if failure.policy == "drop"]] = False
        write_part(folder, number, table.filter(pa.array(is_valid)))
        rows += int(is_valid.sum())
    if not rows:
        raise UserError(f"{file}: expected at least one valid row, got none")
    return counts
