"""Whatever the params choose trains, and to the same bytes after a kill."""

import hashlib
import signal
import subprocess
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import yaml

from tabular.config.sections import LOSSES, Activation, Initializer, Optimizer
from tabular.model import network
from tabular.model.backend import keras, tf
from tabular.model.training.trainer import Rows, Trainer
from tests.helpers import (
    PROJECT,
    begin,
    schema_of,
    train_params,
    wait_until,
)

# Every name once at least: two layers have two of the activations and initializers.
ACTIVATIONS, OPTIMIZERS, INITIALIZERS = map(get_args, (Activation, Optimizer, Initializer))
LOSS_AND_TASK = [(loss, task) for task, losses in LOSSES.items() for loss in losses]
CHOICES = [
    (
        OPTIMIZERS[i],
        *LOSS_AND_TASK[i % len(LOSS_AND_TASK)],
        *(ACTIVATIONS[(2 * i + n) % len(ACTIVATIONS)] for n in range(2)),
        *(INITIALIZERS[(2 * i + n) % len(INITIALIZERS)] for n in range(2)),
    )
    for i in range(len(OPTIMIZERS))
]


def test_the_choices_below_are_all_of_the_params() -> None:
    tried = {name for choice in CHOICES for name in choice}
    assert tried >= {*OPTIMIZERS, *ACTIVATIONS, *INITIALIZERS, *(loss for loss, _ in LOSS_AND_TASK)}


@pytest.mark.slow
@pytest.mark.parametrize("choice", CHOICES, ids="-".join)
def test_every_choice_of_the_params_trains(choice: tuple[str, ...]) -> None:
    optimizer, loss, task, *of_layers = choice
    schema = schema_of(task)
    trains = [
        train_params(
            {
                "plain": {
                    **{"optimizer": optimizer, "units": (4,), "activation": activation},
                    **{"kernel_initializer": initializer, "batch_size": 8},
                    **{"learning_rate": 0.002, "learning_rate_schedule": "constant"},
                }
            },
            loss=loss,
        ).resolved(4, task, 8)
        for activation, initializer in zip(of_layers[:2], of_layers[2:], strict=True)
    ]
    x = np.random.default_rng(0).normal(size=(4, 5))
    y = x.sum(axis=1, keepdims=True) > 0
    rows = Rows(*(tf.constant(values, tf.float32) for values in (x, y, np.ones(4))))
    keras.utils.set_random_seed(3)
    read = output = keras.Input((5,))
    for train in trains:  # the hidden layer of the one, then the whole of the other
        of = train.networks["plain"]
        model = keras.Model([read], network.build([output], of, schema))
        if train is trains[0]:
            model.layers[1].name = "first"
            output = model.layers[1].output
    before = network.features(network.Columns(x, 0, 5), of)
    whole = network.training_model(model, before, of, train, schema, steps=2)
    trainer = Trainer(whole, batch_size=8)
    weights = model.get_weights()
    history = trainer.fit(whole, [rows], [], epochs=2, seed=1, callbacks=[])
    network.copy_trained_weights(model, whole)
    assert len(history) == 2
    assert len(weights) == 6
    assert all((a != b).any() for a, b in zip(weights, model.get_weights(), strict=True))


@pytest.mark.parametrize("schedule", ["cosine", "cycles"])
def test_a_learning_rate_may_follow_the_steps(schedule: str) -> None:
    rate, steps = 0.5, 450  # four cycles
    keys = {"learning_rate": rate, "learning_rate_schedule": schedule}
    of = train_params({"plain": keys}).resolved(100, "binary", 8).networks["plain"]
    found = network.optimizer(of, steps)
    seen = []
    for step in range(steps + 1):
        found.iterations.assign(step)
        seen.append(float(found.learning_rate))
    assert max(seen) == pytest.approx(rate, rel=0.01)
    assert seen[-1] == pytest.approx(0, abs=1e-6)
    peaks = [b for a, b, c in zip(seen, seen[1:], seen[2:], strict=False) if a < b > c]
    assert len(peaks) == (4 if schedule == "cycles" else 0)


def start_training(folder: Path, split: Path) -> subprocess.Popen[str]:
    return begin(
        folder,
        *("python", "-m", "stages.train", str(split), "m.keras", "oof", "metrics"),
        *("--state", "state"),
        PYTHONPATH=str(PROJECT),
    )


def written(folder: Path) -> dict[str, int]:
    """When the state of each member was last written."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / "state").glob("*.npz")}


def wait_for_state(folder: Path, process: subprocess.Popen[str]) -> None:
    """Until both members have written theirs, or once more."""
    known = written(folder)

    def both_are_new() -> bool:
        assert process.poll() is None, process.communicate()[1]
        new = written(folder).items() - known.items()
        return {name.partition("-")[0] for name, _ in new} == {"realmlp", "plain"}

    wait_until(both_are_new)


@pytest.mark.slow
def test_sigkill_and_ctrl_c_end_the_process_and_the_next_run_goes_on(
    short: Path, tmp_path: Path
) -> None:
    """With members of two kinds, which train at the same time: in epochs, and in cycles."""
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    train = params["train"]
    train |= {"folds": 1, "members": [{"network": "realmlp"}, {"network": "plain"}]}
    constant = {"learning_rate": 0.002, "learning_rate_schedule": "constant"}
    train["networks"]["plain"] |= constant | {"epochs": 40_000}
    train["networks"]["realmlp"] |= {"epochs": 2_000}  # eight cycles
    digests = []
    for kill in (False, True):
        folder = tmp_path / str(kill)
        (folder / "data").mkdir(parents=True)
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
        (folder / "data/schema.yaml").symlink_to(PROJECT / "data/schema.yaml")
        for sent in (signal.SIGKILL, signal.SIGINT) if kill else ():
            process = start_training(folder, short / "data/split")
            wait_for_state(folder, process)
            process.send_signal(sent)
            _, errors = process.communicate(timeout=20)  # below 2 on an idle machine
            assert "Traceback" not in errors
            assert process.returncode in (1, -signal.SIGKILL)
            assert not (folder / "m.keras").exists()
        process = start_training(folder, short / "data/split")
        assert "Traceback" not in process.communicate(timeout=240)[1]
        assert process.returncode == 0
        assert not (folder / "state").exists()
        names = ("m.keras", "metrics/networks.json", "metrics/curves/loss.csv")
        digests.append([hashlib.md5((folder / name).read_bytes()).hexdigest() for name in names])
    assert digests[0] == digests[1]
