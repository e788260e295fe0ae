"""Measure how often the gate gives each verdict, for predictions of known quality.

Nothing is trained: `benchmarks.rows` draws test rows and models that know given shares
of the variance of the target, and the functions that evaluate and the gate use do the
rest. These are the simulations:

- `verdicts`: a model is compared with a linear model and with gradient boosting that is
  as good, better or worse, also with a margin of 5 %.
- `noise`: a model that differs from a constant of training rows by noise only. The
  metric is the one by which it is most often called better than no model, which in time
  is the constant of the training rows.
- `limits`: an accuracy that is just as high as the lowest allowed one, and ten such
  slices.
- `experiments`: 30 models that are as good as gradient boosting, on the same test rows.
- `last run`: a model that is as good as that of the last run, or has a squared error
  that is a fifth higher. The last run has 70 % of the test rows.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import chdir
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy.special import ndtri

from benchmarks.rows import (
    BINARY,
    DEPENDENT,
    KINDS,
    REGRESSION,
    Kind,
    Rows,
    tasks_of_kind,
)
from benchmarks.simulations import Measurement, Simulations, build_schema
from keras_tabular.config.sections import Gate
from keras_tabular.core.files import write_json, write_points
from keras_tabular.evaluation import plot_data
from keras_tabular.evaluation.records import MODEL, Evaluation, Score, score_records
from keras_tabular.evaluation.result import compare_with_baselines
from keras_tabular.evaluation.scores import Predictions, score
from keras_tabular.evaluation.uncertainty import (
    mean_difference,
    score_and_resample,
    share_interval,
)
from keras_tabular.gate import Verdict
from keras_tabular.gate.rules import evaluate_gate
from keras_tabular.runs.comparison import check_base, paired_scores
from keras_tabular.runs.run import WORKSPACE, Run
from keras_tabular.table.groups import time_blocks
from keras_tabular.tasks.task import Binary, Regression

TRAINING_ROWS = 2  # for each test row, as with `split.test_size: 0.33`
EXPERIMENTS = 30
SLICES = 10
BEAT_ALL = Gate(beat_baselines=("dummy", "linear", "gradient_boosting"))
MARGIN = BEAT_ALL.model_copy(update={"margin": 0.05})
# How much of the variance of the target the model, the linear and the boosted baseline
# know.
CASES = {
    "worse": (0.25, 0.3, 0.35),
    "equal": (0.35, 0.3, 0.35),
    "better": (0.5, 0.3, 0.35),
}
NO_GAIN = "no gain above 5%"  # than the constant, in the words of its check
MAX_WRONG = {"independent": 0.07, "groups": 0.07, "time": 0.07}
SIZES_OF_GATES = (300, 1000)
LAST_RUN_ROWS = (300, 100_000)
LAST_RUN_METRICS = ("loss", "mae", "rmse", "r2")
NOT_WORSE = Gate.model_validate(
    {"worse_than_base": {"test": dict.fromkeys(LAST_RUN_METRICS, 0.05)}},
)


def judge_models(
    models: Sequence[Predictions],
    gates: Sequence[Gate],
    key: str = "loss",
) -> list[Verdict]:
    """Evaluate a model, the linear and the boosted baseline, for some gates.

    Args:
        key: The primary metric.
    """
    model, *baselines = models
    names = ("linear", "gradient_boosting")
    fitted = {
        name: {"test": other.y_pred}
        for name, other in zip(names, baselines, strict=False)
    }
    thresholds = dict.fromkeys(fitted, model.threshold)
    scored = score_and_resample(model)
    scores = tuple(compare_with_baselines(scored, fitted, thresholds, (key,)))
    evaluation = Evaluation(main_metrics=(key,), scores=scores)
    return [evaluate_gate(evaluation, gate, model.task) for gate in gates]


def count_verdicts(
    name: str,
    task: Binary | Regression,
    rows: int,
    case: str,
    draws: int,
) -> Counter[str]:
    """Count how often each verdict comes, with and without a margin."""
    rng = np.random.default_rng(rows)
    counts = Counter[str]()
    for _ in range(draws):
        models = Rows(rng, KINDS[name], rows).draw_models(task, CASES[case])
        verdict, with_margin = judge_models(models, (BEAT_ALL, MARGIN))
        counts[verdict.status] += 1
        counts[f"margin: {with_margin.status}"] += 1
        counts[NO_GAIN] += NO_GAIN in verdict.checks[0].reason
    return counts


def measure_verdicts(name: str, draws: int) -> Iterator[Measurement]:
    """Yield how often verdicts on models of known quality are right or wrong."""
    family = KINDS[name].family
    limit = MAX_WRONG.get(family)
    few = max(draws // 4, 1)  # for what the gate finds, which has no limit
    for task, rows in product(tasks_of_kind(name), SIZES_OF_GATES):
        if rows not in KINDS[name].sizes:
            continue
        equal = count_verdicts(name, task, rows, "equal", draws)
        better = count_verdicts(name, task, rows, "better", few)
        worse = count_verdicts(name, task, rows, "worse", few)
        where = f"{name}, {task.name}, {rows} rows"
        wrong = {
            "equal to boosting: better or worse": equal["pass"] + equal["fail"],
            "equal to boosting: misses a margin of 5 %": equal["margin: fail"],
        }
        for claim, count in wrong.items():
            yield Measurement(claim, family, where, count / draws, limit)
        claim = f"a half is known: {NO_GAIN}"
        yield Measurement(claim, family, where, better[NO_GAIN] / few, limit)
        right = {
            "better than boosting: pass": better["pass"],
            "worse than boosting: fail": worse["fail"],
        }
        for words, count in right.items():
            claim = f"{words} ({rows} rows)"
            yield Measurement(claim, family, where, count / few, None, True)


def score_noise(
    rng: np.random.Generator,
    name: str,
    task: Binary | Regression,
    rows: int,
) -> list[Score]:
    """Score predictions of random test rows near the mean of the rows before them."""
    count = TRAINING_ROWS * rows
    drawn = Rows(rng, KINDS[name], count + rows).draw_models(task, (0.0,))[0]
    train = drawn.y[:count]
    test = drawn.select(slice(count, None))
    learnt = None
    noise = 0.03 * train.std() * rng.normal(size=rows)
    y_pred = train.mean() + noise
    if task is BINARY:
        y_pred = np.clip(y_pred, 0.001, 0.999)
    if KINDS[name].autocorrelation:
        test = test._replace(group=time_blocks(np.arange(rows)))
        learnt = drawn.select(slice(count))
    scored = score_and_resample(test._replace(y_pred=y_pred[:, None]))
    # The model is compared with constants if there is another baseline, of any rows.
    same = {"linear": {"test": y_pred[:10, None]}}
    thresholds = {"linear": test.threshold}
    return compare_with_baselines(scored, same, thresholds, (), learnt=learnt)


def measure_noise(name: str, draws: int) -> Iterator[Measurement]:
    """Yield how often a model of noise is called better, by its worst metric."""
    dummy = Gate(beat_baselines=("dummy",))
    for task, rows in product(tasks_of_kind(name), KINDS[name].sizes):
        if rows > max(SIZES_OF_GATES):
            continue
        keys = sorted(set(task.metrics) - {"precision", "recall"})
        rng = np.random.default_rng(rows)
        better = Counter[str](none=0)
        for _ in range(draws):
            scores = tuple(score_noise(rng, name, task, rows))
            for key in keys:
                evaluation = Evaluation(main_metrics=(key,), scores=scores)
                verdict = evaluate_gate(evaluation, dummy, task)
                better[key] += verdict.status == "pass"
        ((key, count),) = better.most_common(1)
        family = KINDS[name].family
        where = f"{name}, {task.name}, {rows} rows, {key}"
        claim = "noise is better than no model"
        yield Measurement(claim, family, where, count / draws, MAX_WRONG.get(family))


def measure_limits(name: str, draws: int) -> Iterator[Measurement]:
    """Yield how often a model, or one of ten slices, that is good enough fails."""
    family = KINDS[name].family
    for rows in KINDS[name].sizes:
        rng = np.random.default_rng(rows)
        failed = []
        for _ in range(draws * SLICES):
            drawn = Rows(rng, KINDS[name], rows)
            is_right = (drawn.draw() < ndtri(0.8)).astype(float)
            *_, high = share_interval(is_right, np.ones(rows), drawn.group)
            failed.append(high < 0.8)
        of_slices = np.reshape(failed, (draws, SLICES)).any(axis=1)
        where = f"{name}, {rows} rows"
        claim = "an accuracy of 0.8 misses a lowest value of 0.8"
        limit = MAX_WRONG.get(family)
        yield Measurement(claim, family, where, float(np.mean(failed)), limit)
        claim = "one of ten slices with such accuracies fails"
        yield Measurement(claim, family, where, float(of_slices.mean()))


def measure_experiments(name: str, draws: int) -> Iterator[Measurement]:
    """Yield how often one of many models that equal boosting is called better."""
    family = KINDS[name].family
    rng = np.random.default_rng(0)
    rows = 1000
    better = 0
    for _ in range(draws):
        drawn = Rows(rng, KINDS[name], rows)
        (best,) = drawn.draw_models(REGRESSION, (0.35,))
        models = [
            best._replace(y_pred=best.y_pred + 0.25 * drawn.draw()[:, None])
            for _ in range(EXPERIMENTS + 1)
        ]
        boosted, *experiments = (model.row_losses for model in models)
        ends = [
            mean_difference(losses - boosted, best.weight, best.group, False)[2]
            for losses in experiments
        ]
        better += min(ends) < 0
    claim = "one of 30 models equal to boosting is better"
    yield Measurement(claim, family, f"{name}, {rows} rows", better / draws)


def write_run(name: str, test: Predictions, keys: np.ndarray) -> Run:
    """Write the scores and the kept rows of a run into a folder."""
    scores = tuple(score_records("test", MODEL, score(test), len(test.y)))
    evaluation = Evaluation(main_metrics=("mae",), scores=scores)
    folder = Path(name)
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    write_json(folder / "scores.json", evaluation.model_dump(exclude_defaults=True))
    rows_kept = plot_data.kept_test_rows(test, {"row": keys, "line": keys})
    write_points(folder / "plots/test_rows.csv", rows_kept, plot_data.MAX_KEPT_ROWS)
    return Run(WORKSPACE, folder)


def compare_runs(
    rng: np.random.Generator,
    kind: Kind,
    rows: int,
    share: float,
) -> tuple[set[str], set[str]]:
    """Compare a run with the last one, whose model knows a share of 0.35.

    Returns:
        The metrics by which it is worse for the gate, and those by which it differs.
    """
    models = Rows(rng, kind, rows).draw_models(REGRESSION, (share, 0.35))
    keys = rng.integers(0, plot_data.MAX_KEY, rows)
    old = slice(rows * 3 // 10, None)
    run = write_run("run", models[0], keys)
    base = write_run("base", models[1].select(old), keys[old])
    checks = check_base(run, base, NOT_WORSE)
    worse = {check.rule for check in checks if check.status == "fail"}
    paired = paired_scores(run, base)
    different = {
        key for key in LAST_RUN_METRICS if not paired[key].difference.within_chance
    }
    paired_scores.cache_clear()  # it would keep all runs
    return {rule.rpartition(".")[2] for rule in worse}, different


def measure_last_run(name: str, draws: int) -> Iterator[Measurement]:
    """Yield how often a model is called worse than that of the last run."""
    kind = KINDS[name]
    schema = build_schema("regression")
    with TemporaryDirectory() as scratch, chdir(scratch):
        Path("data").mkdir()
        Path("data/schema.yaml").write_text(schema.model_dump_json(exclude_none=True))
        for rows in LAST_RUN_ROWS if kind.quantile else LAST_RUN_ROWS[:1]:
            rng = np.random.default_rng(rows)
            worse = Counter[str]()
            different = Counter[str]()
            n_worse = 0
            for _ in range(draws):
                worse_by, different_by = compare_runs(rng, kind, rows, 0.35)
                worse.update(worse_by)
                different.update(different_by)
                if rows == LAST_RUN_ROWS[0]:
                    worse_by, _ = compare_runs(rng, kind, rows, 0.22)
                    n_worse += "loss" in worse_by
            for key in LAST_RUN_METRICS:
                where = f"{name}, {rows} rows, {key}"
                claim = "equal to the last run: worse"
                yield Measurement(claim, kind.family, where, worse[key] / draws, 0.07)
                claim = "equal to the last run: differs"
                share = different[key] / draws
                yield Measurement(claim, kind.family, where, share, 0.07)
            if rows == LAST_RUN_ROWS[0]:
                claim = "a fifth worse than the last run"
                share = n_worse / draws
                yield Measurement(claim, kind.family, where, share, None, True)


SIMULATIONS: Simulations = {
    measure_verdicts: tuple(KINDS),
    measure_noise: tuple(KINDS),
    measure_limits: DEPENDENT,
    measure_experiments: ("independent", "clusters", "AR 0.9", "t"),
    measure_last_run: ("independent", "clusters", "AR 0.9", "t"),
}
