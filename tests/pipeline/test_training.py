"""Whatever the params choose trains, and to the same bytes after a kill."""

from typing import get_args

import pytest

from keras_tabular.config.sections import LOSSES, Activation, Initializer, Optimizer
from keras_tabular.networks import network
from keras_tabular.networks.backend import keras
from tests.helpers import load_train_params


def test_keras_has_every_choice_of_the_params() -> None:
    """`make check-cpu` computes with each of them."""
    for names, get in (
        (get_args(Optimizer), keras.optimizers.get),
        (get_args(Activation), keras.activations.get),
        (get_args(Initializer), keras.initializers.get),
        ({name for losses in LOSSES.values() for name in losses}, keras.losses.get),
    ):
        assert [name for name in names if not callable(get(name)) and not get(name)] == []


@pytest.mark.parametrize("schedule", ["cosine", "cosine_restarts"])
def test_a_learning_rate_may_follow_the_steps(schedule: str) -> None:
    rate, steps = 0.5, 450  # four cycles
    keys = {"learning_rate": rate, "learning_rate_schedule": schedule}
    of = load_train_params({"plain": keys}).resolve_auto(100, "binary", 8).networks["plain"]
    found = network.build_optimizer(of, steps)
    seen = []
    for step in range(steps + 1):
        found.iterations.assign(step)
        seen.append(float(found.learning_rate))
    assert max(seen) == pytest.approx(rate, rel=0.01)
    assert seen[-1] == pytest.approx(0, abs=1e-6)
    peaks = [b for a, b, c in zip(seen, seen[1:], seen[2:], strict=False) if a < b > c]
    assert len(peaks) == (4 if schedule == "cosine_restarts" else 0)
