"""The schedule `cycles`: cosines of the learning rate, each twice as long as the one before."""

import math
from typing import Any

from tabular.model.backend import keras

ops = keras.ops
FIRST_CYCLE = 30  # steps


def cycle_steps(cycle: int) -> int:
    """The steps of a cycle of the learning rate: 30, 60, 120, ..."""
    return FIRST_CYCLE * 2**cycle


def max_cycles(steps: int) -> int:
    """How many cycles there are in so many steps; 1 at least."""
    return max((steps // FIRST_CYCLE + 1).bit_length() - 1, 1)


class Cycles(keras.optimizers.schedules.LearningRateSchedule):
    """Cosines from 0 to 0, each over twice as many steps as the one before: see `cycle_steps`.

    Of four it is the schedule coslog4 of RealMLP (arXiv 2407.04491), whatever the steps.
    """

    def __init__(self, learning_rate: float) -> None:
        self._learning_rate = learning_rate

    def __call__(self, step: Any) -> Any:
        waves = ops.log2(1.0 + ops.cast(step, "float32") / FIRST_CYCLE)
        return self._learning_rate * 0.5 * (1.0 - ops.cos(2 * math.pi * waves))
