"""The metadata in a model's file with which the commands apply it."""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Drift, ThresholdRule, Validate
from keras_tabular.core.errors import UserError
from keras_tabular.core.typed_yaml import Section, Share
from keras_tabular.network.record import TrainingRecord, TrainingRows
from keras_tabular.tasks.task import CostMatrix, Threshold


class Intervals(Section):
    """Prediction intervals of a regression.

    Attributes:
        coverage: Share of the rows whose value the intervals should contain.
        at: Predictions in ascending order.
        half: Half the width of the interval at each of them. It is interpolated between
            them, and constant beyond the first and the last one.
    """

    coverage: Share
    at: tuple[float, ...]
    half: tuple[float, ...]

    def ends(self, predicted: np.ndarray) -> np.ndarray:
        """Return the lower and the upper end for each row: float32, shape (rows, 2).

        Args:
            predicted: Predictions of the model, shape (rows,).
        """
        values = predicted.astype(np.float64)
        half = np.interp(values, self.at, self.half)
        ends = np.column_stack([values - half, values + half])
        return ends.astype(np.float32)


class ModelMetadata(TrainingRecord):
    """Everything that a model's file contains besides the model.

    It is empty for a model from elsewhere.

    Attributes:
        metric: The value of `evaluate.metric`.
        threshold: The lowest probability that counts as positive, and how it was
            chosen.
        costs: The costs by which classes are predicted, if there are any.
        reaches_rule: Whether the threshold reaches the recall or precision of its rule.
        table_schema, validate_params, drift_params: The schema and the sections of
            params.yaml with which the commands apply the model.
    """

    intervals: Intervals | None = None
    metric: str = "auto"
    costs: CostMatrix | None = None
    threshold: Annotated[float, Field(ge=0, le=2)] = 0.5
    threshold_choice: ThresholdRule | None = None
    reaches_rule: bool = True
    table_schema: Schema | None = None
    validate_params: Validate = Validate()
    drift_params: Drift = Drift()

    def interval_ends(self, predicted: np.ndarray) -> np.ndarray | None:
        """Return the ends of each row's prediction interval, if there are intervals.

        No end is outside of the values of the training rows.

        Args:
            predicted: Predictions of the model, shape (rows,).

        Returns:
            The lower and the upper ends, float32, shape (rows, 2).
        """
        if self.intervals is None or self.ensemble is None:
            return None
        return self.intervals.ends(predicted).clip(*self.ensemble.target_range)

    @property
    def decision(self) -> Threshold:
        """What chooses the class: the costs of several classes, or the threshold."""
        if self.costs and len(self.costs) > 2:
            return self.costs
        return self.threshold


def training_rows(path: Path, metadata: ModelMetadata) -> TrainingRows:
    """Return the summary of the training rows of the model at `path`.

    Raises:
        UserError: There is no summary.
    """
    if metadata.trained_on is None:
        raise UserError(
            f"{path}: found no summary of the training rows. Run `dvc repro`.",
        )
    return metadata.trained_on
