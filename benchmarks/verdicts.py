"""Measure how often the gate gives each verdict, for predictions of known quality.

Nothing is trained: `benchmarks.rows` draws test rows and models that know given shares
of the variance of the target, and the functions that evaluate and the gate use do the
rest. These are the simulations:

- `verdicts`: a model is compared with a linear model and with gradient boosting that is
  as good, better or worse, also with a margin of 5 %.
- `noise`: a model that differs from a constant of training rows by noise only. The
  metric is the one by which it is most often called better than no model.
- `limits`: an accuracy that is just as high as the lowest allowed one, and ten such
  slices.
- `experiments`: 30 models that are as good as gradient boosting, on the same test rows.
- `last run`: a model that is as good as that of the last run, or has a squared error
  that is a fifth higher. A third of the rows are test rows; the table grows by 30 %.
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
    CLASS_KINDS,
    DEPENDENT,
    KINDS,
    REGRESSION,
    VALUE_KINDS,
    Rows,
)
from benchmarks.simulations import Measurement, Simulations, build_schema
from keras_tabular.config.sections import Gate
from keras_tabular.core.files import write_json, write_points
from keras_tabular.evaluation import plot_data
from keras_tabular.evaluation.records import Evaluation
from keras_tabular.evaluation.result import compare_with_baselines
from keras_tabular.evaluation.scores import Predictions
from keras_tabular.evaluation.uncertainty import (
    mean_difference,
    score_and_resample,
    share_interval,
)
from keras_tabular.gate.rules import evaluate_gate
from keras_tabular.gate.verdict import Verdict
from keras_tabular.runs.comparison import compare_with_base
from keras_tabular.runs.run import WORKSPACE, Run
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
LAST_RUN_ROWS = 300
MANY_LAST_RUN_ROWS = 100_000


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


def measure_verdicts(
    name: str,
    draws: int,
    task: Binary | Regression,
) -> Iterator[Measurement]:
    """Yield how often verdicts on models of known quality are right or wrong."""
    family = KINDS[name].family
    limit = MAX_WRONG.get(family)
    few = max(draws // 4, 1)  # for what the gate finds, which has no limit
    for rows in SIZES_OF_GATES:
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
            claim = f"{words} ({task.name}, {rows} rows)"
            yield Measurement(claim, family, where, count / few, None, True)


def measure_class_verdicts(name: str, draws: int) -> Iterator[Measurement]:
    yield from measure_verdicts(name, draws, BINARY)


def measure_value_verdicts(name: str, draws: int) -> Iterator[Measurement]:
    yield from measure_verdicts(name, draws, REGRESSION)


def draw_noise(
    rng: np.random.Generator,
    name: str,
    task: Binary | Regression,
    rows: int,
) -> Predictions:
    """Draw test rows, and predictions near the mean of the rows before them."""
    count = TRAINING_ROWS * rows
    drawn = Rows(rng, KINDS[name], count + rows).draw_models(task, (0.0,))[0]
    train = drawn.y[:count]
    test = drawn.select(slice(count, None))
    noise = 0.03 * train.std() * rng.normal(size=rows)
    y_pred = train.mean() + noise
    if task is BINARY:
        y_pred = np.clip(y_pred, 0.001, 0.999)
    if KINDS[name].autocorrelation:
        test = test._replace(group=Rows(rng, KINDS[name], rows).group)
    return test._replace(y_pred=y_pred[:, None])


def measure_noise(
    name: str,
    draws: int,
    task: Binary | Regression,
) -> Iterator[Measurement]:
    """Yield how often a model of noise is called better, by its worst metric."""
    keys = [key for key in task.metrics if key not in ("precision", "recall")]
    dummy = Gate(beat_baselines=("dummy",))
    for rows in KINDS[name].sizes:
        if rows > max(SIZES_OF_GATES):
            continue
        rng = np.random.default_rng(rows)
        better = Counter[str](none=0)
        for _ in range(draws):
            noise = draw_noise(rng, name, task, rows)
            scored = score_and_resample(noise)
            scores = tuple(compare_with_baselines(scored, {}, {}, ()))
            for key in keys:
                evaluation = Evaluation(main_metrics=(key,), scores=scores)
                verdict = evaluate_gate(evaluation, dummy, task)
                better[key] += verdict.status == "pass"
        ((key, count),) = better.most_common(1)
        family = KINDS[name].family
        where = f"{name}, {task.name}, {rows} rows, {key}"
        claim = f"noise is better than no model ({task.name})"
        yield Measurement(claim, family, where, count / draws, MAX_WRONG.get(family))


def measure_class_noise(name: str, draws: int) -> Iterator[Measurement]:
    yield from measure_noise(name, draws, BINARY)


def measure_value_noise(name: str, draws: int) -> Iterator[Measurement]:
    yield from measure_noise(name, draws, REGRESSION)


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
    scores = compare_with_baselines(score_and_resample(test), {}, {}, ("mae",))
    evaluation = Evaluation(main_metrics=("mae",), scores=tuple(scores))
    folder = Path(name)
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    write_json(folder / "scores.json", evaluation.model_dump(exclude_defaults=True))
    rows_kept = plot_data.kept_test_rows(test, {"row": keys, "line": keys})
    write_points(folder / "plots/test_rows.csv", rows_kept, plot_data.MAX_KEPT_ROWS)
    return Run(WORKSPACE, folder)


def measure_last_run(name: str, draws: int) -> Iterator[Measurement]:
    """Yield how often a model is called worse than that of the last run."""
    kind = KINDS[name]
    sizes = [LAST_RUN_ROWS]
    if kind.quantile:
        sizes.append(MANY_LAST_RUN_ROWS)
    gate = Gate.model_validate({"worse_than_base": {"test": {"loss": 0.05}}})
    schema = build_schema("regression")
    cases = {
        "equal to the last run: worse": 0.35,
        "a fifth worse than the last run": 0.22,
    }
    with TemporaryDirectory() as scratch, chdir(scratch):
        Path("data").mkdir()
        Path("data/schema.yaml").write_text(schema.model_dump_json(exclude_none=True))
        for rows, (claim, share) in product(sizes, cases.items()):
            is_equal = share == 0.35
            if rows == MANY_LAST_RUN_ROWS and not is_equal:
                continue
            rng = np.random.default_rng(rows)
            failed = 0
            for _ in range(draws):
                drawn = Rows(rng, kind, rows)
                models = drawn.draw_models(REGRESSION, (share, 0.35))
                keys = rng.integers(0, plot_data.MAX_KEY, rows)
                old = slice(rows * 3 // 10, None)  # these rows are common to both runs
                run = write_run("run", models[0], keys)
                base = write_run("base", models[1].select(old), keys[old])
                evaluation = run.require_evaluation()
                verdict = evaluate_gate(evaluation, gate, schema.learning_task)
                verdict = compare_with_base(verdict, run, base, gate)
                failed += verdict.checks[-1].status == "fail"
            where = f"{name}, {rows} rows"
            limit = 0.07 if is_equal else None
            yield Measurement(
                claim, kind.family, where, failed / draws, limit, not is_equal
            )


SIMULATIONS: Simulations = {
    measure_class_verdicts: CLASS_KINDS,
    measure_value_verdicts: VALUE_KINDS,
    measure_class_noise: CLASS_KINDS,
    measure_value_noise: VALUE_KINDS,
    measure_limits: DEPENDENT,
    measure_experiments: ("independent", "clusters", "AR 0.9", "t"),
    measure_last_run: ("independent", "clusters", "AR 0.9", "t"),
}
