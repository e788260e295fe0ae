"""What to try next: a table of rules, each with a condition, a sentence and a command."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from tabular.config.params import Params
from tabular.config.schema import Schema
from tabular.core.errors import listed
from tabular.core.metrics import BASELINES, TASKS, metric
from tabular.core.numbers import format_number
from tabular.evaluation.evaluation import NO_SCORES, Evaluation
from tabular.runs.verdict import Check

OVERFITTED = 0.7  # a training loss below this share of the cross-validated one is overfitting
MORE_DROPOUT, MOST_DROPOUT = 0.2, 0.5
TEST_ROWS = "data/split/test/part-00000.parquet"


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
    rules = [
        *_rules_about_rows(evaluation, schema, params),
        *_rules_about_overfitting(evaluation, networks),
        *_rules_about_baseline(strongest, schema.task, params.train.networks),
    ]
    return [f"{text}{command and f': `{command}`'}" for holds, text, command in rules if holds]


Rule = tuple[bool, str, str]  # whether it holds, a sentence, and a command


def _rules_about_rows(evaluation: Evaluation, schema: Schema, params: Params) -> list[Rule]:
    split, binary = params.split, schema.task == "binary"
    missed, worse = evaluation.classes_not_found, _worse_on_test(evaluation)
    draws = split.by in ("random", "group", "hash")
    return [
        (
            bool(missed) and binary,
            f"no test row of class {listed(missed)} is found at threshold "
            f"{format_number(evaluation.threshold)}: choose a threshold on cross-validated rows",
            "dvc exp run -S 'evaluate.threshold={best: f1}'",
        ),
        (
            bool(missed) and not binary and not params.train.class_weight,
            f"no test row of class {listed(missed)} is found: give rare classes a larger weight, "
            "or get more rows of them",
            "dvc exp run -S train.class_weight=balanced",
        ),
        (
            "test" in evaluation.equal_rows and split.by == "random",
            "keep equal rows on one side of the split",
            "dvc exp run -S split.equal_rows=together",
        ),
        (
            bool(worse) and draws,
            f"{worse}: see whether other test rows do so too",
            f"dvc exp run -S split.seed={split.seed + 1}",
        ),
        (
            bool(worse) and not draws,
            f"{worse}: see which columns have moved since the training rows",
            f"python -m commands.drift {TEST_ROWS}",
        ),
    ]


def _rules_about_overfitting(
    evaluation: Evaluation, networks: Mapping[str, Mapping[str, Any]]
) -> list[Rule]:
    train, folds = (
        evaluation.score_sets.get(rows, NO_SCORES).model.value("loss")
        for rows in ("train", "cross_validation")
    )
    if train is None or folds is None:
        return []
    dropout = _more_dropout(networks)
    text = (
        f"the loss is {format_number(train, folds)} on training rows and "
        f"{format_number(folds, train)} cross-validated: more rows are likely to "
        f"help{dropout and ', or more dropout'}"
    )
    return [(train < OVERFITTED * folds, text, dropout)]


def _rules_about_baseline(
    strongest: Check | None, task: str, networks: Collection[str]
) -> list[Rule]:
    name, verdict = (strongest.subject, strongest.verdict) if strongest else ("", "")
    is_linear = name == TASKS[task].baselines["linear"] and "plain" in networks
    return [
        (
            is_linear and verdict in ("undecided", "fail"),
            f"{BASELINES.get(name)} is simpler, and the model is not shown to be better: make a "
            "linear Keras model",
            "dvc exp run -S 'train.members=[{network: plain}]' -S 'train.networks.plain.units=[]'",
        ),
        (
            verdict == "fail" and not is_linear,
            f"{BASELINES.get(name)} is better: use it, or look for better parameters",
            "python -m commands.search",
        ),
    ]


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


def _more_dropout(networks: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the command for more dropout of the architecture with the largest weight, if any."""
    name = max(networks, key=lambda name: networks[name].get("weight", 0), default="")
    before = networks.get(name, {}).get("params", {}).get("dropout", 0.0)
    dropout = round(before + MORE_DROPOUT, 2)
    if not name or dropout > MOST_DROPOUT:
        return ""
    return f"dvc exp run -S train.networks.{name}.dropout={dropout:g}"
