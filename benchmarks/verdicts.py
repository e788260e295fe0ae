"""Measure how often the gate gives each verdict, for predictions of known quality.

Nothing is trained: test rows and predictions are drawn, and the functions that evaluate and the
gate use do the rest. There are three simulations:

- How often each verdict comes: 400 draws for each number of test rows, 100 for 10,000 rows. The
  predictions of the model and of its baselines explain given shares of the variance of the target.
  Groups have ten rows. The table shows percents of draws: nothing learnt / worse / no significant
  difference / better.
- `noise`: a model that predicts a constant, or noise around it, has to have learnt nothing. The
  constant of the model is the best one for four fifths of the training rows. The baselines learn
  from all training rows, as if the others were validation rows. There are 400 draws.
- `last run`: a model that is as good as the last one is not worse, in 200 pairs of runs on the same
  test rows, and never on other test rows.

The figures in docs/scores.md are from this script. The exit code is 1 if a limit is exceeded.

    python -m benchmarks.verdicts
"""

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import chdir
from itertools import chain, product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy.special import ndtr

from benchmarks.intervals import Measurement, build_schema, print_measurements
from keras_tabular.config.params import Params, load_params
from keras_tabular.config.schema import load_schema
from keras_tabular.config.sections import Gate, Split
from keras_tabular.core.errors import align_columns
from keras_tabular.core.files import write_json, write_points
from keras_tabular.evaluation import plot_data
from keras_tabular.evaluation.result import compare_with_baselines
from keras_tabular.experiments.gate import compare_with_base, evaluate_gate
from keras_tabular.experiments.run import WORKSPACE, Run
from keras_tabular.scoring import uncertainty
from keras_tabular.scoring.evaluation import Evaluation
from keras_tabular.scoring.scores import Predictions

PROJECT = Path(__file__).parents[1]
TRAINING_ROWS = 2  # for each test row, as with `split.test_size: 0.33`
BEAT_ALL = Gate(beat_baselines=("constant", "linear", "boosted"))
SPLIT = Split(test_size=0.33, validation_size=0.0, seed=9)
TRAIN = load_params(
    "train", schema=load_schema(PROJECT / "data/schema.yaml"), path=PROJECT / "params.yaml"
).train
TRAIN_PARAMS = {loss: TRAIN.with_values({"loss": loss}) for loss in ("auto", "mean_absolute_error")}
# How much of the variance of the target the model, the linear and the boosted baseline know.
CASES = {
    "worse": (0.25, 0.3, 0.35),
    "equal": (0.35, 0.3, 0.35),
    "slightly better": (0.4, 0.3, 0.35),
    "clearly better": (0.5, 0.3, 0.35),
}
DRAWS = {100: 400, 250: 400, 1000: 400, 10_000: 100}  # by the number of test rows
NOTHING_LEARNT = "nothing learnt"
VERDICTS = (NOTHING_LEARNT, "fail", "undecided", "pass")
# A target of noise, by its name and the loss of the model.
TARGETS: dict[tuple[str, str], Callable[[np.random.Generator, int], np.ndarray]] = {
    ("binary", "auto"): lambda rng, rows: (rng.random(rows) < 0.5).astype(float),
    ("rare", "auto"): lambda rng, rows: (rng.random(rows) < 0.1).astype(float),
    ("normal", "auto"): lambda rng, rows: rng.normal(size=rows),
    ("lognormal", "auto"): lambda rng, rows: rng.lognormal(size=rows),
    ("lognormal", "mean_absolute_error"): lambda rng, rows: rng.lognormal(size=rows),
}


def draw_predictions(
    rng: np.random.Generator, task: str, rows: int, case: str, in_groups: bool = False
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Draw labels, and calibrated predictions that explain shares of their variance.

    The target is normal, or for two classes whether a normal value is positive. Most of what the
    weakest predictions know is common to all. In groups of ten rows, half of the variance of all
    is common to a group.
    """

    def draw(variance: float) -> np.ndarray:
        if not in_groups:
            return rng.normal(0, variance**0.5, rows)
        of_group, of_row = rng.normal(0, (variance / 2) ** 0.5, (2, rows))
        return of_group[np.arange(rows) // 10] + of_row

    shares = CASES[case]
    common = 0.8 * min(shares)
    shared, parts = draw(common), [draw(share - common) for share in shares]
    target = shared + np.sum(parts, axis=0) + draw(1 - sum(shares) + 2 * common)
    means = [shared + part for part in parts]
    if task == "regression":
        return target, means
    errors = [(1 - share) ** 0.5 for share in shares]
    return (target > 0).astype(float), [ndtr(m / e) for m, e in zip(means, errors, strict=True)]


def compute_verdict(
    task: str,
    y: np.ndarray,
    y_pred: list[np.ndarray],
    constant: float,
    loss: str = "auto",
    group: np.ndarray | None = None,
) -> str:
    """Evaluate predictions, and return the verdict of a gate that asks for all baselines.

    Args:
        y_pred: Predictions of the model, the linear and the boosted baseline.
    """
    schema = build_schema(task)
    learning_task = schema.learning_task
    names, key = learning_task.baselines, learning_task.main_metric
    model, linear, boosted = (values[:, None] for values in y_pred)
    columns = {"constant": np.full(model.shape, constant), "linear": linear, "boosted": boosted}
    fitted = {names[kind]: {"test": column} for kind, column in columns.items()}
    rows = Predictions(learning_task, y, model, np.ones(len(y)), group=group)
    scored = uncertainty.score_and_resample(rows)
    scores = compare_with_baselines(scored, fitted, dict.fromkeys(fitted, 0.5), (key,))
    params = Params(gate=BEAT_ALL, split=SPLIT, train=TRAIN_PARAMS[loss])
    evaluation = Evaluation(primary_metrics=(key,), scores=tuple(scores))
    verdict = evaluate_gate(evaluation, params, schema, {})
    return NOTHING_LEARNT if verdict.headline == "Nothing was learnt" else verdict.status


def count_verdicts(
    task: str, rows: int, case: str, draws: int, in_groups: bool = False
) -> Counter[str]:
    """Count how often each verdict comes."""
    rng, counts = np.random.default_rng(0), Counter[str]()
    group = np.arange(rows) // 10 if in_groups else None
    middle, spread = (0.5, 0.5) if task == "binary" else (0.0, 1.0)
    for _ in range(draws):
        constant = rng.normal(middle, spread / (TRAINING_ROWS * rows) ** 0.5)
        y, y_pred = draw_predictions(rng, task, rows, case, in_groups)
        counts[compute_verdict(task, y, y_pred, constant, group=group)] += 1
    return counts


def measure_verdicts() -> Iterator[Measurement]:
    """Print a table of all verdicts, and yield how often they are wrong."""
    for task, in_groups in product(("binary", "regression"), (False, True)):
        setting = f"{task}{', groups of ten' if in_groups else ''}"
        counts = {
            case: {
                rows: count_verdicts(task, rows, case, n, in_groups) for rows, n in DRAWS.items()
            }
            for case in CASES
        }
        lines = [[setting, *(f"{rows:,} rows" for rows in DRAWS)]]
        for case, by_rows in counts.items():
            cells = [
                " / ".join(f"{100 * verdicts[name] / DRAWS[rows]:.0f}" for name in VERDICTS)
                for rows, verdicts in by_rows.items()
            ]
            lines.append([case, *cells])
        print(align_columns(lines), flush=True)

        equal = sum((each for each in counts["equal"].values()), Counter[str]())
        share = (equal["pass"] + equal["fail"]) / equal.total()
        yield Measurement(f"{setting}, equal: better or worse", share, 0.05, is_minimum=False)
        for rows, draws in DRAWS.items():
            worse, better = counts["worse"][rows], counts["clearly better"][rows]
            name = f"{setting}, {rows} rows"
            wrong = max(worse["pass"], better["fail"]) / draws
            yield Measurement(f"{name}: the opposite verdict", wrong, 0.02, is_minimum=False)
            if rows >= 1000 and not in_groups:
                right = min(worse["fail"], better["pass"]) / draws
                yield Measurement(f"{name}: the right verdict", right, 0.8, is_minimum=True)


def measure_noise(draws: int = 400) -> Iterator[Measurement]:
    """Yield how often the gate says that a model of noise has learnt something."""
    for ((target, loss), draw), rows, noise in product(TARGETS.items(), (100, 1000), (0.0, 0.03)):
        rng, learnt = np.random.default_rng(0), 0
        task = "binary" if target in ("binary", "rare") else "regression"
        average = np.median if loss == "mean_absolute_error" else np.mean
        for _ in range(draws):
            y, train = draw(rng, rows), draw(rng, TRAINING_ROWS * rows)
            constant, of_model = float(average(train)), float(average(train[: len(train) * 4 // 5]))
            errors = noise * train.std() * rng.normal(size=(3, rows))
            y_pred = [value + errors[n] for n, value in enumerate((of_model, constant, constant))]
            if task == "binary":
                y_pred = [np.clip(values, 0.001, 0.999) for values in y_pred]
            learnt += compute_verdict(task, y, y_pred, constant, loss=loss) != NOTHING_LEARNT
        name = f"noise {noise:g}, {target}, loss {loss}, {rows} rows"
        yield Measurement(name, learnt / draws, 0.05, is_minimum=False)


def measure_comparisons_with_the_last_run(draws: int = 200) -> Iterator[Measurement]:
    """Yield how often a model that is as good as the last one is called worse."""
    schema = build_schema("binary")
    gate = Gate.model_validate({"worse_than_last": {"test": {"loss": 0.0}}})
    params = Params(gate=gate, split=SPLIT, train=TRAIN_PARAMS["auto"])

    def write_run(name: str, y: np.ndarray, y_pred: np.ndarray) -> Run:
        predictions = Predictions(schema.learning_task, y, y_pred[:, None], np.ones(len(y)))
        scored = uncertainty.score_and_resample(predictions)
        scores = compare_with_baselines(scored, {}, {}, ("accuracy",))
        evaluation = Evaluation(primary_metrics=("accuracy",), scores=tuple(scores))
        folder = Path(name)
        (folder / "plots").mkdir(parents=True, exist_ok=True)
        write_json(folder / "scores.json", evaluation.model_dump(exclude_defaults=True))
        rows = plot_data.kept_test_rows(predictions)
        write_points(folder / "plots/test_rows.csv", rows, plot_data.MAX_KEPT_ROWS)
        return Run(WORKSPACE, folder)

    for rows in (250, 4000):
        rng, counts = np.random.default_rng(0), {"same": Counter[str](), "other": Counter[str]()}
        with TemporaryDirectory() as scratch, chdir(scratch):
            Path("data").mkdir()
            Path("data/schema.yaml").write_text(schema.model_dump_json(exclude_none=True))
            for _ in range(draws):
                y, (first, _, second) = draw_predictions(rng, "binary", rows, "equal")
                other_y, (other, *_) = draw_predictions(rng, "binary", rows, "equal")
                run = write_run("run", y, first)
                for base in (write_run("same", y, second), write_run("other", other_y, other)):
                    verdict = evaluate_gate(run.require_evaluation(), params, schema, {})
                    limits = params.gate.worse_than_last
                    verdict = compare_with_base(verdict, run, base, limits)
                    counts[base.metrics.name][verdict.checks[0].status] += 1
        for name, limit in (("same", 0.05), ("other", 0.0)):
            share = counts[name]["fail"] / draws
            title = f"last run, {name} {rows} test rows: worse"
            yield Measurement(title, share, limit, is_minimum=False)


def main() -> None:
    ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    uncertainty.DRAWS = 2  # saves minutes: the intervals of the errors that decide have formulas
    print_measurements(
        chain(measure_verdicts(), measure_noise(), measure_comparisons_with_the_last_run())
    )


if __name__ == "__main__":
    main()
