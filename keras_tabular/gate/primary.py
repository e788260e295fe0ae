"""The comparisons of a model with its baselines by the primary metric, and their words."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from keras_tabular.config.metrics import COST, CUSTOM
from keras_tabular.config.task import Task
from keras_tabular.evaluation.records import (
    MODEL,
    Difference,
    Evaluation,
    format_number,
)
from keras_tabular.evaluation.summary import OTHER_PLACES, format_interval, metric_label
from keras_tabular.gate.verdict import RuleResult, Status, judge

TOO_FEW_ROWS = "too few rows to tell"
NOT_SETTLED = "not settled by these rows"
MAX_TEST_LOSS_RATIO = (
    2.0  # of a baseline's loss on test rows to the cross-validated one
)


class PrimaryScores(NamedTuple):
    """The scores on the test rows by which a model is compared with its baselines.

    They are those of the primary metric of the evaluation. All differences are turned
    so that more is worse, as for a loss.
    """

    evaluation: Evaluation
    task: Task

    @property
    def key(self) -> str:
        """Key of the primary metric."""
        return self.evaluation.primary_metric

    @property
    def greater_is_better(self) -> bool:
        """Whether a greater score is better."""
        return self.evaluation.metric(self.key).greater_is_better

    @property
    def is_loss(self) -> bool:
        """Whether the metric is a loss that cannot be negative, so that percentages make sense."""
        has_gains = (
            self.key == COST and min(map(min, self.evaluation.costs or [[0.0]])) < 0
        )
        return not (self.greater_is_better or self.key.startswith(CUSTOM) or has_gains)

    def describe_ranking(self) -> Iterator[str]:
        """Yield that the order of the probabilities is significantly better than chance, if so."""
        score = self.evaluation.score("test", self.task.second_metric)
        if (
            self.task.classes and score and score.interval and score.interval[0] > 0.5
        ):  # by chance
            label = self.short_label(score.metric)
            text = (
                f"{label} {format_number(score.value)}{format_interval(score.interval)}"
            )
            yield f"the order of the probabilities is better than chance: {text}"

    def headline(self, constant: RuleResult) -> str:
        """Say how good the score is, how sure that is, and how much the model gains.

        Args:
            constant: The comparison with the constant.
        """
        score = self.evaluation.score("test", self.key)
        label = metric_label(self.evaluation, self.task, self.key)
        if score is None:
            return f"{label} is undefined on the test rows"
        if constant.difference is None:
            return f"There are {TOO_FEW_ROWS} if the model is better than no model"
        text = f"{label} {format_number(score.value)} on {score.rows:,} test rows"
        text += format_interval(score.interval)
        return (
            f"{text}, {format_relative(constant.difference, constant.base)} than no"
            " model"
        )

    def compare_with_constant(self, min_gain: float) -> RuleResult:
        """Check whether the model is better than the constant with the best primary metric.

        It passes if it is significantly better, and fails if the interval excludes a
        useful gain.

        Args:
            min_gain: Share of the constant's score, or R², below which a gain is of no
                use.
        """
        size, difference = self._baseline("dummy")
        if difference and difference.high < 0:
            return self._check("dummy", "pass", "")
        if difference and difference.low > -min_gain * (
            1.0 if self.key == "r2" else size
        ):
            return self._check(
                "dummy",
                "fail",
                f"; no gain above {100 * min_gain:.3g}%",
            )
        return self._check("dummy", "undecided", f"; {TOO_FEW_ROWS}")

    def compare_with(
        self,
        name: str,
        margin: float,
        breakdowns: Mapping[str, str],
    ) -> RuleResult:
        """Check whether the model is not worse than another baseline.

        Args:
            margin: Share of the baseline's score by which the model may be worse. With
                0, it passes if it is significantly better, and fails if it is
                significantly worse.
            breakdowns: The result of `find_breakdown` for each baseline that is
                compared. If all broke down, none can show that the model is good.
        """
        loss, difference = self._baseline(name)
        status: Status = "undecided"
        words = ""
        if difference and (margin or not difference.within_chance):
            status = judge(difference.low, difference.high, margin * loss)
        if status == "undecided":
            words = f"; {NOT_SETTLED}"
        elif margin and difference and difference.high > 0:
            inside = (
                "equivalent within" if difference.low >= -margin * loss else "within"
            )
            words = (
                f"; {inside if status == 'pass' else 'worse than'} the margin of"
                f" {margin:.0%}"
            )
        if status == "pass" and breakdowns[name]:
            status = "undecided" if all(breakdowns.values()) else "pass"
            words = "; this shows nothing, because it broke down"
        return self._check(name, status, words)

    def find_breakdown(self, name: str) -> str:
        """Say whether a baseline broke down on the test rows; empty if it did not.

        The whole interval of its score is then worse than the constant, or its loss is
        above `MAX_TEST_LOSS_RATIO` times the one that cross-validation lets expect.
        Test rows on which the model has a larger loss than in cross-validation, too,
        are only harder.
        """
        score = self.evaluation.score("test", self.key, name)
        label = self.task.baselines[name]
        if score is None or score.interval is None:
            return ""
        lowest, highest = score.interval
        constant = self.evaluation.value("test", self.key, "dummy")
        text = f"{self.short_label(self.key)} {format_number(score.value)}"
        is_greater = self.greater_is_better
        if constant is not None and (
            highest < constant if is_greater else lowest > constant
        ):
            return (
                f"{label} is worse than no model ({text} vs {format_number(constant)})"
            )
        if not self.is_loss:
            return ""
        model_loss = self.evaluation.value("test", self.key) or 0.0
        for place, where in OTHER_PLACES.items():
            held_out = self.evaluation.value(place, self.key, name) or 0.0
            model_held_out = self.evaluation.value(place, self.key) or model_loss or 1.0
            harder = max(model_loss / model_held_out, 1.0)
            if lowest > MAX_TEST_LOSS_RATIO * held_out * harder > 0:
                return (
                    f"{label} broke down ({text}, and {format_number(held_out)}"
                    f" {where})"
                )
        return ""

    def short_label(self, key: str) -> str:
        """Return the label of a metric within a sentence."""
        label = self.evaluation.metric(key).label
        is_name = label[:2].isupper() or key.startswith(
            CUSTOM,
        )  # such as ROC AUC, R² and F1
        return label if is_name else label.lower()

    def _baseline(self, name: str) -> tuple[float, Difference | None]:
        """Return the size of a baseline's score, and the difference of the model from it."""
        score = self.evaluation.score("test", self.key, name)
        return (
            (abs(score.value), self._difference("test", name)) if score else (0.0, None)
        )

    def _difference(self, row_set: str, name: str) -> Difference | None:
        """Return the difference of the model from a baseline, if there is one; more is worse."""
        score = self.evaluation.score(row_set, self.key, name)
        difference = score.difference if score else None
        return difference and difference.as_loss(
            greater_is_better=self.greater_is_better,
        )

    def _check(self, name: str, status: Status, words: str) -> RuleResult:
        rule = f"beat_baselines {name}"
        title = self.task.baselines[name]
        if name == "dummy":
            costs = self.evaluation.constant_costs if self.key == COST else {}
            cheapest = min(costs, key=lambda words: costs[words], default="")
            title = f"the {title}{f' ({cheapest})' if costs else ''}"
        size, difference = self._baseline(name)
        if difference is None:
            reason = f"There are too few test rows to compare the model with {title}"
            if self.evaluation.score("test", self.key) is None:
                label = metric_label(self.evaluation, self.task, self.key)
                reason = f"The model is not compared with {title}: {label} is undefined"
            return RuleResult(rule=rule, status="undecided", reason=reason)
        details = []
        for key in self.evaluation.main_metrics[:2]:
            values = [
                self.evaluation.value("test", key, model) for model in (MODEL, name)
            ]
            numbers = " vs ".join(format_number(value, *values) for value in values)
            details.append(f"{self.short_label(key)} {numbers}")
        for place, where in OTHER_PLACES.items():
            if other := self._difference(place, name):
                outcome = "better" if other.high < 0 else "worse"
                details.append(
                    f"{where}: {'not settled' if other.within_chance else outcome}",
                )
        base = size if self.is_loss else 0.0
        relative = format_relative(difference, base)
        return RuleResult(
            rule=rule,
            status=status,
            reason=f"Compared with {title}: {relative}{words} ({'; '.join(details)})",
            base=base,
            metric=self.key,
            difference=difference,
        )


def format_relative(
    difference: Difference,
    base: float,
    *,
    is_loss: bool = True,
) -> str:
    """Say in percent of a base how much better or worse a score is, from end to end.

    Args:
        difference: A difference of which more is worse.
        base: The score to compare with; 0 to say the difference itself.
        is_loss: Whether the score cannot be negative, so that it falls by 100% at most.

    Returns:
        For example "1.7% to 6.2% better", or "between 3.3% better and 0.3% worse".
    """
    lowest = -abs(base) if base and is_loss else difference.low
    ends = (max(difference.low, lowest), difference.high)
    low, high = (_percent(abs(end), base) for end in ends)
    if difference.low < 0 < difference.high:
        return f"between {low} better and {high} worse"
    is_better = difference.high <= 0
    first, last = (high, low) if is_better else (low, high)
    span = first if first == last else f"{first} to {last}"
    return f"{span} {'better' if is_better else 'worse'}"


def _percent(value: float, base: float) -> str:
    """Format a value in percent of a base; as it is if the base is 0."""
    if not base:
        return format_number(value)
    share = 100 * value / abs(base)
    return f"{share:.{0 if share >= 10 else 1}f}%"
