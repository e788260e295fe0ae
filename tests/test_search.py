"""A search repeats, goes on after an interruption, and reports the scores that train then gets."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from stages.lib import ensemble, training, trials
from stages.lib.blocks import all_labels
from stages.lib.cross_validation import fold_scores, with_folds
from stages.lib.params import Params, load_params
from stages.lib.scores import score
from stages.lib.stage import UserError
from stages.lib.table import write_part
from tests.conftest import ENVIRONMENT, PROJECT, must

# Trainings of a second or so, and one of two learning rates leads out of the finite numbers.
TRAIN = {"epochs": 400, "ensemble": 2, "learning_rate": 0.0001}
SEARCH = {
    "trials": 4,
    "seed": 10,
    "space": {"units": [[8], [12]], "learning_rate": [0.002, 0.02, 1e30]},
}
# Each trial in a process of its own, as after the tenth one by default.
ALONE = "from stages import search; search.TRIALS_A_PROCESS = 1; search.run(search.main)"


def changed(changes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """params.yaml with other values in its sections."""
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    return params | {section: params[section] | keys for section, keys in changes.items()}


@pytest.fixture(scope="module")
def searched(reproduced: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A clone in which a search has run, and what this printed."""
    folder = tmp_path_factory.mktemp("searched") / "clone"
    shutil.copytree(reproduced, folder, symlinks=True)
    params = changed({"train": TRAIN, "search": SEARCH})
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return folder, must(folder, "python", "-m", "stages.search")


def ended(storage: Path) -> int:
    """How many trials an SQLite file holds that were not interrupted."""
    try:
        with closing(sqlite3.connect(f"file:{storage}?mode=ro", uri=True)) as file:
            return file.execute("select count(*) from trials where datetime_complete").fetchone()[0]
    except sqlite3.OperationalError:  # not there yet
        return 0


def start(folder: Path, storage: Path, *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command, "--storage", storage],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_an_interrupted_search_ends_as_one_that_was_not(
    searched: tuple[Path, str], tmp_path: Path
) -> None:
    """Ctrl-C in the second trial or the third, SIGKILL in a later one."""
    folder, expected = searched
    storage = tmp_path / "new" / "trials.db"
    for sent in (signal.SIGINT, signal.SIGKILL):
        before = ended(storage)
        process = start(folder, storage, "-m", "stages.search")
        while ended(storage) == before and process.poll() is None:
            time.sleep(0.05)
        sent_at = time.monotonic()
        process.send_signal(sent)
        output, errors = process.communicate()
        assert time.monotonic() - sent_at < 8  # about 1 on an idle machine
        assert output == ""
        assert "Traceback" not in errors
        if sent == signal.SIGINT:
            assert process.returncode == 1
            assert f"interrupted after {ended(storage)} of 4 trials; the same command" in errors
    assert 2 <= ended(storage) < 4
    process = start(folder, storage, "-c", ALONE)
    assert process.communicate() == (expected, "")


def test_ctrl_c_counts_while_objects_are_removed() -> None:
    """Python drops an exception there, and a search removes many objects between its trials."""
    code = (
        "import os, signal, time\nfrom stages.lib.stage import run\n"
        "class Removed:\n    def __del__(self): os.kill(os.getpid(), signal.SIGINT)\n"
        "def main():\n    Removed()\n    time.sleep(20)\n    print('not interrupted')\n"
        "run(main)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "interrupted\n")


def test_the_printed_command_gives_the_printed_score(searched: tuple[Path, str]) -> None:
    folder, output = searched
    assert "given up" in output.splitlines()[0]
    best, command = output.splitlines()[3].split(), output.splitlines()[-1]
    assert command.startswith("dvc exp run -S ")
    must(folder, "bash", "-c", command)
    metrics = json.loads((folder / "metrics/metrics.json").read_text())
    assert f"{metrics['cross_validation']['loss']:.6f}" == best[1]


@pytest.mark.parametrize(("task", "name"), [("regression", "rmse"), ("multiclass", "macro.f1")])
def test_the_last_score_is_that_of_all_rows(task: str, name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    classes = task == "multiclass"
    y = np.digitize(x, [-0.5, 0.5]) if classes else 1000 + 50 * x
    target = {"kind": "integer", "values": (0, 1, 2)} if classes else {"kind": "real"}
    columns = {"x": {"kind": "real"}, "y": target}
    data = {"source": "t.csv", "task": task, "target": "y", "columns": columns}
    train = {"epochs": 5, "ensemble": 1, "units": [4]}
    found = changed({"train": train, "search": {"score": name, "folds": 3}}) | {"data": data}
    params = with_folds(Params.model_validate(found), len(x))
    write_part(tmp_path, 0, pa.table({"x": x, "y": y}))

    *_, last = fold_scores(params, tmp_path)

    ready = training.ready(tmp_path, params.data, params.train)
    members = list(ensemble.fit(ready.untrained, ready.rows, [], params.train))
    outputs = np.concatenate(ensemble.held_out(members, ready.rows.sizes))
    labels = all_labels(tmp_path, params.data)[:, 0]
    expected: Any = score(labels, ready.in_units(outputs), params.data, 0.5)
    for key in name.split("."):
        expected = expected[key]
    assert len(members) == 3
    assert last == expected


@pytest.mark.parametrize("less_is_better", [True, False])
def test_a_trial_is_given_up_below_the_median_of_those_that_came_as_far(
    less_is_better: bool, tmp_path: Path
) -> None:
    study = trials.open_study(tmp_path / "t.db", "a", less_is_better=less_is_better)
    for value in (1.0, 2.0, 4.0, 5.0):
        assert not trials.is_bad(study, 100.0 if less_is_better else -100.0, 2)
        trial = study.ask()
        trial.report(value, 2)
        study.tell(trial, value)
    interrupted = study.ask()
    interrupted.report(0.0, 2)
    assert trials.is_bad(study, 3.5, 2) is less_is_better
    assert trials.is_bad(study, 2.5, 2) is not less_is_better
    assert not trials.is_bad(study, 3.5, 3)
    assert trials.ranked(study, study.trials)[0].value == (1.0 if less_is_better else 5.0)


def test_another_storage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.db").write_text("no database, but a text of some length" * 100)
    with pytest.raises(UserError, match=r"t\.db: no storage of a search; remove it"):
        trials.open_study(tmp_path / "t.db", "a", less_is_better=True)


def test_what_is_drawn_lies_in_the_space_and_the_first_trial_is_the_present(tmp_path: Path) -> None:
    """`l2` of params.yaml lies outside of this space, and stays as it is in the first trial."""
    space = {
        "units": [[8], [16]],
        "epochs": {"low": 5, "high": 200},
        "l2": {"low": 1, "high": 2},
        "learning_rate": {"low": "1e-4", "high": 0.012345, "log": True},
    }
    params = Params.model_validate(changed({"search": {"space": space}}))
    drawn = trials.Space(params)
    study = trials.open_study(tmp_path / "t.db", "a", less_is_better=True)
    trial = trials.draw(study, drawn, 1)
    assert drawn.params(trial.params) == params
    study.tell(trial, 1.0)
    for number in range(15):
        trial = trials.draw(study, drawn, 1)
        train = drawn.params(trial.params).train
        assert train.units in ((8,), (16,))
        assert 5 <= train.epochs <= 200
        assert 1 <= train.l2 <= 2
        assert 1e-4 <= train.learning_rate <= 0.012345
        study.tell(trial, float(number))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a score of another task": ({"score": "rmse"}, "search.score: found 'rmse'. Allowed: accuracy"),
    "no key of train": ({"space": {"unit": [[8]]}}, "search.space.unit: .*Did you mean 'units'"),
    "a key that is not searched": ({"space": {"seed": [1, 2]}}, "search.space.seed: no key to"),
    "a wrong value": ({"space": {"units": [[8], [0]]}}, "space.units.0: found 0; .*at least 1"),
    "an unknown name": ({"space": {"activation": ["silo"]}}, "Did you mean 'silu'"),
    "a loss of another task": ({"space": {"loss": ["huber"]}}, "space.loss: found 'huber'"),
    "a range of lists": ({"space": {"units": {"low": 3, "high": 4}}}, "units: found 3; .*list"),
    "a misspelt key": ({"space": {"l2": {"lo": 0, "high": 1}}}, "l2.lo: .*Did you mean 'low'"),
    "an empty list": ({"space": {"l2": []}}, r"space.l2: found \[\]; expected a list of one"),
    "no list": ({"space": {"l2": 3}}, "space.l2: found 3; expected a list of values, or low"),
    "low above high": ({"space": {"l2": {"low": 2, "high": 1}}}, "l2: .*low below high"),
    "log of zero": ({"space": {"l2": {"low": 0, "high": 1, "log": True}}}, "l2: .*above 0"),
    "a part of a number": ({"space": {"epochs": {"low": 1, "high": 9.5}}}, "epochs: found 9.5"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_space_is_named(name: str, tmp_path: Path) -> None:
    search, message = WRONG[name]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(changed({"search": search})))
    with pytest.raises(UserError, match=message):
        load_params(tmp_path / "params.yaml")


def test_optuna_writes_a_value_as_dvc_reads_it() -> None:
    values = [None, True, (16, 8), 0.002, "relu", {"patience": 3, "min_delta": 0.0}]
    texts = ["null", "true", "[16,8]", "0.002", "relu", "{patience:3,min_delta:0.0}"]
    assert list(map(trials.written, values)) == texts
