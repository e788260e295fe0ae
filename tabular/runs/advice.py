"""What to try next, from what the scores of a run tell."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from tabular.config.schema import Schema
from tabular.config.sections import Split
from tabular.core.errors import listed
from tabular.core.metrics import BASELINES, TASKS, metric
from tabular.core.numbers import format_number
from tabular.evaluation.evaluation import Evaluation, Scores
from tabular.evaluation.summary import format_coverage, format_outside_training
from tabular.runs.verdict import BaselineCheck

# A primary metric, or R², that looks like a leak; and the lower bound of its interval, from where
# on there is little left to win.
SUSPICIOUS, NEARLY_PERFECT = 0.999, 0.98
OVERFITTED = 0.7  # a training loss below this share of the cross-validated one is overfitting
MORE_DROPOUT, MOST_DROPOUT = 0.2, 0.5
LINEAR = {task.baselines["linear"] for task in TASKS.values()}
TEST_ROWS = "data/split/test/part-00000.parquet"
CHOOSE = "`dvc exp run -S 'evaluate.threshold={best: f1}'` chooses one on cross-validated rows"

Networks = Mapping[str, Mapping[str, Any]]  # by name: `weight` and `params` where it was trained


def next_steps(
    evaluation: Evaluation,
    deciding: BaselineCheck | None,
    crossed: BaselineCheck | None,
    schema: Schema,
    split: Split,
    networks: Networks,
    *,
    weighted: bool = False,
) -> list[str]:
    """Collect what to try next; nothing where the scores tell nothing.

    Args:
        deciding: the comparison with a baseline that decides, if there is one.
        crossed: that of the cross-validated rows, if its verdict is worse.
        networks: each network of params.yaml.
        weighted: whether classes had weights in training.
    """
    key = "r2" if schema.task == "regression" else evaluation.primary_metrics[0]
    test, difference_step = evaluation.test.model, _difference_step(evaluation, split)
    score = test.value(key) or 0.0
    steps = [_missed_classes_step(evaluation, schema, weighted)]
    if deciding:
        steps += _baseline_steps(test.rows, deciding, difference_step)
        if not difference_step and score < NEARLY_PERFECT:
            steps.append(_fit_step(evaluation, deciding, crossed, networks))
        steps.append(_simpler_step(deciding, networks))
    if crossed:
        steps.append(f"cross-validation does not say so: {crossed.reason}")
    steps.append(difference_step)
    equal_rows = evaluation.equal_rows.get("test")
    if equal_rows and split.by == "random":  # it is the draw that mixed them
        steps.append(
            f"{equal_rows.equal:,} test rows equal a training row: "
            "`dvc exp run -S split.equal_rows=together` keeps such rows on one side"
        )
    steps.append(_outside_training_step(evaluation, schema, split))
    steps.append(_threshold_step(evaluation, schema))
    steps.append(_suspicious_step(test, key))
    return [step for step in steps if step]


def _missed_classes_step(evaluation: Evaluation, schema: Schema, weighted: bool) -> str | None:
    """Advise how to find classes of which no test row is found."""
    missed, rows = evaluation.classes_not_found, evaluation.test.model.rows
    if not missed:
        return None
    problem = f"recall of {listed(missed)} is 0 on {rows:,} test rows"
    if schema.task == "binary":
        return f"{problem} at threshold {format_number(evaluation.threshold)}: {CHOOSE}"
    if weighted:
        return f"{problem}, also with train.class_weight: it takes more rows of it"
    return f"{problem}: try `dvc exp run -S train.class_weight=balanced`, or more rows of it"


def _baseline_steps(
    rows: int, deciding: BaselineCheck, difference_step: str | None
) -> Iterator[str]:
    """Advise how many test rows would show a difference, or what to use instead of the model.

    A search by cross-validated rows helps where the test rows are alike.
    """
    difference, low, high = deciding.difference
    if deciding.verdict == "level" and difference:
        needed = rows * ((high - low) / 2 / difference) ** 2
        unit = 10 ** max(int(math.log10(max(needed, 1))) - 1, 0)  # two digits are kept
        if needed > rows:
            yield (
                f"too few test rows to tell: a difference of {format_number(abs(difference))} "
                f"shows from about {math.ceil(needed / unit) * unit:,} rows on, and these are "
                f"{rows:,}"
            )
    if deciding.verdict == "fail":
        name = BASELINES[deciding.subject]
        search = ", or look for better values: `python -m commands.search`"
        better = f"{name} is better by {format_number(abs(difference))}: use it"
        yield better + ("" if difference_step else search)


def _fit_step(
    evaluation: Evaluation,
    deciding: BaselineCheck,
    crossed: BaselineCheck | None,
    networks: Networks,
) -> str | None:
    """Advise what to do about overfitting; or what else may help, where no baseline is better."""
    if evaluation.train is None or evaluation.cross_validation is None:
        return None
    train = evaluation.train.model.value("loss")
    folds = evaluation.cross_validation.model.value("loss")
    if train is None or folds is None:
        return None
    losses = (
        f"{format_number(train, folds)} on training rows and {format_number(folds, train)} "
        "cross-validated"
    )
    if train < OVERFITTED * folds:
        more_rows = f"the loss is {losses}: more rows are likely to help"
        name = max(networks, key=lambda kind: networks[kind].get("weight", 0), default="")
        before = networks.get(name, {}).get("params", {}).get("dropout", 0.0)
        dropout = round(before + MORE_DROPOUT, 2)
        if not name or dropout > MOST_DROPOUT:
            return more_rows
        return f"{more_rows}, or `dvc exp run -S train.networks.{name}.dropout={dropout:g}`"
    if deciding.verdict != "level" or (crossed and crossed.verdict == "fail"):
        return None
    return (
        f"the loss is {losses}, little overfitting, and {BASELINES[deciding.subject]} is level: "
        "other columns are likely to help more than more rows"
    )


def _simpler_step(deciding: BaselineCheck, networks: Networks) -> str | None:
    """Offer a linear model that is as good, or better, with all that a saved model has."""
    name, verdict = deciding.subject, deciding.verdict
    if verdict == "pass" or name not in LINEAR or "plain" not in networks:
        return None
    advantage = "level and simpler" if verdict == "level" else "better"
    return (
        f"{BASELINES[name]} is {advantage}: `dvc exp run -S 'train.members=[{{network: "
        "plain}]' -S 'train.networks.plain.units=[]'` makes a linear Keras model to predict and "
        "serve with"
    )


def _difference_step(evaluation: Evaluation, split: Split) -> str | None:
    """Advise what to look at where the test rows do worse than cross-validated ones."""
    coverage = evaluation.interval_coverage
    reasons = [_lower_score(evaluation, evaluation.primary_metrics[0])]
    if coverage and coverage.high < coverage.nominal:
        reasons.append(format_coverage(coverage))
    evidence = "; ".join(filter(None, reasons))
    if not evidence:
        return None
    if split.by in ("random", "group", "hash"):  # by the seed
        seed = f"`dvc exp run -S split.seed={split.seed + 1}`"
        return f"{evidence}: {seed} tells whether other test rows do so too"
    step = (
        f"{evidence}: the test rows (split.by: {split.by}) are not as the training rows; "
        f"`python -m commands.drift {TEST_ROWS}` names the columns that moved"
    )
    if split.by != "time":
        return step
    if evaluation.forward_chaining is None:
        step += (
            "; `dvc exp run -S train.forward_chaining=3` cross-validates with models of earlier "
            "rows alone"
        )
    return f"{step}; and if no later rows are to be predicted, `dvc exp run -S split.by=random`"


def _lower_score(evaluation: Evaluation, key: str) -> str | None:
    """Format how much a score of the test rows is worse than cross-validated, if beyond chance.

    With a split by time it is compared with forward chaining, where that was asked for.
    """
    scores, place = evaluation.cross_validation, "cross-validated"
    if evaluation.forward_chaining:
        scores, place = evaluation.forward_chaining, "on later rows by models of earlier ones"
    test, folds = evaluation.test.model.get(key), scores and scores.model.get(key)
    if not test or not folds or not test.interval or not folds.interval:
        return None
    gap = abs(folds.value - test.value)
    chance = math.hypot(*(high - low for low, high in (test.interval, folds.interval))) / 2
    worse = (test.value < folds.value) == metric(key).greater_is_better
    if not worse or gap <= chance:
        return None
    return (
        f"{metric(key).label} is {format_number(test.value, folds.value)} on test rows and "
        f"{format_number(folds.value, test.value)} {place}, a difference of "
        f"{format_number(gap, chance)} where chance gives up to {format_number(chance, gap)}"
    )


def _outside_training_step(evaluation: Evaluation, schema: Schema, split: Split) -> str | None:
    """Advise what to do about columns in which test rows lie outside what training saw."""
    if not evaluation.outside_training:
        return None
    text = format_outside_training(evaluation.outside_training)
    step = f"{text}: a column under `ignore` in data/schema.yaml is not read"
    times = {n for n, column in schema.columns.items() if column.feature_type == "datetime"}
    if split.by == "time" and evaluation.outside_training.keys() & {*times, schema.time}:
        step += ", and may still be the time of the split"
    return step


def _threshold_step(evaluation: Evaluation, schema: Schema) -> str | None:
    """Advise to choose a threshold, where a class is rare and its rows are found at 0.5."""
    rare = schema.task == "binary" and len(evaluation.primary_metrics) > 1
    if not rare or evaluation.threshold != 0.5 or evaluation.classes_not_found:
        return None
    scores = evaluation.test.model
    recall, precision, f1 = (scores.value(key) for key in ("recall", "precision", "f1"))
    if recall is None or precision is None or f1 is None or f1 >= NEARLY_PERFECT:
        return None
    return (
        f"a class is rare: recall {format_number(recall)} and precision "
        f"{format_number(precision)} at threshold "
        f"{format_number(evaluation.threshold)}; {CHOOSE}"
    )


def _suspicious_step(test: Scores, key: str) -> str | None:
    """Ask for a leak where there is nearly no error."""
    estimate = test.get(key)
    if not estimate or not estimate.interval:
        return None
    value, (low, _) = estimate.value, estimate.interval
    if value < SUSPICIOUS or low < NEARLY_PERFECT:
        return None
    return (
        f"nearly no error, {metric(key).label} {format_number(value)} (from {format_number(low)} "
        "on): is the most important column known before the answer is, or a leak?"
    )
