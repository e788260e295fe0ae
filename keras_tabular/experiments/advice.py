"""What to try next: a table of rules, each with a condition, a sentence and a command."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from keras_tabular.config.params import Params
from keras_tabular.config.schema import Schema
from keras_tabular.core.errors import format_list
from keras_tabular.core.metrics import BASELINES, TASKS, metric
from keras_tabular.core.numbers import format_number
from keras_tabular.evaluation.evaluation import NO_SCORES, Evaluation
from keras_tabular.experiments.verdict import Check

OVERFITTED = 0.7  # a training loss below this share of the cross-validated one is overfitting
MORE_DROPOUT, MOST_DROPOUT = 0.2, 0.5
TEST_ROWS = "data/split/test/part-00000.parquet"
Step = tuple[str, str]  # a sentence and a command, which may be empty


def next_steps(
    evaluation: Evaluation,
    constant: Check,
    strongest: Check | None,
    schema: Schema,
    params: Params,
    networks: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    """Collect what to try next.

    Args:
        constant: The comparison with the constant baseline.
        strongest: The comparison with the strongest of the other baselines.
        params: The sections `split` and `train`.
        networks: Weight and parameters of each architecture that was trained.
    """
    if constant.verdict != "pass":
        return [
            "look whether the target stands in the right rows, and whether the columns can tell "
            "anything of it; more rows or other columns are needed before a model is of use"
        ]
    steps = [
        *_steps_about_rows(evaluation, schema, params),
        *_steps_about_overfitting(evaluation, networks),
        *_steps_about_baseline(strongest, schema.task, params),
    ]
    return [f"{text}: `{command}`" if command else text for text, command in steps]


def _steps_about_rows(evaluation: Evaluation, schema: Schema, params: Params) -> Iterator[Step]:
    split, missed = params.split, format_list(evaluation.classes_not_found)
    if missed and schema.task == "binary":
        threshold = format_number(evaluation.threshold)
        yield (
            f"no test row of class {missed} is found at threshold {threshold}: choose a threshold "
            "on cross-validated rows",
            "dvc exp run -S 'evaluate.threshold={best: f1}'",
        )
    elif missed and not params.train.class_weight:
        yield (
            f"no test row of class {missed} is found: give rare classes a larger weight, or get "
            "more rows of them",
            "dvc exp run -S train.class_weight=balanced",
        )
    if "test" in evaluation.equal_rows and split.by == "random":
        command = "dvc exp run -S split.equal_rows=together"
        yield "keep equal rows on one side of the split", command
    if worse := _worse_on_test(evaluation):
        if split.by in ("random", "group", "hash"):
            command = f"dvc exp run -S split.seed={split.seed + 1}"
            yield f"{worse}: see whether other test rows do so too", command
        else:
            command = f"python -m keras_tabular drift {TEST_ROWS}"
            yield f"{worse}: see which columns have moved since the training rows", command


def _worse_on_test(evaluation: Evaluation) -> str:
    """Format how much the test rows do worse than cross-validated ones; empty if within chance.

    With a split by time they are compared with forward chaining, where that was asked for.
    """
    key = evaluation.primary_metrics[0]
    rows, place = "cross_validation", "cross-validated"
    if "forward_chaining" in evaluation.score_sets:
        rows, place = "forward_chaining", "on later rows by models of earlier ones"
    test = evaluation.test.model.get(key)
    folds = evaluation.score_sets.get(rows, NO_SCORES).model.get(key)
    if not test or not folds or not test.interval or not folds.interval:
        return ""
    chance = math.hypot(*(high - low for low, high in (test.interval, folds.interval))) / 2
    is_worse = (test.value < folds.value) == metric(key).greater_is_better
    if not is_worse or abs(folds.value - test.value) <= chance:
        return ""
    return (
        f"{metric(key).label} is {format_number(test.value, folds.value)} on test rows and "
        f"{format_number(folds.value, test.value)} {place}, which is more than chance"
    )


def _steps_about_overfitting(
    evaluation: Evaluation, networks: Mapping[str, Mapping[str, Any]]
) -> Iterator[Step]:
    train, folds = (
        evaluation.score_sets.get(rows, NO_SCORES).model.value("loss")
        for rows in ("train", "cross_validation")
    )
    if train is None or folds is None or train >= OVERFITTED * folds:
        return
    text = (
        f"the loss is {format_number(train, folds)} on training rows and "
        f"{format_number(folds, train)} cross-validated: more rows are likely to help"
    )
    heaviest = max(networks, key=lambda name: networks[name].get("weight", 0), default="")
    params = networks[heaviest].get("params", {}) if heaviest else {}
    dropout = round(params.get("dropout", 0.0) + MORE_DROPOUT, 2)
    if heaviest and dropout <= MOST_DROPOUT:
        command = f"dvc exp run -S train.networks.{heaviest}.dropout={dropout:g}"
        yield f"{text}, or more dropout", command
    else:
        yield text, ""


def _steps_about_baseline(strongest: Check | None, task: str, params: Params) -> Iterator[Step]:
    if strongest is None or strongest.verdict == "pass":
        return
    name = BASELINES[strongest.subject]
    is_linear = strongest.subject == TASKS[task].baselines["linear"]
    if is_linear and "plain" in params.train.networks:
        yield (
            f"{name} is simpler, and the model is not shown to be better: make a linear Keras "
            "model",
            "dvc exp run -S 'train.members=[{network: plain}]' -S 'train.networks.plain.units=[]'",
        )
    elif strongest.verdict == "fail":
        text = f"{name} is better: use it, or look for better parameters"
        yield text, "python -m keras_tabular search"
