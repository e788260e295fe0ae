"""The comparisons of a model with its baselines by the primary metric, in words."""

from collections.abc import Iterator
from typing import NamedTuple

from keras_tabular.evaluation.records import (
    Difference,
    Evaluation,
    format_number,
)
from keras_tabular.evaluation.summary import (
    OTHER_PLACES,
    format_interval,
    format_row_set_score,
    metric_label,
)
from keras_tabular.gate import RuleResult, Status, judge
from keras_tabular.tasks.metrics import COST, CUSTOM
from keras_tabular.tasks.task import Task

TOO_FEW_ROWS = "too few rows to tell"
NOT_SETTLED = "not settled by these rows"


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
        """Whether percents make sense: the metric is a loss that is never negative."""
        if self.greater_is_better or self.key.startswith(CUSTOM):
            return False
        # The cost of a correct prediction may be a gain.
        costs = self.evaluation.costs or ()
        return self.key != COST or all(min(row) >= 0 for row in costs)

    def format_headline(self, constant: RuleResult) -> str:
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
        relative = format_relative(constant.difference, constant.base)
        return f"{text}, {relative} than no model"

    def compare_with_constant(self, min_gain: float) -> RuleResult:
        """Check whether the model is better than the best constant.

        It passes if it is significantly better, and fails if the interval excludes a
        useful gain.

        Args:
            min_gain: Share of the constant's score, or R², below which a gain is of no
                use.
        """
        difference = self._difference("dummy")
        if difference is None:
            return self._result("dummy", "undecided")
        if difference.high < 0:
            return self._result("dummy", "pass")
        base = 1 if self.key == "r2" else self._baseline_size("dummy")
        if difference.low > -min_gain * base:
            words = f"; no gain above {100 * min_gain:.3g}%"
            return self._result("dummy", "fail", words)
        return self._result("dummy", "undecided", f"; {TOO_FEW_ROWS}")

    def compare_with_baseline(
        self,
        name: str,
        margin: float,
    ) -> RuleResult:
        """Check whether the model is not worse than another baseline.

        Args:
            margin: Share of the baseline's score by which the model may be worse. With
                0, it passes if it is significantly better, and fails if it is
                significantly worse.
        """
        difference = self._difference(name)
        if difference is None or (not margin and difference.within_chance):
            return self._result(name, "undecided", f"; {NOT_SETTLED}")
        limit = margin * self._baseline_size(name)
        status = judge(difference.low, difference.high, limit)
        words = ""
        if status == "undecided":
            words = f"; {NOT_SETTLED}"
        elif status == "pass" and self.describe_unfairness(name):
            words = "; this shows nothing"
            status = "undecided"
        elif margin and difference.high > 0:
            words = "worse than" if status == "fail" else "within"
            words = f"; {words} the margin of {margin:.0%}"
        return self._result(name, status, words)

    def describe_unfairness(self, name: str) -> str:
        """Say whether the comparison with a baseline is unfair; empty if it is not.

        The whole interval of the baseline is then worse than no model, and worse than
        its score in cross-validation. This happens to trees that read the time if all
        test rows are later.
        """
        test = self.evaluation.score("test", self.key, name)
        folds = self.evaluation.score("cross_validation", self.key, name)
        constant = self.evaluation.score("test", self.key, "dummy")
        if not (test and test.interval and folds and constant):
            return ""
        low, high = test.interval
        is_unfair = low > max(constant.value, folds.value)
        if self.greater_is_better:
            is_unfair = high < min(constant.value, folds.value)
        if not is_unfair:
            return ""
        details = "; ".join(self._details(name))
        return (
            f"{self.task.baselines[name]} is worse than no model on the test rows, and"
            f" than in cross-validation ({details}): beating it shows nothing"
        )

    def short_label(self, key: str) -> str:
        """Return the label of a metric within a sentence."""
        label = self.evaluation.metric(key).label
        # Such as ROC AUC, R² and F1.
        return label if label[:2].isupper() else label.lower()

    def _baseline_size(self, name: str) -> float:
        """Return the size of a baseline's score on the test rows; 0 if it has none."""
        return abs(self.evaluation.value("test", self.key, name) or 0.0)

    def _difference(self, name: str) -> Difference | None:
        """Return the difference of the model from a baseline; more is worse."""
        score = self.evaluation.score("test", self.key, name)
        if score is None or score.difference is None:
            return None
        return score.difference.as_loss(self.greater_is_better)

    def _result(self, name: str, status: Status, words: str = "") -> RuleResult:
        """Return the result of a comparison with a baseline.

        Args:
            name: The baseline.
            status: The status of the comparison.
            words: What the reason says after the difference.
        """
        rule = f"beat_baselines {name}"
        title = self.task.baselines[name]
        if name == "dummy":
            title = "the best constant for these test rows"
            if self.evaluation.constant_is_learnt:
                title = "the constant of the training rows"
        difference = self._difference(name)
        if difference is None:
            reason = f"There are too few test rows to compare the model with {title}"
            if self.evaluation.constant_is_learnt:
                reason += "; with time in the schema, this needs 300"
            return RuleResult(rule=rule, status=status, reason=reason)
        base = self._baseline_size(name) if self.is_loss else 0.0
        relative = format_relative(difference, base)
        details = "; ".join(self._details(name))
        return RuleResult(
            rule=rule,
            status=status,
            reason=f"Compared with {title}: {relative}{words} ({details})",
            base=base,
            metric=self.key,
            difference=difference,
        )

    def _details(self, name: str) -> Iterator[str]:
        """Yield scores of the model and of a baseline, on the test rows and others."""
        compared = [
            ("test", key, self.short_label(key))
            for key in self.evaluation.main_metrics[:2]
        ]
        compared += [(place, self.key, words) for place, words in OTHER_PLACES.items()]
        for row_set, key, words in compared:
            if self.evaluation.score(row_set, key, name):
                value = format_row_set_score(self.evaluation, row_set, key)
                other_value = format_row_set_score(self.evaluation, row_set, key, name)
                yield f"{words} {value} vs {other_value}"


def format_relative(
    difference: Difference,
    base: float,
    is_loss: bool = True,
) -> str:
    """Say in percent of a base how much better or worse a score is, from end to end.

    Args:
        difference: A difference of which more is worse.
        base: The score to compare with; 0 to say the difference itself.
        is_loss: Whether the score cannot be negative, so that it falls by 100% at most.

    Returns:
        For example "1.7% to 6.2% better", or "between 3.3% better and 0.3% worse".

    Examples:
        >>> format_relative(Difference(value=-2, low=-3, high=-1), base=50)
        '2.0% to 6.0% better'
        >>> format_relative(Difference(value=1, low=-1, high=3), base=0)
        'between 1.00 better and 3.00 worse'
    """
    best = difference.low
    if base and is_loss:
        best = max(best, -abs(base))
    low = _percent(abs(best), base)
    high = _percent(abs(difference.high), base)
    if difference.low < 0 < difference.high:
        return f"between {low} better and {high} worse"
    ends = [low, high]
    direction = "worse"
    if difference.high <= 0:
        ends.reverse()
        direction = "better"
    span = low if low == high else " to ".join(ends)
    return f"{span} {direction}"


def _percent(value: float, base: float) -> str:
    """Format a value in percent of a base; as it is if the base is 0."""
    if not base:
        return format_number(value)
    share = 100 * value / abs(base)
    return f"{share:.0f}%" if share >= 10 else f"{share:.1f}%"
