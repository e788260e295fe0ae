"""Fit the baselines, and score labelled files."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from keras_tabular.config.params import Params
from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Validate
from keras_tabular.core.errors import UserError
from keras_tabular.evaluation import result
from keras_tabular.evaluation.records import TEST_FILE, Evaluation, Score
from keras_tabular.evaluation.scores import BaselineParams, Baselines, FittedBaselines
from keras_tabular.evaluation.uncertainty import score_and_resample
from keras_tabular.table.checks import declared_checks
from keras_tabular.table.out_of_fold import OutOfFold
from keras_tabular.table.parquet import write_part
from keras_tabular.table.rows import map_checked_rows, raise_failures
from keras_tabular.table.source import check_columns, read_rows, row_locator
from keras_tabular.tasks.metrics import CustomMetric

if TYPE_CHECKING:  # TensorFlow starts after the parameters are checked
    from keras_tabular.model.saved_model import SavedModel


def fit_baselines(
    data: Path,
    schema: Schema,
    loss: str,
    tests: Path | None = None,
    chosen: BaselineParams | None = None,
) -> FittedBaselines:
    """Fit the baselines, and predict the test rows and the training rows of the folds.

    Args:
        data: Folder with `split` and `oof`.
        loss: The loss that the model was trained with.
        tests: Folder of the test rows; by default the one in `data/split`. Then, the
            folds are predicted only to choose the parameters for the test rows.
        chosen: The parameters for the test rows, if they are known.
    """
    from keras_tabular.evaluation.baselines import predict_baselines  # takes a second

    folds = {}
    if chosen is None:
        oof = OutOfFold.read(data / "oof").by_row_set
        folds = {name: predictions.fold for name, predictions in oof.items()}
        if tests:
            folds = dict([folds.popitem()])
    return predict_baselines(data / "split", folds, schema, loss, tests, chosen)


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


def score_file(
    file: Path,
    model: "SavedModel",
    schema: Schema,
    policies: Validate,
    split: Path | None,
    thresholds: dict[str, float],
    metrics: Sequence[CustomMetric] = (),
    chosen: BaselineParams | None = None,
) -> LabelledFile:
    """Score the model and its baselines on a file, and count the training rows in it.

    Args:
        policies: The section `validate` of params.yaml.
        split: Folder of the split, from which the baselines learn; None for no
            baselines.
        thresholds: Thresholds of the baselines, if they differ from that of the model.
        metrics: Metrics of the project.
        chosen: The parameters of the baselines, if they are known.

    Raises:
        UserError: The rows are not valid, see `write_valid_rows`.
    """
    metadata = model.metadata
    training_rows = 0
    baselines = Baselines()
    with TemporaryDirectory() as name:
        folder = Path(name)
        failures = write_valid_rows(file, schema, policies, folder)
        predictions = result.predict_table(model.predict, folder, schema, metadata)
        if split:
            _, hashes = result.hash_rows(folder, schema)
            _, learnt = result.hash_rows(split / "train", schema)
            training_rows = int(np.isin(hashes, learnt).sum())
            baselines = fit_baselines(
                split.parent,
                schema,
                metadata.loss,
                folder,
                chosen,
            ).predictions
    scored = score_and_resample(predictions._replace(custom_metrics=metrics))
    main_metrics = result.choose_main_metrics(predictions, scored, metadata)
    scores = result.compare_with_baselines(
        scored,
        baselines,
        dict.fromkeys(baselines, metadata.decision) | thresholds,
        main_metrics,
    )
    rows = len(predictions.y)
    warnings = [f"{failure}: {count} rows" for failure, count in failures.items()]
    if training_rows:
        warnings.append(
            f"{training_rows:,} of {rows:,} rows are training rows, so the scores are"
            " too optimistic, often most of all those of gradient boosting",
        )
    if not scored.intervals():
        warnings.append(f"{rows} rows are too few for intervals")
    return LabelledFile(main_metrics, scores, rows, training_rows, warnings)


def add_test_files(
    evaluated: result.Result,
    model: "SavedModel",
    data: Path,
    schema: Schema,
    params: Params,
    metrics: Sequence[CustomMetric],
) -> tuple[Evaluation, dict[str, LabelledFile]]:
    """Score the files that `evaluate.tests` names, and add the scores to an evaluation.

    Args:
        evaluated: Result for the test rows.
        data: Folder with `split` and `tests`.
        params: The sections `evaluate` and `validate`.
        metrics: Metrics of the project.

    Returns:
        The evaluation, and the scores by the name of the file without its ending.

    Raises:
        UserError: A file is missing, or see `score_file`.
    """
    files = {}
    evaluation = evaluated.evaluation
    scores = [*evaluation.scores]
    for file_name in params.evaluate.tests:
        path = data / "tests" / file_name
        if not path.exists():
            raise UserError(
                f"{path} does not exist, but evaluate.tests in params.yaml lists it",
            )
        name = file_name.partition(".")[0]
        file = score_file(
            path,
            model,
            schema,
            params.validate,
            data / "split",
            evaluation.baseline_thresholds,
            metrics,
            evaluated.baselines.chosen,
        )
        files[name] = file
        row_set = {"row_set": TEST_FILE + name}
        scores += [score.model_copy(update=row_set) for score in file.scores]
    training_rows = {name: file.training_rows for name, file in files.items()}
    update = {"scores": tuple(scores), "training_rows": training_rows}
    return evaluation.model_copy(update=update), files


def write_valid_rows(
    file: Path,
    schema: Schema,
    policies: Validate,
    folder: Path,
) -> Counter[str]:
    """Check the rows of a file, and write those that are not dropped as a table.

    The features, the target, the weight and, if the file has them, the group and the
    time are checked for their kind, missing values, ranges and values.

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
    required = [*schema.features, schema.target]
    if schema.weight:
        required.append(schema.weight)
    wanted = {*required, schema.group, schema.time}
    available = check_columns(file, schema, required)
    columns = {
        name: column
        for name, column in schema.columns.items()
        if name in wanted and name in available
    }
    checks = declared_checks(schema, policies)
    locate = row_locator([file], schema)
    counts = Counter[str]()
    n_rows = 0
    n_valid = 0
    raw_rows = read_rows(file, schema, list(columns))
    batches = map_checked_rows(lambda batch: batch, raw_rows, columns, checks)
    for number, batch in enumerate(batches):
        rows = batch.features
        errors = [each for each in batch.failures if each.policy == "error"]
        raise_failures(errors, n_rows, locate)
        is_valid = np.ones(len(rows), bool)
        for failure in batch.failures:
            counts[f"{failure.column}: {failure.check}: {failure.policy}"] += 1
            if failure.policy == "drop":
                is_valid[failure.row] = False
        write_part(folder, number, rows.filter(pa.array(is_valid)))
        n_rows += len(rows)
        n_valid += int(is_valid.sum())
    if not n_valid:
        raise UserError(f"{file}: expected at least one valid row, got none")
    return counts
