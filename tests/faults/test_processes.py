"""Kills, full disks and processes beside each other: nothing is lost, spoilt or half there."""

import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands import check_output, run_command, start_command, wait_until
from tests.projects import STAGE_COMMANDS, STAGE_OUTPUTS, change_settings

PREDICT = (sys.executable, "-m", "keras_tabular", "predict")


def contents(folder: Path, names: list[str]) -> dict[str, bytes]:
    """Return every file of some outputs."""
    files = [file for name in names for file in [folder / name, *(folder / name).rglob("*")]]
    return {str(f.relative_to(folder)): f.read_bytes() for f in files if f.is_file()}


def remove(folder: Path, names: list[str]) -> dict[str, bytes]:
    """Remove outputs and return every file that they had."""
    removed = contents(folder, names)
    for name in names:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return removed


def partials(folder: Path) -> list[Path]:
    """What is being written, or was left."""
    return [
        path
        for place in ("data", "models", "metrics", ".")
        for path in (folder / place).glob(".*.partial")
    ]


def wait_until_it_writes(process: subprocess.Popen[str], folder: Path) -> bool:
    """Whether it was seen to write before it ended."""
    wait_until(lambda: partials(folder) or process.poll() is not None, pause=0.0005)
    return process.poll() is None


def test_a_stage_killed_while_it_writes_leaves_no_output_and_runs_again(workspace: Path) -> None:
    """It is killed until one of the kills came while it wrote."""
    rng, kills = random.Random(5), 0
    expected = contents(workspace, STAGE_OUTPUTS["split"])
    for _ in range(20):
        remove(workspace, STAGE_OUTPUTS["split"])
        process = start_command(workspace, *STAGE_COMMANDS["split"])
        kills += wait_until_it_writes(process, workspace)
        time.sleep(rng.random() * 0.01)
        process.kill()
        process.communicate(timeout=60)
        for name, content in contents(workspace, STAGE_OUTPUTS["split"]).items():
            assert content == expected[name], f"{name} is half written"
        if kills:
            break
    check_output(workspace, *STAGE_COMMANDS["split"])
    assert contents(workspace, STAGE_OUTPUTS["split"]) == expected
    assert partials(workspace) == []
    assert kills


def test_a_full_disk_is_one_message_and_the_next_run_recovers(workspace: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    expected = remove(workspace, STAGE_OUTPUTS["split"])
    done = run_command(
        workspace, "bash", "-c", 'ulimit -f 8 && exec "$@"', "sh", *STAGE_COMMANDS["split"]
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(r"cannot be written: File too large; .* MiB are free in", done.stderr)
    assert partials(workspace) == []
    check_output(workspace, *STAGE_COMMANDS["split"])
    assert contents(workspace, STAGE_OUTPUTS["split"]) == expected


@pytest.mark.slow
def test_an_interrupted_training_goes_on_to_the_same_bytes(workspace: Path) -> None:
    change_settings(workspace, train={"networks": {"plain": {"epochs": 3_000}}})
    check_output(workspace, *STAGE_COMMANDS["train"])
    expected = contents(workspace, STAGE_OUTPUTS["train"])
    (workspace / "models/networks.keras").unlink()
    process = start_command(workspace, *STAGE_COMMANDS["train"])
    wait_until(lambda: [*workspace.rglob("*.npz")] or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in errors
    assert not (workspace / "models/networks.keras").exists()
    check_output(workspace, *STAGE_COMMANDS["train"])
    assert contents(workspace, STAGE_OUTPUTS["train"]) == expected


def test_a_terminated_predict_leaves_nothing_behind(workspace: Path, tmp_path: Path) -> None:
    header, *rows = (workspace / "data/raw/diabetes.csv").read_text().splitlines(keepends=True)
    (tmp_path / "many.csv").write_text(header + "".join(rows * 500))
    many = str(tmp_path / "many.csv")
    process = start_command(workspace, *PREDICT, many, "-o", "out.csv")
    assert wait_until_it_writes(process, workspace), process.communicate()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "interrupted\n")
    assert not (workspace / "out.csv").exists()
    assert partials(workspace) == []
