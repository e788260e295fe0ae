"""The gate gives the right verdict as often as it should, for predictions of known quality.

Nothing is trained: test rows and predictions are drawn, and the functions that evaluate and the
gate use do the rest. The figures in docs/scores.md are from these tests.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr

from keras_tabular.config.params import Params
from keras_tabular.config.sections import Gate, Split
from keras_tabular.core.files import write_json, write_points
from keras_tabular.evaluation import plot_data
from keras_tabular.evaluation.result import compare_with_baselines
from keras_tabular.experiments.gate import compare_with_base, evaluate_gate, make_base
from keras_tabular.experiments.run import WORKSPACE, Run
from keras_tabular.scoring import uncertainty
from keras_tabular.scoring.evaluation import Evaluation, to_json
from keras_tabular.scoring.scores import Predictions
from tests.helpers import BINARY, build_schema, load_train_params

TRAINING_ROWS = 2  # for each test row, as with `split.test_size: 0.33`
BEAT_ALL = Gate(beat_baselines=("constant", "linear", "boosted"))
TRAIN_PARAMS = {loss: load_train_params(loss=loss) for loss in ("auto", "mean_absolute_error")}
SPLIT = Split(test_size=0.33, validation_size=0.0, seed=9)

# How much of the variance of the target the model, the linear and the boosted baseline know.
CASES = {
    "worse": (0.25, 0.3, 0.35),
    "equal": (0.35, 0.3, 0.35),
    "slightly better": (0.4, 0.3, 0.35),
    "clearly better": (0.5, 0.3, 0.35),
}


@pytest.fixture(autouse=True)
def _without_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save minutes: the intervals of the errors that decide have formulas."""
    monkeypatch.setattr(uncertainty, "DRAWS", 2)


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


def verdict_of(
    task: str,
    y: np.ndarray,
    y_pred: list[np.ndarray],
    constant: float,
    loss: str = "auto",
    group: np.ndarray | None = None,
) -> str:
    """Evaluate predictions, and return the verdict of a gate that asks for all baselines.

    Args:
        y_pred: Of the model, the linear and the boosted baseline.
    """
    schema = build_schema(task)
    learning_task, key = schema.learning_task, schema.learning_task.main_metric
    model, linear, boosted = (values[:, None] for values in y_pred)
    columns = {"constant": np.full(model.shape, constant), "linear": linear, "boosted": boosted}
    fitted = {learning_task.baselines[kind]: {"test": column} for kind, column in columns.items()}
    rows = Predictions(learning_task, y, model, np.ones(len(y)), group=group)
    scored = uncertainty.score_and_resample(rows)
    test = compare_with_baselines(scored, fitted, dict.fromkeys(fitted, 0.5), (key,))
    params = Params(gate=BEAT_ALL, split=SPLIT, train=TRAIN_PARAMS[loss])
    verdict = evaluate_gate(Evaluation((key,), {"test": test}), params, schema, {})
    nothing = verdict.headline == "Nothing was learnt"
    return "nothing learnt" if nothing else verdict.status


def count_verdicts(task: str, rows: int, case: str, draws: int, in_groups: bool) -> Counter[str]:
    """Count how often each verdict comes."""
    rng, counts = np.random.default_rng(0), Counter[str]()
    group = np.arange(rows) // 10 if in_groups else None
    middle, spread = (0.5, 0.5) if task == "binary" else (0.0, 1.0)
    for _ in range(draws):
        constant = rng.normal(middle, spread / (TRAINING_ROWS * rows) ** 0.5)
        y, y_pred = draw_predictions(rng, task, rows, case, in_groups)
        counts[verdict_of(task, y, y_pred, constant, group=group)] += 1
    return counts


@pytest.mark.parametrize("in_groups", [False, True])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_how_often_each_verdict_comes(task: str, in_groups: bool) -> None:
    """400 draws for each number of rows, 100 for 10,000 rows. Groups have ten rows."""
    false_verdicts = draws = 0
    for rows, number in {100: 400, 250: 400, 1000: 400, 10_000: 100}.items():
        counts = {case: count_verdicts(task, rows, case, number, in_groups) for case in CASES}
        print(task, rows, in_groups, number, counts)
        draws += number
        false_verdicts += counts["equal"]["pass"] + counts["equal"]["fail"]
        assert counts["worse"]["pass"] <= 0.02 * number
        assert counts["clearly better"]["fail"] <= 0.02 * number
        if rows >= 1000 and not in_groups:
            assert counts["worse"]["fail"] >= 0.8 * number
            assert counts["clearly better"]["pass"] >= 0.8 * number
    assert false_verdicts <= 0.05 * draws


TARGETS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "binary": lambda rng, rows: (rng.random(rows) < 0.5).astype(float),
    "rare": lambda rng, rows: (rng.random(rows) < 0.1).astype(float),
    "normal": lambda rng, rows: rng.normal(size=rows),
    "lognormal": lambda rng, rows: rng.lognormal(size=rows),
}


@pytest.mark.parametrize("overfitted", [0.0, 0.03])
@pytest.mark.parametrize("rows", [100, 1000])
@pytest.mark.parametrize(
    ("target", "loss"),
    [*((name, "auto") for name in TARGETS), ("lognormal", "mean_absolute_error")],
)
def test_nothing_is_learnt_from_noise(target: str, loss: str, rows: int, overfitted: float) -> None:
    """Models that predict a constant and noise have learnt nothing in 95 % of 400 draws.

    The constant of the model is the best one for four fifths of the training rows.

    The baselines learn from all training rows, as if the others were validation rows.
    """
    rng, learnt, draw = np.random.default_rng(0), 0, TARGETS[target]
    task = "binary" if target in ("binary", "rare") else "regression"
    average = np.median if loss == "mean_absolute_error" else np.mean
    for _ in range(400):
        y, train = draw(rng, rows), draw(rng, TRAINING_ROWS * rows)
        constant, of_model = float(average(train)), float(average(train[: len(train) * 4 // 5]))
        noise = overfitted * train.std() * rng.normal(size=(3, rows))
        predictions = [value + noise[n] for n, value in enumerate((of_model, constant, constant))]
        if task == "binary":
            predictions = [np.clip(values, 0.001, 0.999) for values in predictions]
        learnt += verdict_of(task, y, predictions, constant, loss=loss) != "nothing learnt"
    print(target, loss, rows, overfitted, learnt / 400)
    assert learnt <= 0.05 * 400


@pytest.mark.parametrize("rows", [250, 4000])
def test_a_model_that_is_as_good_is_not_worse_than_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """At most 5 % of 200 pairs of runs fail on the same test rows, and none on other test rows."""
    monkeypatch.chdir(tmp_path)
    schema = build_schema("binary")
    Path("data").mkdir()
    Path("data/schema.yaml").write_text(schema.model_dump_json(exclude_none=True))
    gate = Gate.model_validate({"worse_than_last": {"test": {"loss": 0.0}}})
    params = Params(gate=gate, split=SPLIT, train=TRAIN_PARAMS["auto"])

    def write_run(name: str, y: np.ndarray, y_pred: np.ndarray) -> Run:
        predictions = Predictions(BINARY, y, y_pred[:, None], np.ones(len(y)))
        scored = uncertainty.score_and_resample(predictions)
        test = compare_with_baselines(scored, {}, {}, ("accuracy",))
        folder, evaluation = tmp_path / name, Evaluation(("accuracy",), {"test": test})
        (folder / "plots").mkdir(parents=True, exist_ok=True)
        write_json(folder / "scores.json", to_json(evaluation))
        rows = plot_data.kept_test_rows(predictions, schema)
        write_points(folder / "plots/test_rows.csv", rows, plot_data.MAX_KEPT_ROWS)
        return Run(WORKSPACE, folder)

    rng, counts = np.random.default_rng(0), {"same": Counter[str](), "other": Counter[str]()}
    for _ in range(200):
        y, (first, _, second) = draw_predictions(rng, "binary", rows, "equal")
        other_y, (other, *_) = draw_predictions(rng, "binary", rows, "equal")
        run = write_run("run", y, first)
        for base in (write_run("same", y, second), write_run("other", other_y, other)):
            evaluation = run.require_evaluation()
            verdict = evaluate_gate(evaluation, params, schema, {})
            limits = params.gate.worse_than_last
            verdict = compare_with_base(verdict, evaluation, make_base(run, base), limits)
            counts[base.metrics.name][verdict.checks[0].status] += 1
    print(rows, counts)
    assert counts["same"]["fail"] <= 0.05 * 200
    assert counts["same"]["skipped"] == 0
    assert counts["other"]["fail"] == 0
    assert counts["other"]["skipped"] > 0
