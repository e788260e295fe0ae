"""Whatever the params choose trains, to the same bytes on any number of cores and after a kill."""

import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from tabular.model import network
from tabular.model.backend import keras, tf
from tabular.model.trainer import Rows, Trainer
from tabular.params.train import LOSSES, Activation, Initializer, Optimizer
from tests.helpers import ENVIRONMENT, PROJECT, must, schema_of, train_params

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


@pytest.mark.parametrize("choice", CHOICES, ids="-".join)
def test_every_choice_of_the_params_trains(choice: tuple[str, ...]) -> None:
    optimizer, loss, task, *of_layers = choice
    schema, train = schema_of(task), train_params(optimizer=optimizer, loss=loss, units=(4,))
    keras.utils.set_random_seed(3)
    stacks = [
        network.layers(
            train.model_copy(update={"activation": activation, "kernel_initializer": initializer}),
            schema,
        )
        for activation, initializer in zip(of_layers[:2], of_layers[2:], strict=True)
    ]
    stack = [stacks[0][0], *stacks[1]]
    model = network.compiled(stack, 5, train, schema, flat=True)
    x = np.random.default_rng(0).normal(size=(4, 5))
    y = x.sum(axis=1, keepdims=True) > 0
    rows = Rows(*(tf.constant(values, tf.float32) for values in (x, y, np.ones(4))))
    trainer = Trainer(model, batch_size=8)
    trainer.fit([rows], [], epochs=1, seed=1, callbacks=[])  # makes the variables
    before = network.weights(model)
    history = trainer.fit([rows], [], epochs=2, seed=1, callbacks=[])
    assert len(history) == 2
    assert all((a != b).any() for a, b in zip(before, network.weights(model), strict=True))


TRAIN_SOMETHING = """\
import hashlib, os, sys
os.sched_setaffinity(0, range(int(sys.argv[1])))
import numpy as np
from tabular.model import network, trainer
from tabular.model.backend import keras, tf
from tests.helpers import schema_of, train_params
schema, x = schema_of("binary"), np.random.default_rng(0).normal(size=(103, 5))
y = x.sum(axis=1, keepdims=True) > 0
rows = trainer.Rows(*(tf.constant(part, tf.float32) for part in (x, y, np.ones(103))))
for flat, units in ((True, (4,)), (False, (600,))):
    train = train_params(units=units, batch_size=64, dropout=0.3)
    keras.utils.set_random_seed(3)
    model = network.compiled(network.layers(train, schema), 5, train, schema, flat=flat)
    fitted = trainer.Trainer(model, train.batch_size)
    fitted.fit([rows], [rows], epochs=3, seed=1, callbacks=[])
    state = [np.asarray(variable).tobytes() for variable in trainer.variables(model)]
    print(hashlib.md5(b"".join(state)).hexdigest())
"""


def test_the_same_bytes_on_one_core_and_on_two() -> None:
    """Both kinds of network, in processes that have one core and two."""
    found = {must(PROJECT, sys.executable, "-c", TRAIN_SOMETHING, cores) for cores in "12"}
    assert len(found) == 1
    assert len(set(found.pop().split())) == 2


def start_training(folder: Path, split: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "stages.train", "--train", split / "train"),
            *("--validation", split / "validation", "--model", "m.keras", "--oof", "oof"),
            *("--curves", "curves", "--state", "state"),
        ],
        cwd=folder,
        env=ENVIRONMENT | {"PYTHONPATH": str(PROJECT)},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_state(folder: Path, process: subprocess.Popen[str]) -> None:
    known = (folder / "state/0.npz").stat().st_mtime if (folder / "state/0.npz").exists() else 0
    while process.poll() is None:
        if (folder / "state/0.npz").exists() and (folder / "state/0.npz").stat().st_mtime != known:
            return
        time.sleep(0.05)
    raise AssertionError(process.communicate()[1])


def test_sigkill_and_ctrl_c_end_the_process_and_the_next_run_goes_on(
    reproduced: Path, tmp_path: Path
) -> None:
    params = (PROJECT / "params.yaml").read_text()
    for default, long in (("epochs: 100", "epochs: 6000"), ("ensemble: 10", "ensemble: 1")):
        assert default in params
        params = params.replace(default, long)
    digests = []
    for kill in (False, True):
        folder = tmp_path / str(kill)
        (folder / "data").mkdir(parents=True)
        (folder / "params.yaml").write_text(params)
        (folder / "data/schema.yaml").symlink_to(PROJECT / "data/schema.yaml")
        for sent in (signal.SIGKILL, signal.SIGINT) if kill else ():
            process = start_training(folder, reproduced / "data/split")
            wait_for_state(folder, process)
            sent_at = time.monotonic()
            process.send_signal(sent)
            _, errors = process.communicate()
            assert time.monotonic() - sent_at < 2
            assert "Traceback" not in errors
            assert process.returncode in (1, -signal.SIGKILL)
            assert not (folder / "m.keras").exists()
        process = start_training(folder, reproduced / "data/split")
        assert "Traceback" not in process.communicate()[1]
        assert process.returncode == 0
        assert not (folder / "state").exists()
        files = [folder / "m.keras", folder / "curves" / "loss.csv"]
        digests.append([hashlib.md5(file.read_bytes()).hexdigest() for file in files])
    assert digests[0] == digests[1]
