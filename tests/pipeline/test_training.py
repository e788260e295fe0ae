"""Whatever the params choose trains, and to the same bytes after a kill."""

import hashlib
import signal
import subprocess
from pathlib import Path
from typing import get_args

import pytest
import yaml

from tabular.config.sections import LOSSES, Activation, Initializer, Optimizer
from tabular.model import network
from tabular.model.backend import keras
from tests.helpers import (
    PROJECT,
    begin,
    train_params,
    wait_until,
)


def test_keras_has_every_choice_of_the_params() -> None:
    """`make check-cpu` computes with each of them."""
    for names, get in (
        (get_args(Optimizer), keras.optimizers.get),
        (get_args(Activation), keras.activations.get),
        (get_args(Initializer), keras.initializers.get),
        ({name for losses in LOSSES.values() for name in losses}, keras.losses.get),
    ):
        assert [name for name in names if not callable(get(name)) and not get(name)] == []


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
