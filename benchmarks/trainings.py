"""Measure how often two trainings that differ only in their seed are called different.

Nothing is trained: networks are random functions around a common function, which is the
truth plus an error that all trainings share. A model is the weighted mean of 20
networks of one architecture and of ten of another one. The columns of the table are the
rules:

- `interval`: the 95% interval of the paired difference of the loss does not contain 0.
  This rule ignores the training, and has no limit.
- `added variances`: the rule of the gate. The square of 2.1 standard deviations
  of the difference between two trainings, see `explain.explanations`, is added to that
  of the half width of the interval.
- `better`: the share of pairs in which the rule `added variances` finds a model whose
  function has a smaller error.
"""

from collections.abc import Iterator
from itertools import product
from math import hypot

import numpy as np
from scipy.special import expit

from benchmarks.rows import BINARY, REGRESSION
from benchmarks.simulations import Measurement, Simulations
from keras_tabular.evaluation.scores import Predictions
from keras_tabular.evaluation.uncertainty import mean_difference
from keras_tabular.explain.explanations import training_deviation
from keras_tabular.model.metadata import ModelMetadata
from keras_tabular.network.record import Ensemble
from keras_tabular.runs.comparison import TRAINING_DEVIATIONS

ENSEMBLE = Ensemble(
    weights={"realmlp": 0.8, "plain": 0.2},
    folds={"realmlp": (*range(10), *range(10)), "plain": tuple(range(10))},
    target_range=(-100.0, 100.0),
)
METADATA = ModelMetadata(ensemble=ENSEMBLE)
COLUMNS = 5
WAVES = 30
SPREAD = 0.6  # deviation of the networks from each other
# deviation of the common error of all networks
ERROR = 0.6
SMALLER_ERROR = 0.5
MAX_SHARE_OF_DIFFERENCES = 0.06
ROWS = (250, 1000, 5000)


class Table:
    """Random rows, and random functions of their columns."""

    def __init__(self, rng: np.random.Generator, task: str, rows: int) -> None:
        self.rng = rng
        self.task = BINARY if task == "binary" else REGRESSION
        x = rng.normal(size=(rows, COLUMNS))
        phases = rng.uniform(0, 2 * np.pi, WAVES)
        self.waves = (
            np.cos(x @ rng.normal(size=(COLUMNS, WAVES)) + phases) * (2 / WAVES) ** 0.5
        )
        self.truth = x[:, 0] + x[:, 1] ** 2 / 2 - 0.5 + x[:, 2] * x[:, 3] / 2
        self.error = self.draw_functions(1)[:, 0]
        is_positive = rng.random(rows) < expit(self.truth)
        self.y = (
            is_positive * 1.0
            if task == "binary"
            else self.truth + rng.normal(size=rows)
        )

    def draw_functions(self, count: int) -> np.ndarray:
        """Draw functions with a deviation of 1: float64, (rows, functions)."""
        return self.waves @ self.rng.normal(size=(WAVES, count))

    def train(self, error: float = ERROR) -> tuple[Predictions, dict[str, float]]:
        """Draw a model; return its predictions and the deviation of its scores."""
        common = self.truth + error * self.error
        means = np.zeros(len(common))
        members = []
        for name, folds in sorted(ENSEMBLE.folds.items()):
            outputs = common[:, None] + SPREAD * self.draw_functions(len(folds))
            outputs = outputs if self.task is REGRESSION else expit(outputs)
            means += ENSEMBLE.weights[name] * outputs.mean(axis=1)
            members.append(outputs)
        rows = Predictions(self.task, self.y, means[:, None], np.ones(len(self.y)))
        return rows, training_deviation(
            np.hstack([means[:, None], *members]),
            rows,
            METADATA,
        )


def compare(
    first: tuple[Predictions, dict[str, float]],
    second: tuple[Predictions, dict[str, float]],
) -> tuple[float, float, float]:
    """Compare the losses of two models.

    Returns:
        The difference, the half width of its interval for the trained models, and that
        of the interval of the gate.
    """
    losses, other_losses = (rows.row_losses for rows, _ in (first, second))
    value, low, high = mean_difference(
        losses - other_losses,
        first[0].weight,
        None,
        False,
    )
    # The end that is nearer to 0 decides.
    half_width = value - low if value > 0 else high - value
    spread = TRAINING_DEVIATIONS * hypot(first[1]["loss"], second[1]["loss"])
    return value, half_width, hypot(half_width, spread)


def measure_trainings(name: str, draws: int) -> Iterator[Measurement]:
    for task, rows in product(("binary", "regression"), ROWS):
        rng = np.random.default_rng(0)
        same = []
        better = []
        for _ in range(max(draws // 2, 1)):
            table = Table(rng, task, rows)
            model = table.train()
            same.append(compare(model, table.train()))
            better.append(compare(model, table.train(SMALLER_ERROR)))
        value, half_width, widened = np.abs(np.array(same)).T
        by_interval = (value > half_width).mean()
        by_variances = (value > widened).mean()
        value, _, widened = np.array(better).T
        is_better = (value > widened).mean()
        claim = f"{task}, {rows} rows"
        limit = MAX_SHARE_OF_DIFFERENCES
        yield Measurement(claim, "interval", name, by_interval)
        yield Measurement(claim, "added variances", name, by_variances, limit)
        yield Measurement(claim, "better", name, is_better, None, True)


SIMULATIONS: Simulations = {measure_trainings: ("independent",)}
