"""Blocks, checkpoints and everything that Keras offers go through the one loop."""

import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from stages.lib import loop, network
from stages.lib.backend import keras, tf
from stages.lib.checkpoint import Checkpoint
from stages.lib.params import LOSSES, Activation, Data, Initializer, Optimizer, load_params
from tests.conftest import ENVIRONMENT, PROJECT

TRAIN = load_params(PROJECT / "params.yaml").train.model_copy(
    update={"units": (4,), "batch_size": 8, "dropout": 0.3}
)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(103, 5)).astype(np.float32)
Y = (X.sum(axis=1, keepdims=True) > 0).astype(np.float32)


def block(rows: slice = slice(None)) -> loop.Rows:
    return loop.Rows(*map(tf.constant, (X[rows], Y[rows], np.ones(len(X[rows]), np.float32))))


def data_of(task: str) -> Data:
    """What the loop has to know of a table: its task, here with two classes or none."""
    target: dict[str, Any] = (
        {"kind": "real"} if task == "regression" else {"kind": "integer", "values": (0, 1)}
    )
    if task == "multiclass":
        target["values"] = (0, 1, 2)
    return Data.model_validate(
        {
            "source": "t.csv",
            "task": task,
            "target": "y",
            "positive": 1,
            "columns": {"x": {"kind": "real"}, "y": target},
        }
    )


def new_loop(*, one_vector: bool = True, task: str = "binary", **changes: Any) -> loop.Loop:
    data = data_of(task)
    keras.utils.set_random_seed(3)
    train = TRAIN.model_copy(update=changes)
    stack = network.layers(train, data)
    model = network.compiled(stack, X.shape[1], train, data, one_vector=one_vector)
    return loop.Loop(model, train.batch_size)


def state(training: loop.Loop) -> list[bytes]:
    return [np.asarray(variable).tobytes() for variable in loop.variables(training.model)]


class Lazy:
    """Blocks that are made when they are asked for."""

    def __init__(self, *cuts: slice) -> None:
        self.cuts = cuts
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self.cuts)

    def __getitem__(self, number: int) -> loop.Rows:
        self.asked.append(number)
        return block(self.cuts[number])


def test_a_table_of_one_block_is_the_same_bytes_as_arrays_in_memory() -> None:
    states = []
    for rows in ([block()], Lazy(slice(None))):
        training = new_loop()
        training.fit(rows, [block()], epochs=3, seed=1, callbacks=[])
        states.append(state(training))
    assert states[0] == states[1]


def test_blocks_come_in_another_order_each_epoch_and_every_row_counts() -> None:
    cuts = [slice(0, 40), slice(40, 80), slice(80, 103)]
    runs = []
    for _ in range(2):
        blocks, training = Lazy(*cuts), new_loop()
        history = training.fit(blocks, [], epochs=6, seed=1, callbacks=[])
        runs.append((blocks.asked, history, state(training)))
        iterations = int(training.model.optimizer.iterations)
        assert iterations == 6 * (5 + 5 + 3)
    assert runs[0] == runs[1]
    epochs = [tuple(runs[0][0][i : i + 3]) for i in range(0, 18, 3)]
    assert all(sorted(epoch) == [0, 1, 2] for epoch in epochs)
    assert len(set(epochs)) > 1


def test_blocks_of_equal_size_share_a_graph_and_score_like_one() -> None:
    training = new_loop(dropout=0.0)
    whole = training.fit([block()], [block()], epochs=1, seed=1, callbacks=[])[0]
    again = new_loop(dropout=0.0)
    again.fit([block()], [], epochs=1, seed=1, callbacks=[])
    cut = [block(slice(i, i + 25)) for i in (0, 25, 50, 75)] + [block(slice(100, 103))]
    scores = again.fit(cut, [], epochs=1, seed=1, callbacks=[])
    assert len(scores) == 1
    assert len(again._full._traced) == 3
    parts = training.fit([block()], cut, epochs=1, seed=1, callbacks=[])[0]
    assert parts.keys() == whole.keys()
    expected = training.model.evaluate(X, Y, verbose=0)
    assert [parts["val_loss"], parts["val_accuracy"]] == pytest.approx(expected, rel=1e-5)


def test_the_rows_to_watch_do_not_touch_what_training_counts() -> None:
    """They are scored for the first time while the steps of the training are compiled."""
    many = loop.Rows(*(tf.repeat(part, 2000, axis=0) for part in block()[:3]))
    alone, watched = (
        new_loop(dropout=0.0).fit([block()], rows, epochs=2, seed=1, callbacks=[])
        for rows in ([], [many])
    )
    assert [logs["loss"] for logs in alone] == [logs["loss"] for logs in watched]


class Killed(BaseException):
    """Like SIGKILL: nothing between the epoch and the end of the process handles it."""


class KillAt(keras.callbacks.Callback):
    def __init__(self, epoch: int) -> None:
        super().__init__()
        self._epoch = epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch == self._epoch:
            raise Killed


def test_a_killed_training_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three kills; with dropout, Adam and early stopping that restores the best weights."""
    monkeypatch.setattr("stages.lib.checkpoint.SECONDS", 0.0)

    def fit(kill: int | None, name: str = "a", **changes: Any) -> tuple[Any, list[bytes]]:
        training = new_loop(learning_rate=0.05, **changes)
        stop = keras.callbacks.EarlyStopping(patience=12, restore_best_weights=True)
        history = training.fit(
            *([block(slice(0, 60))], [block(slice(60, 103))]),
            epochs=60,
            seed=1,
            callbacks=[stop] if kill is None else [stop, KillAt(kill)],
            checkpoint=Checkpoint(tmp_path / f"{name}.npz", f"{changes}"),
        )
        return history, state(training)

    expected = fit(None, name="never killed")
    last = len(expected[0]) - 1
    assert 10 < last < 59
    for epoch in sorted(int(n) for n in np.random.default_rng().choice(last, 3, replace=False)):
        with pytest.raises(Killed):
            fit(epoch)
    assert fit(None) == expected
    assert fit(None)[0] == expected[0]  # it has ended: nothing is trained again
    assert len(fit(None, dropout=0.1)[0]) > 0
    assert fit(None, dropout=0.1)[1] != expected[1]
    (tmp_path / "a.npz").write_bytes(b"PK broken")
    assert fit(None) == expected


CHOICES = (
    [{"optimizer": name} for name in get_args(Optimizer)]
    + [{"loss": name, "task": task} for task, names in LOSSES.items() for name in names]
    + [{"kernel_initializer": name} for name in get_args(Initializer)]
    + [{"activation": name} for name in get_args(Activation)]
)


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: "-".join(choice.values()))
def test_every_choice_of_the_params_trains(choice: dict[str, Any]) -> None:
    training = new_loop(**choice)
    rows = block(slice(0, 20))
    before = state(training)
    history = training.fit([rows], [rows], epochs=2, seed=1, callbacks=[])
    assert len(history) == 2
    assert state(training) != before


def test_the_same_bytes_on_one_core_and_on_two() -> None:
    """Both kinds of network, in processes that have one core and two."""
    code = (
        "import hashlib, os, sys\nos.sched_setaffinity(0, range(int(sys.argv[1])))\n"
        "from tests import test_loop as t\n"
        "for one_vector, units in ((True, (4,)), (False, (600,))):\n"
        "    training = t.new_loop(one_vector=one_vector, units=units, batch_size=64)\n"
        "    training.fit([t.block()], [t.block()], epochs=3, seed=1, callbacks=[])\n"
        "    print(hashlib.md5(b''.join(t.state(training))).hexdigest())\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code, cores],
            cwd=PROJECT,
            env=ENVIRONMENT,
            capture_output=True,
            check=True,
        ).stdout
        for cores in "12"
    }
    assert len(found) == 1


def start_training(folder: Path, split: Path) -> subprocess.Popen[str]:
    out = [str(folder / n) for n in ("m.keras", "curves", "held", "f.json", "state")]
    return subprocess.Popen(
        [sys.executable, "-m", "stages.train", split / "train", split / "validation", *out],
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
        folder.mkdir()
        (folder / "params.yaml").write_text(params)
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
