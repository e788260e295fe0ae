"""Score the present parameters on other splits with other seeds: how much of a score is luck?"""

import json
import math
import shlex
import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import chdir
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pyarrow as pa
import yaml
from pyarrow.parquet import read_table

from keras_tabular.config.params import PARAMS, load_params
from keras_tabular.config.schema import load_schema
from keras_tabular.config.typed_yaml import Section, read_yaml
from keras_tabular.core.errors import UserError, align_columns
from keras_tabular.core.files import md5_hash, write_json, write_text
from keras_tabular.core.numbers import format_number
from keras_tabular.core.parallel import map_in_processes
from keras_tabular.core.progress import Progress
from keras_tabular.experiments.rerun import dvc
from keras_tabular.experiments.run import METRICS, WORKSPACE, Run
from keras_tabular.scoring.evaluation import MODEL, Difference, Evaluation
from keras_tabular.table.parquet import part_paths, read_parts, write_part
from keras_tabular.tasks.metrics import BASELINES, CONSTANTS, metrics_by_key

FOLDER, SCORES, VALIDATED = Path(".repeats"), METRICS / "scores.json", Path("data/validated")
STAGES = ("split", "train", "calibrate", "evaluate")
# Files and folders that a repeat has itself. It reads the other ones of the project.
OWN = {"data", "metrics", "models", "oof", "params.yaml", "predictions", "split"}
MIN_REPEATS = 5  # with fewer, the differences of accuracies are often equal by chance
# What a repeat is, if not another split.
REPEATED = {"time": "period", "column": "training", "file": "training"}


class ModelRepeats(Section):
    """The deciding measure of the model or of a baseline on the test rows of all repeats.

    Attributes:
        values: The value of each repeat.
        range: The lowest and the highest value.
        present: The value of the present run, which is not one of the repeats.
        wins: Share of the repeats in which the model is better than this baseline.
        difference: Mean of the model minus that of this baseline, with the corrected interval.
    """

    values: tuple[float, ...]
    mean: float
    deviation: float
    range: tuple[float, float]
    present: float
    wins: float
    difference: Difference


class Repeats(Section):
    """The content of `metrics/repeats.json`.

    Attributes:
        run: Hash of the scores of the present run, which was repeated.
        label: Name of the deciding measure for readers.
        models: The model and the baselines for which the measure is defined, by name.
        better_than: Number of repeats than which the present run is better.
        conclusion: What the repeats say about the model, the best baseline and the present run.
    """

    run: str
    label: str
    models: dict[str, ModelRepeats]
    better_than: int
    conclusion: str


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--number", metavar="N", type=int, default=10, help="of repeats")
    total, schema = parser.parse_args().number, load_schema()
    split = load_params("split", schema=schema).split
    if total < MIN_REPEATS:
        raise UserError(f"--number: expected {MIN_REPEATS} or more, got {total}")
    if json.loads(dvc("status", "--json", "--with-deps", "evaluate")):
        raise UserError(f"{SCORES} is out of date. Run `dvc repro` first.")
    run, evaluations = Run(WORKSPACE), list[Evaluation]()
    run_hash = md5_hash(run.read(SCORES).encode())
    time = schema.time if split.by == "time" else None
    # The periods depend on their number.
    folder = FOLDER / (f"{run_hash}-{total}" if time else run_hash)
    with Progress() as progress:
        progress.start_round("repeats", total, total)
        repeat = partial(run_repeat, folder, time, total)
        for evaluation in map_in_processes(repeat, range(1, total + 1)):
            evaluations.append(evaluation)
            progress.advance(1, f"{len(evaluations)} of {total}")
    repeated = REPEATED.get(split.by, "split")
    repeats = summarize(run_hash, repeated, run.require_evaluation(), evaluations)
    write_json(METRICS / "repeats.json", repeats.model_dump())
    lines = [["", "mean", "deviation", "lowest", "highest", "present run"]]
    for name, each in repeats.models.items():
        numbers = (each.mean, each.deviation, *each.range, each.present)
        lines.append([BASELINES.get(name, name), *map(format_number, numbers)])
    print(align_columns(lines), repeats.conclusion, sep="\n")


def run_repeat(folder: Path, time: str | None, total: int, number: int) -> Evaluation:
    """Run the stages with other seeds in a folder of their own, unless their scores are there.

    Args:
        folder: Folder of the scores.
        time: Column of the times, of a split by time.
        total: Number of repeats.
        number: Number of this repeat, which is added to the seeds. Number 0 is the present run.
    """
    project, work, scores = Path.cwd(), folder / str(number), folder / f"{number}.json"
    if not scores.is_file():
        sys.path.insert(0, str(project))
        shutil.rmtree(work, ignore_errors=True)  # a killed repeat has left it
        for path in [*project.glob("[!.]*"), *project.glob("data/*")]:
            if path.name not in OWN:
                (link := work / path.relative_to(project)).parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path)
        params, stages = read_yaml(PARAMS), read_yaml(Path("dvc.yaml"))["stages"]
        for section in ("split", "train"):
            params[section]["seed"] = (params[section]["seed"] + number) % 2**32
        if time and number:
            params["split"]["test_size"] = write_period(work / VALIDATED, time, total, number)
        write_text(work / PARAMS, yaml.safe_dump(params))
        with chdir(work):
            for name in STAGES:
                _, _, module, *sys.argv[1:] = shlex.split(stages[name]["cmd"])
                sys.argv += ["--scores-only"] if name == "evaluate" else []
                import_module(module).main()
        import_module("keras_tabular.networks.backend").keras.utils.clear_session()
        (work / SCORES).replace(scores)
        shutil.rmtree(work)
    return Evaluation.model_validate_json(scores.read_text("utf-8"))


def write_period(rows: Path, time: str, total: int, number: int) -> float:
    """Write the rows up to the end of a period, and return the share that the period has of them.

    The periods divide the later half of the rows into equal numbers of rows, as in scikit-learn's
    `TimeSeriesSplit`. The first one is the latest.

    Args:
        rows: Folder for the rows, a link to all rows.
        time: The column of the times.
        total: Number of periods.
        number: Number of the period, from 1.

    Raises:
        UserError: No row is in the period.
    """
    times = np.sort(pa.concat_tables(read_parts(VALIDATED, [time]))[0].to_numpy())
    start, end = times[-1 - len(times) // (2 * total) * np.array([number, number - 1])]
    n_before, n_rows = np.searchsorted(times, [start, end], side="right").tolist()
    if n_before == n_rows:
        problem = f"the later half of the rows cannot be divided into N={total} periods"
        raise UserError(f"split.by: time: {problem}. Choose a lower N.")
    rows.unlink()
    write_part(rows, 0, read_table(part_paths(VALIDATED), filters=[(time, "<=", end)]))
    return (n_rows - n_before - 0.5) / n_rows  # which the split rounds up


def summarize(
    run: str, repeated: str, present: Evaluation, evaluations: Sequence[Evaluation]
) -> Repeats:
    """Summarize the scores of two or more repeats.

    Args:
        run: Hash of the scores of the present run.
        repeated: What a repeat is: a `split`, a `training` or a `period`.
        present: Scores of the present run, whose first primary metric decides.
        evaluations: Scores of the repeats.

    Raises:
        UserError: The deciding measure of the model is undefined in a repeat.
    """
    key, number = present.primary_metrics[0], len(evaluations)
    label, greater_is_better, _ = metrics_by_key(present.custom_metrics)[key]
    sign = 1 if greater_is_better else -1
    n_test, n_train, n_validation = (
        sum(each.rows(name) for each in evaluations) for name in ("test", "train", "validation")
    )
    variance = 1 / number + n_test / (n_train + n_validation)
    models = dict[str, ModelRepeats]()
    for name in (MODEL, *BASELINES):
        scores = [each.score("test", key, name) for each in (present, *evaluations)]
        present_value, *values = [score.value for score in scores if score] or [0.0]
        if len(values) < number:
            continue
        model_values = models[MODEL].values if models else values
        differences = [a - b for a, b in zip(model_values, values, strict=True)]
        change, error = mean(differences), half_width(differences, variance)
        models[name] = ModelRepeats(
            values=tuple(values),
            mean=mean(values),
            deviation=stdev(values),
            range=(min(values), max(values)),
            present=present_value,
            wins=mean(sign * difference > 0 for difference in differences),
            difference=Difference(value=change, low=change - error, high=change + error),
        )
    if MODEL not in models:
        raise UserError(f"The {label} is undefined on the test rows of a repeat. Choose a lower N.")
    model = models[MODEL]
    better_than = sum(sign * (model.present - value) > 0 for value in model.values)
    text = f"{label} is {format_number(model.mean)} on average over {number} other {repeated}s"
    if baselines := {n: each for n, each in models.items() if n not in {MODEL, *CONSTANTS}}:
        name = max(baselines, key=lambda name: sign * baselines[name].mean)
        best, difference = baselines[name], baselines[name].difference
        text += f", and better than that of {BASELINES[name]} ("
        text += f"{format_number(best.mean, model.mean)}) in {best.wins:.0%} of them"
        outcome = "better" if sign * difference.value > 0 else "worse"
        outcome = f"the model is significantly {outcome} on average"
        outcome = "the difference is not settled" if difference.within_chance else outcome
        text += f": {outcome}" if repeated != "training" else ""  # with the same test rows
    text += f". With {format_number(model.present)}, the present {repeated} is better than "
    text += f"{better_than} of {number}"
    if repeated != "period":  # the present one is longer
        gain = sign * (model.present - model.mean)
        is_usual = abs(gain) <= half_width(model.values, 1 + 1 / number)
        text += f", which is {'within chance' if is_usual else 'lucky' if gain > 0 else 'unlucky'}"
    return Repeats(
        run=run, label=label, models=models, better_than=better_than, conclusion=f"{text}."
    )


def half_width(values: Sequence[float], variance: float) -> float:
    """Return half the width of the 95% interval of Student's t around the mean of some values.

    Args:
        variance: Variance of what the interval is for, if that of the values is 1. For the mean of
            N differences on splits of the same rows, it is 1 / N + test rows / training rows:
            Nadeau and Bengio, "Inference for the generalization error" (2003). For another value,
            it is 1 + 1 / N: what all splits have in common cancels out.
    """
    from scipy.special import stdtrit  # importing it takes 0.2 s

    return float(stdtrit(len(values) - 1, 0.975)) * stdev(values) * math.sqrt(variance)
