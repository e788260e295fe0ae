"""Score the present parameters on other splits: how much of a score is luck?"""

import math
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from statistics import mean, stdev
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.parquet import read_table

from keras_tabular.config.params import Params, load_settings
from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Train
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import write_json
from keras_tabular.core.typed_yaml import Section
from keras_tabular.evaluation.calibration import calibrate
from keras_tabular.evaluation.records import MODEL, Evaluation, format_number
from keras_tabular.evaluation.summary import metric_label
from keras_tabular.table.parquet import part_paths, read_parts, write_part
from keras_tabular.table.splits import assign_rows, find_duplicates, write_subsets
from keras_tabular.tasks.task import Task

VALIDATED = Path("data/validated")


class ModelRepeats(Section):
    """A measure of the model or of a baseline on the test rows of all repeats.

    Attributes:
        values: The value of each repeat.
        present: The value of the present run, which is not one of the repeats.
    """

    values: tuple[float, ...]
    present: float


class MeasureRepeats(Section):
    """A measure on all repeats.

    Attributes:
        label: Name of the measure for readers.
        models: The model and the baselines for which the measure is defined, by name.
        conclusion: What the repeats say about the model, the best baseline and the
            present run.
    """

    label: str
    models: dict[str, ModelRepeats]
    conclusion: str


def run_repeat(
    folder: Path,
    time: str | None,
    total: int,
    number: int,
) -> Evaluation:
    """Split, train, calibrate and evaluate with other seeds, unless that is done.

    Args:
        folder: Folder of the scores.
        time: Column of the times, of a split by time.
        total: Number of repeats.
        number: Number of this repeat, which is added to the seeds. Number 0 is the
            present run.
    """
    scores = folder / f"{number}.json"
    work = folder / str(number)
    shutil.rmtree(work, ignore_errors=True)  # a killed repeat has left it
    if not scores.is_file():
        sections = ("drift", "evaluate", "ingest", "split", "train", "validate")
        schema, params = load_settings(*sections)
        split_seed = (params.split.seed + number) % 2**32
        changes: dict[str, float] = {"seed": split_seed}
        rows = VALIDATED
        if time and number:
            rows = work / "rows"
            changes["test_size"] = write_period(rows, time, total, number)
        split = params.split.model_copy(update=changes)
        duplicates, _ = find_duplicates(rows, split, schema)
        assignment = assign_rows(rows, split, schema, duplicates)
        write_subsets(rows, assignment, params.ingest.rows_per_file, work / "split")
        train_seed = (params.train.seed + number) % 2**32
        train = params.train.with_values({"seed": train_seed})
        evaluation = train_and_evaluate(work, schema, params, train)
        write_json(scores, evaluation.model_dump(exclude_defaults=True))
        shutil.rmtree(work)
    return Evaluation.model_validate_json(scores.read_text("utf-8"))


def train_and_calibrate(
    folder: Path,
    schema: Schema,
    params: Params,
    build: Any,
    show_progress: bool,
) -> np.ndarray:
    """Do what the stages `train` and `calibrate` do, for one of the estimators.

    Args:
        folder: Folder with the training rows in `train`, which gets `model.keras`.
        params: The sections of the stages.
        build: Builds the layers of a network, or is the name of a function that does.
        show_progress: Whether to show the progress on stderr.

    Returns:
        Predictions for the training rows by networks that have not learnt them,
        float32, shape (rows, outputs); without rows if there are no folds.
    """
    from keras_tabular.training.ensemble import write_model
    from keras_tabular.training.train import train_model

    if isinstance(build, str):
        build = resolve_name(build)
    rows = folder / "train"
    trained = train_model(
        [rows],
        schema,
        params.train,
        build,
        folder,
        show_progress=show_progress,
    )
    out_of_fold = trained.out_of_fold
    metadata = calibrate(trained.record, out_of_fold, rows, schema, params)
    write_model(trained.model.plain, folder / "model.keras", metadata)
    return out_of_fold.unseen.all_rows


def train_and_evaluate(
    data: Path,
    schema: Schema,
    params: Params,
    train: Train,
) -> Evaluation:
    """Do what the stages `train`, `calibrate` and `evaluate` do, without explanations.

    Args:
        data: Folder with the folder `split`.
        params: The sections of the stages.
        train: The parameters of the training.
    """
    from keras_tabular.evaluation.labelled_file import fit_baselines
    from keras_tabular.evaluation.result import evaluate
    from keras_tabular.model.saved_model import SavedModel
    from keras_tabular.training.train import train_model

    sys.path.insert(0, str(Path.cwd()))  # where `keras-tabular` does not look
    from custom import METRICS
    from network import build

    tables = [data / "split" / name for name in ("train", "validation")]
    trained = train_model(tables, schema, train, build, scratch=data)
    trained.write_out_of_fold(data / "oof")
    metadata = calibrate(
        trained.record,
        trained.out_of_fold,
        tables[0],
        schema,
        params,
    )
    schema = trained.setup.schema
    baselines = partial(fit_baselines, data, schema, metadata.loss)
    saved = SavedModel(trained.model.plain, metadata, Path("model.keras"), b"")
    return evaluate(saved, data, schema, baselines, METRICS).evaluation


def write_period(
    rows: Path,
    time: str,
    total: int,
    number: int,
) -> float:
    """Write the rows up to the end of a period, and return the share of the period.

    The periods divide the later half of the rows into equal numbers of rows, as in
    scikit-learn's `TimeSeriesSplit`. The first one is the latest.

    Args:
        rows: Folder for the rows.
        time: The column of the times.
        total: Number of periods.
        number: Number of the period, from 1.

    Raises:
        UserError: No row is in the period.
    """
    table = pa.concat_tables(read_parts(VALIDATED, [time]))
    times = table.sort_by(time)[0]
    size = len(times) // (2 * total)
    last_row = len(times) - 1 - size * (number - 1)
    end = times[last_row]
    end_before = times[last_row - size]
    # Rows of one time are in one period.
    n_rows = pc.sum(pc.less_equal(times, end)).as_py()
    n_before = pc.sum(pc.less_equal(times, end_before)).as_py()
    if n_before == n_rows:
        raise UserError(
            "split.by: time: the later half of the rows cannot be divided into"
            f" N={total} periods. Choose a lower N.",
        )
    write_part(
        rows,
        0,
        read_table(part_paths(VALIDATED), filters=pc.field(time) <= end),
    )
    return (n_rows - n_before - 0.5) / n_rows  # which the split rounds up


def summarize(
    key: str,
    task: Task,
    repeated: str,
    present: Evaluation,
    evaluations: Sequence[Evaluation],
) -> MeasureRepeats | None:
    """Summarize a measure on two or more repeats.

    Args:
        key: Key of the measure.
        repeated: What a repeat is: a `split`, a `training` or a `period`.
        present: Scores of the present run.
        evaluations: Scores of the repeats.

    Returns:
        None if the measure is undefined in one of them.
    """
    models = {}
    for name in (MODEL, *task.baselines):
        present_score = present.score("test", key, name)
        scores = [each.score("test", key, name) for each in evaluations]
        values = tuple(score.value for score in scores if score)
        if present_score and len(values) == len(evaluations):
            models[name] = ModelRepeats(values=values, present=present_score.value)
    if len(models) < 2 or MODEL not in models:
        return None
    label = metric_label(present, task, key)
    sign = 1 if present.metric(key).greater_is_better else -1
    n_test, n_train, n_validation = (
        sum(each.rows(row_set) for each in evaluations)
        for row_set in ("test", "train", "validation")
    )
    test_share = n_test / (n_train + n_validation)
    conclusion = format_conclusion(models, task, label, sign, repeated, test_share)
    return MeasureRepeats(label=label, models=models, conclusion=conclusion)


def format_conclusion(
    models: dict[str, ModelRepeats],
    task: Task,
    label: str,
    sign: int,
    repeated: str,
    test_share: float,
) -> str:
    """Compare the model with the best baseline, and the present run with its repeats.

    Args:
        sign: 1 if a greater value of the measure is better, else -1.
        test_share: Number of test rows divided by the number of training rows.
    """
    model = models[MODEL]
    number = len(model.values)
    averages = {name: mean(each.values) for name, each in models.items()}
    average = averages.pop(MODEL)
    best = max(averages, key=lambda name: sign * averages[name])
    pairs = zip(model.values, models[best].values, strict=True)
    gains = [sign * (value - baseline) for value, baseline in pairs]
    outcome = ""
    if repeated != "training":  # else all repeats have the same test rows
        gain = mean(gains)
        outcome = ": the difference is not settled"
        if abs(gain) > half_width(gains, test_share):
            word = "better" if gain > 0 else "worse"
            outcome = f": the model is significantly {word} on average"
    repeats = f"other {repeated}s"
    if repeated == "period":
        repeats = "periods of the later half"
    wins = mean(gain > 0 for gain in gains)
    n_worse = sum(sign * (model.present - value) > 0 for value in model.values)
    return (
        f"{label} is {format_number(average)} on average over {number} {repeats}"
        f" (standard deviation {format_number(stdev(model.values))}, from"
        f" {format_number(min(model.values))} to {format_number(max(model.values))})."
        f" It is better than that of {task.baselines[best]},"
        f" {format_number(averages[best], average)} on average, in {wins:.0%} of"
        f" them{outcome}. With {format_number(model.present)}, the present {repeated}"
        f" is better than {n_worse} of {number}."
    )


def half_width(differences: Sequence[float], test_share: float) -> float:
    """Return half the width of the 95% interval around the mean of differences.

    It is that of Student's t. The variance is larger than that of independent
    differences, because the splits have rows in common: Nadeau and Bengio, "Inference
    for the generalization error" (2003).

    Args:
        differences: Difference of two models on each split.
        test_share: Number of test rows divided by the number of training rows.

    Example:
        >>> round(half_width([1.0, 2.0, 3.0], test_share=0.25), 3)
        3.286
    """
    from scipy.special import stdtrit  # importing it takes 0.2 s

    number = len(differences)
    variance = 1 / number + test_share
    quantile = float(stdtrit(number - 1, 0.975))
    return quantile * stdev(differences) * math.sqrt(variance)
