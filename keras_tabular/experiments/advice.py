"""What to try next: rules that each have a condition, an advice and a command."""

from collections.abc import Iterator, Mapping
from typing import Any

from keras_tabular.config.params import Params
from keras_tabular.core.errors import format_list
from keras_tabular.core.numbers import format_number
from keras_tabular.experiments.verdict import Check
from keras_tabular.scoring.evaluation import Evaluation
from keras_tabular.tasks.metrics import BASELINES
from keras_tabular.tasks.task import Task

MAX_LOSS_RATIO = 0.7  # of training to cross-validated loss; below it, the networks overfit
MORE_DROPOUT, MAX_DROPOUT = 0.2, 0.5
CHECK_TARGETS = (  # the advice on a model that has learnt nothing
    "Check that each row has the right target, and that the columns can say anything about it. "
    "More rows or other columns may help"
)
SAME_DECISION = (  # the advice on a model that ranks rows well, but does not gain by what decides
    "By the metric that decides, the same prediction for every row may be as good as this model. "
    "More rows or other columns may help"
)
Networks = Mapping[str, Mapping[str, Any]]  # weight and parameters, by name of the architecture


def next_steps(
    evaluation: Evaluation, strongest: Check | None, task: Task, params: Params, networks: Networks
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
    if "test" in evaluation.equal_rows and by == "random":
        command = "dvc exp run -S split.equal_rows=together"
        yield f"Keep equal rows on the same side of the split: `{command}`"


def _advice_about_overfitting(evaluation: Evaluation, networks: Networks) -> Iterator[str]:
    train_loss, loss = (evaluation.value(rows, "loss") for rows in ("train", "cross_validation"))
    if train_loss is None or loss is None or train_loss >= MAX_LOSS_RATIO * loss or not networks:
        return
    heaviest = max(networks, key=lambda name: networks[name]["weight"])
    dropout = round(networks[heaviest]["params"].get("dropout", 0.0) + MORE_DROPOUT, 2)
    if dropout <= MAX_DROPOUT:
        yield (
            f"The networks overfit: the loss is {format_number(train_loss, loss)} on the training "
            f"rows but {format_number(loss, train_loss)} in cross-validation. Try more dropout: "
            f"`dvc exp run -S train.networks.{heaviest}.dropout={dropout:g}`"
        )


def _advice_about_baseline(strongest: Check | None, task: Task, params: Params) -> Iterator[str]:
    if strongest is None or strongest.status == "pass" or strongest.difference is None:
        return
    if strongest.difference.high < 0:  # better than one that broke down
        return
    name = BASELINES[strongest.subject]
    is_linear = strongest.subject == task.baselines["linear"]
    if is_linear and (plain := params.train.networks.get("plain")) and plain.units:
        yield (
            f"{name.capitalize()} is simpler, and the model is "
            f"{'worse' if strongest.status == 'fail' else 'not significantly better'}. Train a "
            "linear model with Keras: `dvc exp run -S 'train.members=[{network: plain}]' "
            "-S 'train.networks.plain.units=[]'`"
        )
    elif strongest.status == "fail":
        yield f"Use {name}, or search for better parameters: `python -m keras_tabular search`"
