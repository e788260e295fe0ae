"""No decision in training depends on the last bit of a loss, which differs between CPUs."""

from itertools import cycle, product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.config.sections import EarlyStopping
from keras_tabular.table.parquet import write_part
from keras_tabular.training.ensemble import select_weights
from keras_tabular.training.fit import finished_architectures, has_improved
from keras_tabular.training.setup import Setup
from network import build
from tests.helpers import build_arrow_schema, build_schema, load_train_params


def neighbours(value: float) -> list[float]:
    """Return a number, and the next smaller and larger floating-point numbers."""
    return [float(np.nextafter(value, -np.inf)), value, float(np.nextafter(value, np.inf))]


@pytest.mark.parametrize(
    ("losses", "ensemble_losses", "finished"),
    [
        ({"a": [0.9], "b": [0.5]}, [0.5], set()),  # the first cycle
        ({"a": [0.9, 0.8]}, [0.9, 0.8], set()),
        ({"a": [0.9, 0.895]}, [0.9, 0.8], set()),  # the networks together gained more
        ({"a": [0.7, 0.68], "b": [0.9]}, [0.7, 0.69], {"a"}),  # gained less than 2 and 5 %
        ({"a": [0.9, 0.6], "b": [0.5]}, [0.5, 0.5], set()),  # one of them still gains
        ({"a": [0.7, 0.6]}, [0.7, 0.98 * 0.7], set()),  # gained exactly what is needed
        ({"a": [0.9, 0.8], "b": [0.6, 0.5]}, [0.6, 0.5], {"a"}),  # it leads to 0.6 at best
        ({}, [], set()),  # no rows are held out
    ],
)
def test_an_architecture_ends_with_a_cycle_that_does_not_help(
    losses: dict[str, list[float]], ensemble_losses: list[float], finished: set[str]
) -> None:
    for last_bits in product(*map(neighbours, ensemble_losses[-1:])):
        assert finished_architectures(losses, [*ensemble_losses[:-1], *last_bits]) == finished


@pytest.mark.parametrize(
    ("monitor", "scores", "min_delta", "best_epoch"),
    [
        ("val_loss", [0.5, 0.4, 0.45, 0.4], 0.0, 1),
        ("val_loss", [0.5, 0.49, 0.42, 0.41], 0.05, 2),
        ("val_accuracy", [0.5, 0.6, 0.55, 0.7], 0.0, 3),
        ("val_accuracy", [0.5, 0.6], 0.1, 0),  # no more than min_delta
    ],
)
def test_the_best_epoch_is_the_one_that_no_later_one_improves(
    monitor: Any, scores: list[float], min_delta: float, best_epoch: int
) -> None:
    stopping = EarlyStopping(monitor=monitor, patience=1, min_delta=min_delta)
    for last_bits in product(*map(neighbours, scores)):
        logs, best = [{monitor: score} for score in last_bits], 0
        for epoch in range(1, len(logs)):
            if has_improved(logs[best], logs[epoch], stopping):
                best = epoch
        assert best == best_epoch


@pytest.mark.parametrize("last_bits", [(-np.inf, np.inf), (np.inf, -np.inf)])
def test_of_two_equal_networks_the_first_gets_all_weight(
    last_bits: tuple[float, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the losses of the first network have other last bits than those of the second."""
    schema, losses, bits = build_schema("binary"), Setup.losses, cycle(last_bits)
    x = np.random.default_rng(0).normal(size=60)
    part = pa.table({"x": x, "y": (x > 0).astype(int)}, build_arrow_schema(schema))
    write_part(tmp_path, 0, part)
    setup = Setup([tmp_path], schema, load_train_params({"plain": {"epochs": 1}}, folds=2), build)
    monkeypatch.setattr(Setup, "losses", lambda *args: np.nextafter(losses(*args), next(bits)))
    good = np.clip(0.5 + x / 10, 0.1, 0.9).astype(np.float32)[:, None]
    weights = select_weights(setup, np.arange(60), {"first": good, "second": good, "bad": 1 - good})
    assert weights == {"first": 1.0, "second": 0.0, "bad": 0.0}
