"""The schedule `cosine_restarts`: cycles of the learning rate, each twice as long as the last."""

import math
from typing import Any

from tabular.model.backend import keras

ops = keras.ops
FIRST_CYCLE = 30  # steps


def cycle_steps(cycle: int) -> int:
    """Return the number of steps of a cycle: 30, 60, 120, ..."""
    return FIRST_CYCLE * 2**cycle


def steps_of_cycles(cycles: int) -> int:
    """Return the number of steps of the first cycles together."""
    return cycle_steps(cycles) - FIRST_CYCLE


def max_cycles(steps: int) -> int:
    """Return the number of whole cycles in a number of steps, but at least 1."""
    return max((steps // FIRST_CYCLE + 1).bit_length() - 1, 1)


class CosineRestarts(keras.optimizers.schedules.LearningRateSchedule):
    """Cosine annealing with warm restarts, where each cycle also begins at a rate of 0.

    A cycle is one wave of the cosine, from 0 to `learning_rate` and back. Four cycles are
    the schedule coslog4 of RealMLP (arXiv 2407.04491).
    """

    def __init__(self, learning_rate: float) -> None:
        self._learning_rate = learning_rate

    def __call__(self, step: Any) -> Any:
        waves = ops.log2(1.0 + ops.cast(step, "float32") / FIRST_CYCLE)
        return self._learning_rate * 0.5 * (1.0 - ops.cos(2 * math.pi * waves))
