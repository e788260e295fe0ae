"""Learning rates follow their schedules."""

import pytest

from keras_tabular.networks.network import build_optimizer
from tests.helpers import load_train_params


@pytest.mark.parametrize(("schedule", "cycles"), [("cosine", 0), ("cosine_restarts", 4)])
def test_a_learning_rate_may_follow_a_schedule(schedule: str, cycles: int) -> None:
    rate, steps = 0.5, 450
    network = {"learning_rate": rate, "learning_rate_schedule": schedule}
    train = load_train_params({"plain": network}).resolve_auto(100, "binary", 8)
    optimizer = build_optimizer(train.networks["plain"], steps)
    rates = []
    for step in range(steps + 1):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    assert max(rates) == pytest.approx(rate, rel=0.01)
    assert rates[-1] == pytest.approx(0, abs=1e-6)
    neighbours = zip(rates, rates[1:], rates[2:], strict=False)
    assert sum(before < rate > after for before, rate, after in neighbours) == cycles
