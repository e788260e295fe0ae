"""The rules of the gate: the verdict that follows from the scores of a run alone.

A rule judges the 95% interval of a score or of a difference, see `judge`: it passes if the interval
keeps the limit, fails if the interval misses it, and is undecided if the limit lies inside, or if
the rule cannot be checked.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from keras_tabular.config.params import Params
from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Gate
from keras_tabular.config.task import Task
from keras_tabular.core.errors import format_list
from keras_tabular.evaluation.records import MODEL, Evaluation, format_number
from keras_tabular.evaluation.summary import evaluation_warnings, format_interval
from keras_tabular.gate.primary import NOT_SETTLED, PrimaryScores
from keras_tabular.gate.verdict import STATUSES, RuleResult, Verdict, judge

MIN_TRAINING_LOSS_RATIO = 0.7  # of training to cross-validated loss; below it, the networks overfit
MORE_DROPOUT, MAX_DROPOUT = 0.2, 0.5
CHECK_TARGETS = (  # the advice on a model that has learnt nothing
    "Check that each row has the right target, and that the columns can say anything about it. "
    "More rows or other columns may help"
)
SAME_DECISION = (  # the advice on a model that only ranks rows well
    "By the primary metric, the same prediction for every row may be as good as this model. "
    "More rows or other columns may help"
)
Networks = Mapping[str, Mapping[str, Any]]  # weight and parameters, by name of the architecture


def next_steps(
    evaluation: Evaluation,
    strongest: RuleResult | None,
    task: Task,
    params: Params,
    networks: Networks,
) -> list[str]:
    """Collect what to try next with a model that has learnt something.

    Args:
        strongest: The comparison with the strongest of the other baselines.
        params: The sections `split` and `train`.
        networks: Weight and parameters of each architecture that was trained.
    """
    return [
        *_advice_about_rows(evaluation, task, params),
        *_advice_about_overfitting(evaluation, networks),
        *_advice_about_baseline(strongest, task, params),
    ]


def _advice_about_rows(evaluation: Evaluation, task: Task, params: Params) -> Iterator[str]:
    by, classes = params.split.by, format_list(evaluation.classes_not_found)
    has_rule = bool(evaluation.predicted_positives)  # then DVC cannot set another rule with -S
    if classes and task.has_threshold and not has_rule:
        yield (
            f"With the threshold {format_number(evaluation.threshold)}, no test row of class "
            f"{classes} is predicted correctly. Choose a threshold on out-of-fold predictions: "
            "`dvc exp run -S 'evaluate.threshold={best: f1}'`"
        )
    elif classes and not params.train.class_weight:
        yield (
            f"No test row of class {classes} is predicted correctly. Add rows of rare classes, or "
            "give them a larger weight: `dvc exp run -S train.class_weight=balanced`"
        )
    if "test" in evaluation.duplicates and by == "random":
        command = "dvc exp run -S split.duplicates=together"
        yield f"Keep equal rows on the same side of the split: `{command}`"


def _advice_about_overfitting(evaluation: Evaluation, networks: Networks) -> Iterator[str]:
    train_loss, loss = (evaluation.value(rows, "loss") for rows in ("train", "cross_validation"))
    if (
        train_loss is None
        or loss is None
        or train_loss >= MIN_TRAINING_LOSS_RATIO * loss
        or not networks
    ):
        return
    heaviest = max(networks, key=lambda name: networks[name]["weight"])
    dropout = round(networks[heaviest]["params"].get("dropout", 0.0) + MORE_DROPOUT, 2)
    if dropout <= MAX_DROPOUT:
        yield (
            f"The networks overfit: the loss is {format_number(train_loss, loss)} on the training "
            f"rows but {format_number(loss, train_loss)} in cross-validation. Try more dropout: "
            f"`dvc exp run -S train.networks.{heaviest}.dropout={dropout:g}`"
        )


def _advice_about_baseline(
    strongest: RuleResult | None, task: Task, params: Params
) -> Iterator[str]:
    if strongest is None or strongest.status == "pass" or strongest.difference is None:
        return
    if strongest.difference.high < 0:  # better than one that broke down
        return
    name = task.baselines[strongest.subject]
    is_linear = strongest.subject == "linear"
    if is_linear and (plain := params.train.networks.get("plain")) and plain.units:
        yield (
            f"{name.capitalize()} is simpler, and the model is "
            f"{'worse' if strongest.status == 'fail' else 'not significantly better'}. Train a "
            "linear model with Keras: `dvc exp run -S 'train.members=[{network: plain}]' "
            "-S 'train.networks.plain.units=[]'`"
        )
    elif strongest.status == "fail":
        yield f"Use {name}, or search for better parameters: `python -m keras_tabular search`"


HELD_OUT = ("test", "cross_validation", "forward_chaining")  # row sets with intervals
KEEPS_RULES = "The run keeps every rule of the gate"


def evaluate_gate(
    evaluation: Evaluation, params: Params, schema: Schema, networks: Networks
) -> Verdict:
    """Check a run against the rules of the gate.

    First of all, the model has to have learnt something, see
    `PrimaryScores.compare_with_constant`. If it has not, that is only a warning if
    `beat_baselines` does not contain `dummy`. Then the limits are checked, and the model is
    compared with the other baselines by the paired difference of the primary metric on the test
    rows.

    Args:
        params: The sections `gate`, `split` and `train`.
        networks: Weight and parameters of each architecture that was trained.
    """
    gate, task = params.gate, schema.learning_task
    primary = PrimaryScores(evaluation, task)
    constant = primary.compare_with_constant()
    limits = [*check_limits(evaluation, gate)]
    names: list[str] = [name for name in gate.beat_baselines if name != "dummy"]
    breakdowns = {name: primary.find_breakdown(name) for name in names}
    margin = gate.margin or 0.0
    comparisons = [primary.compare_with(name, margin, breakdowns) for name in names]
    required = [constant] if "dummy" in gate.beat_baselines else []
    has_learnt, warnings = constant.status == "pass", [*evaluation_warnings(evaluation, task)]
    if has_learnt:
        broken = filter(None, breakdowns.values())
        warnings += [f"{text}, so that beating it shows nothing" for text in broken]
    elif not required:
        warnings.insert(0, constant.reason)
    strongest = min(comparisons, key=_rank, default=None)
    deciding, learnt = [] if has_learnt else required, has_learnt or bool(primary.ranking)
    if strongest and (not deciding or (strongest.status == "fail" and constant.status != "fail")):
        deciding = [*deciding, strongest]
    steps = [] if has_learnt else [SAME_DECISION if learnt else CHECK_TARGETS]
    steps += next_steps(evaluation, strongest, task, params, networks) if learnt else []
    verdict = Verdict(
        status="pass",
        headline=primary.headline(constant),
        reason=KEEPS_RULES,
        warnings=tuple(warnings),
        next_steps=tuple(steps),
        checks=(),
    )
    return add_checks(verdict, [*required, *limits, *comparisons], [*limits, *deciding])


def add_checks(
    verdict: Verdict, checks: Sequence[RuleResult], reasons: Sequence[RuleResult]
) -> Verdict:
    """Add checks to a verdict. Some of them explain it, unless they are limits that are kept."""
    status = min([verdict.status, *(check.status for check in checks)], key=STATUSES.index)
    texts = [verdict.reason] if verdict.reason != KEEPS_RULES else []
    for check in reasons:
        if check.status == "fail" and not check.metric:
            texts.insert(0, check.reason)
        elif check.status == "undecided" or check.metric:
            texts.append(check.reason)
    update = {"status": status, "reason": ". ".join(texts) or KEEPS_RULES}
    return verdict.model_copy(update=update | {"checks": (*verdict.checks, *checks)})


def _rank(check: RuleResult) -> tuple[int, float]:
    """Sort by status, the worst first, then by the baseline, the best first."""
    difference = check.difference
    return STATUSES.index(check.status), -difference.value if difference else float("inf")


def check_limits(evaluation: Evaluation, gate: Gate) -> Iterator[RuleResult]:
    """Check the limits that params.yaml gives.

    A score without an interval is judged by itself if its row set has no intervals. Otherwise, too
    few rows decide it.
    """
    scores = {score.key: score for score in evaluation.scores if score.model == MODEL}
    for rule, limits in (("min", gate.min), ("max", gate.max)):
        for key, limit in limits.items():
            name, score = f"{rule} {key}", scores.get(key)
            if score is None:
                reason = f"{key} is not among the scores of this run"
                yield RuleResult(rule=name, status="fail", reason=reason, allowed=limit)
                continue
            low, high = score.interval or (score.value, score.value)
            status = judge(low, high, limit) if rule == "max" else judge(-high, -low, -limit)
            if score.row_set in HELD_OUT and not score.interval and score.value not in (0, 1):
                status = "undecided"  # too few rows decide it
            bound = "at least" if rule == "min" else "at most"
            text = format_number(score.value, limit)
            text += f" {format_interval(*score.interval)}" if score.interval else ""
            text += f" {'but' if status == 'fail' else 'and'} has to be {bound} "
            text += format_number(limit, score.value)
            text += f"; {NOT_SETTLED}" if status == "undecided" else ""
            reason, value = f"{key} is {text}", score.value
            yield RuleResult(rule=name, status=status, reason=reason, value=value, allowed=limit)
