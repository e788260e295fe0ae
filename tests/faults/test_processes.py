"""Kills, full disks and processes beside each other: nothing is lost, spoilt or half there."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import optuna
import pytest

from tests.helpers import COMMANDS, ENVIRONMENT, SHORT, must, run

STAGES = ("ingest", "validate", "split", "train", "calibrate", "evaluate")
OUTS = {
    "ingest": ["data/ingested", "metrics/profile.json"],
    "validate": ["data/validated", "data/rejected", "metrics/validation.json"],
    "split": ["data/split"],
    "train": ["models/networks.keras", "data/oof", "metrics/networks.json", "metrics/curves"],
    "calibrate": ["models/model.keras"],
    "evaluate": ["metrics/metrics.json", "metrics/scores.json", "data/predictions"],
}


def contents(folder: Path, names: list[str]) -> dict[str, bytes]:
    """Every file of some outputs."""
    files = [file for name in names for file in [folder / name, *(folder / name).rglob("*")]]
    return {str(f.relative_to(folder)): f.read_bytes() for f in files if f.is_file()}


def partials(folder: Path) -> list[Path]:
    """What is being written, or was left."""
    return [
        path
        for place in ("data", "models", "metrics", ".")
        for path in (folder / place).glob(".*.partial")
    ]


def begin(folder: Path, *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_it_writes(process: subprocess.Popen[str], folder: Path) -> bool:
    """Whether it was seen to write before it ended."""
    deadline = time.monotonic() + 120
    while not partials(folder):
        if process.poll() is not None:
            return False
        assert time.monotonic() < deadline
    return True


@pytest.fixture(scope="module")
def shortened(reproduced: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose training takes a second."""
    folder = tmp_path_factory.mktemp("shortened") / "project"
    shutil.copytree(reproduced, folder, symlinks=True)
    must(folder, "dvc", "exp", "run", *SHORT)
    return folder


@pytest.fixture
def short(shortened: Path, tmp_path: Path) -> Path:
    """A copy of it for each test."""
    return Path(shutil.copytree(shortened, tmp_path / "project", symlinks=True))


def test_a_stage_killed_while_it_writes_leaves_no_output_and_runs_again(short: Path) -> None:
    rng, kills = random.Random(5), dict.fromkeys(STAGES, 0)
    for stage in STAGES:
        expected = contents(short, OUTS[stage])
        for _ in range(3):
            for name in OUTS[stage]:
                path = short / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            process = begin(short, *COMMANDS[stage])
            kills[stage] += wait_until_it_writes(process, short)
            time.sleep(rng.random() * 0.01)
            process.kill()
            process.communicate()
            for name, content in contents(short, OUTS[stage]).items():
                assert content == expected[name], f"{name} is half written"
        must(short, *COMMANDS[stage])
        assert contents(short, OUTS[stage]) == expected
        assert partials(short) == []
    assert sum(kills.values()) >= 5, kills
    print(f"\n{kills} kills while a stage wrote, nothing lost")


@pytest.fixture
def small_disk(short: Path, tmp_path: Path) -> Iterator[Path]:
    """The project on a file system of 32 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = run(tmp_path, "mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(disk))
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.strip()}")
    try:
        for name in ("data", "models", "metrics"):
            shutil.copytree(short / name, disk / name)
        for name in ("stages", "commands", "tabular", "params.yaml"):
            (disk / name).symlink_to(short / name)
        yield disk
    finally:
        must(tmp_path, "umount", str(disk))


def test_a_full_disk_is_one_message_and_the_next_run_recovers(small_disk: Path) -> None:
    filler, met = small_disk / "filler", 0
    for stage in STAGES:
        expected = contents(small_disk, OUTS[stage])
        for name in OUTS[stage]:
            path = small_disk / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for left in (0, 12_288):
            with filler.open("wb") as file:
                free = shutil.disk_usage(small_disk).free - left
                os.posix_fallocate(file.fileno(), 0, free)
            done = run(small_disk, *COMMANDS[stage])
            assert done.returncode == 1, stage
            assert "Traceback" not in done.stderr
            assert "cannot be written: No space left on device; 0.0 MiB are free in" in done.stderr
            assert partials(small_disk) == []
            filler.unlink()
            met += 1
        must(small_disk, *COMMANDS[stage])
        assert contents(small_disk, OUTS[stage]) == expected
    print(f"\n{met} full disks met, nothing lost")


@pytest.mark.parametrize("stage", STAGES)
def test_a_quota_of_file_sizes_is_one_message(short: Path, stage: str) -> None:
    done = subprocess.run(
        COMMANDS[stage],
        cwd=short,
        env=ENVIRONMENT,
        preexec_fn=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (1500, 1500)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "File too large" in done.stderr
    assert partials(short) == []


def test_two_searches_on_one_storage_do_not_mix(short: Path) -> None:
    command = [sys.executable, "-m", "commands.search", "--trials", "3"]
    both = [begin(short, *command) for _ in range(2)]
    ends = [(process.communicate(timeout=240), process.returncode) for process in both]
    assert sorted(code for _, code in ends) == [0, 1], ends
    (refused,) = [err for (_, err), code in ends if code]
    assert "a search runs in another process" in refused
    storage = f"sqlite:///{short}/.search/trials.db"
    (study,) = optuna.get_all_study_summaries(storage)
    assert study.n_trials == 3


def test_two_reports_at_once_are_both_written(short: Path) -> None:
    both = [begin(short, sys.executable, "-m", "commands.report") for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert "</html>" in (short / "report.html").read_text()
    assert partials(short) == []


def test_predict_while_train_runs_again_has_the_old_model_or_the_new_one(short: Path) -> None:
    predict = [sys.executable, "-m", "commands.predict", "data/raw/diabetes.csv"]
    expected = must(short, *predict)
    train = begin(short, "dvc", "repro", "--force", "--single-item", "train")
    answers = 0
    while train.poll() is None or answers < 3:
        assert must(short, *predict) == expected
        answers += 1
    assert train.wait() == 0, train.communicate()
    (short / "models/model.keras").unlink()  # as DVC does before train runs
    done = run(short, *predict)
    assert done.stdout == expected
    assert "using what dvc.lock names" in done.stderr
    print(f"\n{answers + 1} predictions while train ran again")


def test_a_terminated_predict_leaves_nothing_behind(short: Path, tmp_path: Path) -> None:
    header, *rows = (short / "data/raw/diabetes.csv").read_text().splitlines(keepends=True)
    (tmp_path / "many.csv").write_text(header + "".join(rows * 500))
    process = begin(
        short, sys.executable, "-m", "commands.predict", str(tmp_path / "many.csv"), "-o", "out.csv"
    )
    assert wait_until_it_writes(process, short), process.communicate()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "interrupted\n")
    assert not (short / "out.csv").exists()
    assert partials(short) == []


def test_a_pipe_among_the_tables_is_named_and_not_waited_for(short: Path) -> None:
    (short / "data/parts").mkdir()
    os.mkfifo(short / "data/parts/a.csv")
    schema = short / "data/schema.yaml"
    schema.write_text(schema.read_text().replace("data/raw/diabetes.csv", "data/parts"))
    done = run(short, *COMMANDS["ingest"])
    assert done.returncode == 1
    assert "data/parts/a.csv: found a folder, a pipe or a device" in done.stderr


def test_training_state_that_is_a_file_is_one_message(short: Path) -> None:
    (short / ".training").write_text("a file")
    done = run(short, *COMMANDS["train"])
    assert done.returncode == 1
    assert ".training" in done.stderr
    assert "Traceback" not in done.stderr
