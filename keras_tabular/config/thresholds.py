"""The rules of `evaluate.threshold`, by which probabilities become classes."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Tag, model_validator
from pydantic.types import PositiveFloat

from keras_tabular.config.typed_yaml import Section, Share, Value
from keras_tabular.tasks.task import CostMatrix, Label

Matrix = dict[Value, dict[Value, float]]  # cost by actual, then by predicted class


class Costs(Section):
    """The costs of a false negative and a false positive."""

    false_negative: PositiveFloat
    false_positive: PositiveFloat


def _form_of_costs(costs: Any) -> str:
    """Return which form costs have, so that a mistake is explained for this form alone."""
    return "pair" if isinstance(costs, Costs) or {*Costs.model_fields} & {*costs} else "matrix"


class ThresholdRule(Section):
    """How the threshold is chosen: by the one key that is not None.

    Attributes:
        best: The score to maximize.
        cost: The costs to minimize, of two classes or by actual and predicted class. A gain is a
            negative cost, and a cost that is left out is 0. With more than two classes, there is no
            threshold, and the class with the lowest expected cost is predicted.
        recall, precision: The smallest value that is accepted.
    """

    best: Literal["accuracy", "balanced_accuracy", "f1"] | None = None
    recall: Share | None = None
    precision: Share | None = None
    cost: (
        Annotated[
            Annotated[Costs, Tag("pair")] | Annotated[Matrix, Tag("matrix")],
            Discriminator(_form_of_costs),
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _has_one_key(self) -> Self:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("expected a number or one of best, recall, precision and cost")
        rows = self.cost.values() if isinstance(self.cost, dict) else ()
        if isinstance(self.cost, dict) and not any(cost for row in rows for cost in row.values()):
            raise ValueError("expected a cost other than 0, such as {ACTUAL: {PREDICTED: 5}}")
        return self

    def cost_matrix(self, classes: Sequence[Label]) -> CostMatrix:
        """Return the cost of each predicted class by actual class, in the order of the classes."""
        if isinstance(self.cost, Costs):
            return (0.0, self.cost.false_positive), (self.cost.false_negative, 0.0)
        by_actual = self.cost or {}
        rows = (by_actual.get(actual, {}) for actual in classes)
        return tuple(tuple(row.get(predicted, 0.0) for predicted in classes) for row in rows)
