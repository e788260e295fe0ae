"""Measure how often the gate gives each verdict, for predictions of known quality.

Nothing is trained: test rows and predictions are drawn, and the functions that evaluate
and the gate use do the rest. These are the simulations:

- How often each verdict comes: 400 draws for each number of test rows, 100 for 10,000
  rows. The predictions of the model and of its baselines explain given shares of the
  variance of the target. Groups have ten rows.
- `margin`, `min`: models that are just good enough or fair, and models that are not.
- `baseline`: a healthy boosted baseline, and one whose test rows are others.
- `noise`: nothing explains the target, and the predictions are near a constant. The
  name ends with the metric by which they are most often called better than no model.
- `logits times 6`: a model that ranks well, with a loss that is worse than that of no
  model.
- `calibration`: logits that are right, or 2.5 times too large.
- `last run`: 200 pairs of runs, the second one of a table that has grown, with a model
  that is as good as the last one or has a loss that is a fifth higher.

The figures in benchmarks/EVIDENCE.md are from this script. The exit code is 1 if a
limit is exceeded.

    python -m benchmarks.verdicts
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import chdir
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy.special import expit, logit, ndtr

from benchmarks.simulations import (
    BINARY,
    REGRESSION,
    Measurement,
    at_least,
    at_most,
    build_schema,
    simulate,
)
from keras_tabular.config.sections import Gate
from keras_tabular.core.files import write_json, write_points
from keras_tabular.evaluation import plot_data, uncertainty
from keras_tabular.evaluation.records import MODEL, Evaluation, score_records
from keras_tabular.evaluation.result import compare_with_baselines, measure_calibration
from keras_tabular.evaluation.scores import Predictions
from keras_tabular.evaluation.summary import range_warnings
from keras_tabular.gate import primary, rules
from keras_tabular.gate.rules import evaluate_gate
from keras_tabular.runs.comparison import compare_with_base
from keras_tabular.runs.run import WORKSPACE, Run
from keras_tabular.tasks.metrics import choose_primary_metric
from keras_tabular.tasks.task import Multiclass

TRAINING_ROWS = 2  # for each test row, as with `split.test_size: 0.33`
BEAT_ALL = Gate(beat_baselines=("dummy", "linear", "gradient_boosting"))
# How much of the variance of the target the model, the linear and the boosted baseline
# know.
CASES = {
    "worse": (0.25, 0.3, 0.35),
    "equal": (0.35, 0.3, 0.35),
    "clearly better": (0.5, 0.3, 0.35),
}
A_FIFTH_WORSE = {
    "binary": 0.05,
    "regression": 0.22,
}  # a loss that is 1.2 times that of 0.35
DRAWS = {100: 400, 250: 400, 1000: 400, 10_000: 100}  # by the number of test rows
NO_GAIN = "no gain above 5%"  # than the constant, in the words of its check
VERDICTS = (NO_GAIN, primary.TOO_FEW_ROWS, "fail", "undecided", "pass")
# Targets of noise: shares of positive rows, and distributions.
SHARES = (0.05, 0.1, 0.3, 0.5)
THREE_CLASSES = "three classes"
DISTRIBUTIONS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, rows: rng.normal(size=rows),
    "lognormal": lambda rng, rows: rng.lognormal(size=rows),
    "counts": lambda rng, rows: rng.poisson(2.0, rows).astype(float),
}


def draw_predictions(
    rng: np.random.Generator,
    task: str,
    rows: int,
    case: str,
    in_groups: bool = False,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Draw labels, and calibrated predictions that explain shares of their variance.

    The target is normal, or for two classes whether a normal value is positive. Most of
    what the weakest predictions know is common to all. In groups of ten rows, half of
    the variance of all is common to a group.
    """

    def draw(variance: float) -> np.ndarray:
        if not in_groups:
            return rng.normal(0, variance**0.5, rows)
        of_group, of_row = rng.normal(0, (variance / 2) ** 0.5, (2, rows))
        return of_group[np.arange(rows) // 10] + of_row

    shares = (
        (A_FIFTH_WORSE[task], 0.3, 0.35) if case == "a fifth worse" else CASES[case]
    )
    common = 0.8 * min(shares)
    shared = draw(common)
    parts = [draw(share - common) for share in shares]
    target = shared + np.sum(parts, axis=0) + draw(1 - sum(shares) + 2 * common)
    means = [shared + part for part in parts]
    if task == "regression":
        return target, means
    errors = [(1 - share) ** 0.5 for share in shares]
    return (target > 0).astype(float), [
        ndtr(m / e) for m, e in zip(means, errors, strict=True)
    ]


def compute_verdict(
    task: str,
    y: np.ndarray,
    y_pred: list[np.ndarray],
    loss: str = "auto",
    group: np.ndarray | None = None,
    rules: Gate = BEAT_ALL,
) -> str:
    """Evaluate predictions, and return the verdict of a gate.

    Args:
        y_pred: Predictions of the model, the linear and the boosted baseline.
    """
    learning_task = build_schema(task).learning_task
    key = learning_task.main_metric
    model, linear, boosted = (values[:, None] for values in y_pred)
    columns = {"linear": linear, "gradient_boosting": boosted}
    fitted = {name: {"test": column} for name, column in columns.items()}
    rows = Predictions(learning_task, y, model, np.ones(len(y)), group=group)
    scored = uncertainty.score_and_resample(rows)
    scores = compare_with_baselines(scored, fitted, dict.fromkeys(fitted, 0.5), (key,))
    main_metrics = choose_primary_metric("auto", loss, None), key
    evaluation = Evaluation(main_metrics=main_metrics, scores=tuple(scores))
    verdict = evaluate_gate(evaluation, rules, learning_task)
    constant = verdict.checks[0].reason
    words = (NO_GAIN, primary.TOO_FEW_ROWS)
    return next((text for text in words if text in constant), verdict.status)


def count_verdicts(
    task: str,
    rows: int,
    case: str,
    draws: int,
    in_groups: bool = False,
    rules: Gate = BEAT_ALL,
) -> Counter[str]:
    """Count how often each verdict comes."""
    rng = np.random.default_rng(0)
    counts = Counter[str]()
    group = np.arange(rows) // 10 if in_groups else None
    for _ in range(draws):
        y, y_pred = draw_predictions(rng, task, rows, case, in_groups)
        counts[compute_verdict(task, y, y_pred, group=group, rules=rules)] += 1
    return counts


def measure_verdicts() -> Iterator[Measurement]:
    """Yield how often verdicts on models of known quality are right or wrong."""
    for task, in_groups in product(("binary", "regression"), (False, True)):
        setting = f"{task}{', groups of ten' if in_groups else ''}"
        equal = Counter[str]()
        for rows, draws in DRAWS.items():
            counts = {
                case: count_verdicts(task, rows, case, draws, in_groups)
                for case in CASES
            }
            equal += counts["equal"]
            worse = counts["worse"]
            better = counts["clearly better"]
            name = f"{setting}, {rows} rows"
            null = max(each[NO_GAIN] for each in counts.values()) / draws
            yield at_most(f"{name}: {NO_GAIN}", null, 0.05)
            few = better[primary.TOO_FEW_ROWS] / draws
            limit = 0.6 if in_groups else 0.2
            yield at_most(f"{name}: too few to tell", few, limit)
            right = min(worse["fail"], better["pass"]) / draws
            least = 0.6 if in_groups else 0.8
            yield at_least(
                f"{name}: the right verdict",
                right,
                least if rows >= 1000 else 0.0,
            )
        share = (equal["pass"] + equal["fail"]) / equal.total()
        yield at_most(f"{setting}, equal: better or worse", share, 0.05)


def measure_margins(draws: int = 400) -> Iterator[Measurement]:
    """Yield how often a model fails or passes a margin of 5%."""
    rules = BEAT_ALL.model_copy(update={"margin": 0.05})
    for task, rows in product(("binary", "regression"), (250, 1000, 4000)):
        equal, worse = (
            count_verdicts(task, rows, case, draws, rules=rules)
            for case in ("equal", "a fifth worse")
        )
        name = f"margin of 5%, {task}, {rows} rows"
        yield at_most(f"{name}: equal fails", equal["fail"] / draws, 0.05)
        yield at_least(f"{name}: equal passes", equal["pass"] / draws, 0.05)
        share_found = 1 - (worse["pass"] + worse["undecided"]) / draws
        yield at_least(f"{name}: a fifth worse fails", share_found, 0.5)


def measure_limits(draws: int = 400) -> Iterator[Measurement]:
    """Yield how often a model that is just good enough misses a limit."""
    limits = Gate.model_validate({"min": {"test": {"accuracy": 0.8}}})
    for accuracy, rows in product((0.8, 0.7), (250, 1000)):
        rng = np.random.default_rng(0)
        failed = 0
        for _ in range(draws):
            y_pred = np.where(rng.random(rows) < accuracy, 0.9, 0.1)[:, None]
            predictions = Predictions(BINARY, np.ones(rows), y_pred, np.ones(rows))
            scored = uncertainty.score_and_resample(predictions)
            scores = compare_with_baselines(scored, {}, {}, ("accuracy",))
            evaluation = Evaluation(main_metrics=("accuracy",), scores=tuple(scores))
            (check,) = rules.check_limits(evaluation, limits)
            failed += check.status == "fail"
        name = f"min accuracy 0.8, true {accuracy:g}, {rows} rows: fails"
        is_bad = accuracy < 0.8
        yield Measurement(name, failed / draws, 0.9 if is_bad else 0.05, is_bad)


def measure_broken_baselines(draws: int = 400) -> Iterator[Measurement]:
    """Yield how often a comparison with a healthy and a failed baseline is unfair.

    The healthy one has true probabilities or expected values, which explain a tenth or
    a third of the variance. The errors of the broken one have 2.7 times the variance on
    the test rows that they have in cross-validation, on twice as many rows.
    """
    cases = [
        (BINARY, 0.1, 1.0),
        (BINARY, 0.35, 1.0),
        (REGRESSION, 0.1, 1.0),
        (REGRESSION, 0.35, 1.0),
        (REGRESSION, 0.35, 8 / 3),
    ]
    for (task, share, factor), rows in product(cases, (100, 250, 1000)):
        rng = np.random.default_rng(0)
        broken = 0
        boosted = "gradient_boosting"
        is_test = np.arange(3 * rows) < rows
        for _ in range(draws):
            mean = rng.normal(0, share**0.5, 3 * rows)
            y = mean + rng.normal(0, (1 - share) ** 0.5, 3 * rows)
            if task.classes:
                y = (y > 0).astype(float)
                mean = ndtr(mean / (1 - share) ** 0.5)
            errors = rng.normal(0, ((factor - 1) * (1 - share)) ** 0.5, rows)
            all_rows = Predictions(task, y, mean[:, None], np.ones(3 * rows))
            test = all_rows.select(is_test)
            loss = float(all_rows.row_losses[~is_test].mean())
            fitted = {boosted: {"test": test.y_pred + errors[:, None]}}
            scored = uncertainty.score_and_resample(test)
            scores = compare_with_baselines(
                scored,
                fitted,
                dict.fromkeys(fitted, 0.5),
                (task.main_metric,),
            )
            for model in (MODEL, boosted):
                scores += score_records(
                    "cross_validation",
                    model,
                    {"loss": loss},
                    2 * rows,
                )
            evaluation = Evaluation(main_metrics=("loss",), scores=tuple(scores))
            broken += bool(
                primary.PrimaryScores(evaluation, task).describe_unfairness(boosted),
            )
        words = f"{share:g} of the variance, errors x {factor:.1f}"
        title = f"baseline, {task.name}, {words}, {rows} rows: unfair"
        yield Measurement(
            title,
            broken / draws,
            0.8 if factor > 1 else 0.05,
            factor > 1,
        )


def draw_noise(rng: np.random.Generator, target: float | str, rows: int) -> Predictions:
    """Draw a target of noise, and predictions near a constant."""
    if isinstance(target, float):
        y, train = (
            (rng.random(n) < target).astype(float) for n in (rows, TRAINING_ROWS * rows)
        )
        y_pred = np.clip(train.mean() + 0.03 * rng.normal(size=rows), 0.001, 0.999)
        threshold = rng.choice([0.5, target, 0.01])
        return Predictions(BINARY, y, y_pred[:, None], np.ones(rows), threshold)
    if target == THREE_CLASSES:
        y = rng.choice(3, rows, p=(0.6, 0.3, 0.1))
        noise = rng.normal(size=(rows, 3))
        y_pred = np.exp(0.3 * noise) * rng.dirichlet([60, 30, 10])
        y_pred /= y_pred.sum(axis=1, keepdims=True)
        return Predictions(
            Multiclass(("a", "b", "c")),
            y.astype(float),
            y_pred,
            np.ones(rows),
        )
    y, train = (DISTRIBUTIONS[target](rng, n) for n in (rows, TRAINING_ROWS * rows))
    constant = rng.choice([train.mean(), np.median(train)])
    y_pred = constant + 0.03 * train.std() * rng.normal(size=rows)
    return Predictions(REGRESSION, y, y_pred[:, None], np.ones(rows))


def compare_by_each_metric(rows: Predictions) -> list[str]:
    """Return the metrics by which a model is called better than no model."""
    task = rows.task
    fitted = {"linear": {"test": rows.y_pred}}
    scored = uncertainty.score_and_resample(rows)
    scores = tuple(
        compare_with_baselines(scored, fitted, {"linear": rows.threshold}, ()),
    )
    keys = [
        k for k in task.metrics if k.rpartition(".")[2] not in ("precision", "recall")
    ]
    evaluations = [Evaluation(main_metrics=(key,), scores=scores) for key in keys]
    checks = [
        primary.PrimaryScores(each, task).compare_with_constant(0.05)
        for each in evaluations
    ]
    return [
        key for key, check in zip(keys, checks, strict=True) if check.status == "pass"
    ]


def measure_noise(draws: int = 400) -> Iterator[Measurement]:
    """Yield how often a model of noise is called better, by its worst metric."""
    targets: tuple[float | str, ...] = (*SHARES, THREE_CLASSES, *DISTRIBUTIONS)
    for target, rows in product(targets, (50, 150, 1000)):
        rng = np.random.default_rng(0)
        better = Counter[str](none=0)
        for _ in range(draws):
            better.update(compare_by_each_metric(draw_noise(rng, target, rows)))
        ((key, count),) = better.most_common(1)
        yield at_most(f"noise, {target}, {rows} rows: {key}", count / draws, 0.05)


def measure_too_sure_models(draws: int = 400, rows: int = 500) -> Iterator[Measurement]:
    """Yield how often a model with a good order and a useless loss passes."""
    rng = np.random.default_rng(0)
    better = 0
    for _ in range(draws):
        logits = rng.normal(size=rows)
        y = (rng.random(rows) < expit(logits)).astype(float)
        model = Predictions(BINARY, y, expit(6 * logits)[:, None], np.ones(rows))
        better += "loss" in compare_by_each_metric(model)
    yield at_most("logits times 6: better than no model", better / draws, 0.0)


def measure_calibrations(draws: int = 400) -> Iterator[Measurement]:
    """Yield how often the calibration of probabilities is called wrong."""
    for share, rows, factor in product(SHARES, (40, 300, 1000, 10_000), (1.0, 2.5)):
        rng = np.random.default_rng(0)
        wrong = 0
        for _ in range(draws):
            logits = rng.normal(logit(share), 1.0, rows)
            y = (rng.random(rows) < expit(logits)).astype(float)
            test = Predictions(
                BINARY,
                y,
                expit(factor * logits)[:, None],
                np.ones(rows),
            )
            evaluation = Evaluation(
                main_metrics=("loss",),
                scores=(),
                calibration=measure_calibration(test, "auto"),
            )
            wrong += any(range_warnings(evaluation, BINARY))
        name = f"calibration, {share:.0%} of {rows} rows, logits x {factor:g}: wrong"
        if factor == 1:
            yield at_most(name, wrong / draws, 0.05)
        else:
            yield at_least(name, wrong / draws, 0.8 if rows >= 300 else 0.0)


def measure_comparisons_with_the_last_run(draws: int = 200) -> Iterator[Measurement]:
    """Yield how often a model is called worse than one of a smaller table."""
    schema = build_schema("regression")
    rules = Gate.model_validate({"worse_than_base": {"test": {"loss": 0.05}}})

    def write_run(
        name: str,
        y: np.ndarray,
        y_pred: np.ndarray,
        keys: np.ndarray,
    ) -> Run:
        predictions = Predictions(
            schema.learning_task,
            y,
            y_pred[:, None],
            np.ones(len(y)),
        )
        scored = uncertainty.score_and_resample(predictions)
        scores = compare_with_baselines(scored, {}, {}, ("mae",))
        evaluation = Evaluation(main_metrics=("mae",), scores=tuple(scores))
        folder = Path(name)
        (folder / "plots").mkdir(parents=True, exist_ok=True)
        write_json(folder / "scores.json", evaluation.model_dump(exclude_defaults=True))
        both_keys = {"row": keys, "line": keys}
        rows = plot_data.kept_test_rows(predictions, both_keys)
        write_points(folder / "plots/test_rows.csv", rows, plot_data.MAX_KEPT_ROWS)
        return Run(WORKSPACE, folder)

    def choose_test_rows(
        by: str,
        rng: np.random.Generator,
        keys: np.ndarray,
    ) -> np.ndarray:
        """Choose a third of the rows; `time` takes the last ones."""
        rows = len(keys)
        if by == "hash":
            return np.flatnonzero(keys < plot_data.MAX_KEY // 3)
        return (
            np.arange(rows * 2 // 3, rows)
            if by == "time"
            else rng.permutation(rows)[: rows // 3]
        )

    settings = product((768, 4000), (0.01, 0.3), ("random", "hash", "time"))
    with TemporaryDirectory() as scratch, chdir(scratch):
        Path("data").mkdir()
        Path("data/schema.yaml").write_text(schema.model_dump_json(exclude_none=True))
        for (table_rows, growth, by), case in product(
            settings,
            ("equal", "a fifth worse"),
        ):
            rng = np.random.default_rng(0)
            failed = 0
            for _ in range(draws):
                rows = round(table_rows * (1 + growth))
                y, (model, _, last) = draw_predictions(rng, "regression", rows, case)
                keys = rng.integers(0, plot_data.MAX_KEY, rows)
                test, old = (
                    choose_test_rows(by, rng, keys[:n]) for n in (rows, table_rows)
                )
                run = write_run("run", y[test], model[test], keys[test])
                base = write_run("base", y[old], last[old], keys[old])
                evaluation = run.require_evaluation()
                verdict = evaluate_gate(evaluation, rules, schema.learning_task)
                verdict = compare_with_base(verdict, run, base, rules)
                failed += verdict.checks[-1].status == "fail"
            name = (
                f"last run, {table_rows} rows, {growth:.0%} more, {by}, {case}: worse"
            )
            if case == "equal":
                yield at_most(name, failed / draws, 0.05)
            else:
                limit = 0.2 if table_rows < 1000 else 0.85
                yield at_least(name, failed / draws, limit)


main = partial(simulate, __name__)

if __name__ == "__main__":
    main()
