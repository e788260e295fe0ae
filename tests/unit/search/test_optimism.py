"""What choosing among many trials on the same rows is worth."""

import numpy as np
import pytest

from tabular.evaluation.scores import Predictions, score
from tabular.search.study import bootstrap_draws, expected_gain
from tests.helpers import schema_of, values_of

SCHEMA = schema_of("binary")
ROWS, TRIALS = 400, 40
Y = np.random.default_rng(0).integers(0, 2, ROWS).astype(float)


def trial(outputs: np.ndarray) -> Predictions:
    return Predictions(Y, outputs[:, None].astype(np.float32), np.ones(ROWS))


@pytest.mark.parametrize(("metric", "chance"), [("accuracy", 0.5), ("loss", 1.0)])
def test_the_best_of_many_trials_that_know_nothing_is_expected_to_know_nothing(
    metric: str, chance: float
) -> None:
    """Its own score says otherwise."""
    rng, greater = np.random.default_rng(1), metric == "accuracy"
    trials = [trial(rng.uniform(size=ROWS)) for _ in range(TRIALS)]
    scores = [values_of(score(predictions, SCHEMA))[metric] for predictions in trials]
    best = max(scores) if greater else min(scores)
    draws = [bootstrap_draws(predictions, SCHEMA, metric) for predictions in trials]
    expected = scores[0] + expected_gain(draws, draws[0], greater_is_better=greater)
    assert abs(expected - chance) < 0.35 * abs(best - chance)
    assert expected_gain(draws[:1], draws[0], greater_is_better=greater) == 0


def test_what_is_better_beyond_chance_stays_so() -> None:
    rng = np.random.default_rng(1)
    good = np.clip(0.2 + 0.6 * Y + rng.normal(0, 0.1, ROWS), 0.01, 0.99)
    trials = [trial(rng.uniform(size=ROWS)) for _ in range(TRIALS)] + [trial(good)]
    draws = [bootstrap_draws(predictions, SCHEMA, "loss") for predictions in trials]
    first, best = (values_of(score(trials[place], SCHEMA))["loss"] for place in (0, -1))
    gain = expected_gain(draws, draws[0], greater_is_better=False)
    assert gain == pytest.approx(best - first, rel=0.05)
