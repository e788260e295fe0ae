"""Killed processes and full disks leave no output that is incomplete."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.commands import check_output, run_command, start_command, wait_until
from tests.projects import STAGE_COMMANDS, STAGE_OUTPUTS, change_settings

# Most tests run this stage.
COMMAND = STAGE_COMMANDS["split"]
OUTPUTS = STAGE_OUTPUTS["split"]


def read_files(folder: Path, outputs: list[str]) -> dict[str, bytes]:
    """Return the content of every file of some outputs."""
    paths = [folder / name for name in outputs]
    for name in outputs:
        paths += (folder / name).rglob("*")
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths if p.is_file()}


def remove(folder: Path, outputs: list[str]) -> None:
    for name in outputs:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def partial_files(folder: Path) -> list[Path]:
    """Return the outputs that a process is writing, or has left behind."""
    files = list(folder.glob(".*.partial"))
    for name in ("data", "models", "metrics"):
        files += (folder / name).glob(".*.partial")
    return files


def wait_until_it_writes(process: subprocess.Popen[str], folder: Path) -> bool:
    """Return whether a process was seen to write before it ended."""
    wait_until(
        lambda: partial_files(folder) or process.poll() is not None,
        pause=0.0005,
    )
    return process.poll() is None


def test_a_stage_killed_while_it_writes_leaves_no_output_and_runs_again(
    workspace: Path,
) -> None:
    """The stage is killed until one of the kills comes while it writes."""
    expected = read_files(workspace, OUTPUTS)
    rng = random.Random(5)
    for _ in range(20):
        remove(workspace, OUTPUTS)
        process = start_command(workspace, *COMMAND)
        was_writing = wait_until_it_writes(process, workspace)
        time.sleep(rng.random() * 0.01)
        process.kill()
        process.communicate(timeout=60)
        assert read_files(workspace, OUTPUTS).items() <= expected.items()
        if was_writing:
            break
    assert was_writing
    check_output(workspace, *COMMAND)
    assert read_files(workspace, OUTPUTS) == expected
    assert partial_files(workspace) == []


def test_a_full_disk_is_one_message_and_the_next_run_recovers(workspace: Path) -> None:
    """A limit on the size of files has the same effect as a full disk."""
    expected = read_files(workspace, OUTPUTS)
    remove(workspace, OUTPUTS)
    with_limit = ("bash", "-c", 'ulimit -f 8 && exec "$@"', "sh")
    completed = run_command(workspace, *with_limit, *COMMAND)
    assert completed.returncode == 1
    assert "Traceback" not in completed.stderr
    assert "cannot be written: File too large\n" in completed.stderr
    assert partial_files(workspace) == []
    check_output(workspace, *COMMAND)
    assert read_files(workspace, OUTPUTS) == expected


@pytest.mark.slow
def test_a_training_that_stops_goes_on_to_the_same_bytes(workspace: Path) -> None:
    """One worker trains two networks, and is interrupted in the second one.

    As a stage of DVC, it is not interrupted, but a parameter is edited meanwhile. The
    stage then fails at its end and keeps the checkpoints. A checkpoint that is cut off
    is not used.
    """
    change_settings(workspace, train={"networks": {"plain": {"epochs": 500}}})
    command = STAGE_COMMANDS["train"]
    outputs = STAGE_OUTPUTS["train"]
    check_output(workspace, *command)
    expected = read_files(workspace, outputs)
    params = workspace / "params.yaml"
    text = params.read_text()
    checkpoints = workspace / ".training"
    for stage in dict[str, str](), {"DVC_STAGE": "train"}:
        (workspace / "models/networks.keras").unlink()
        process = start_training_until_checkpoint(workspace, **stage)
        if stage:
            change_settings(workspace, train={"seed": 2})
        else:
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "Traceback" not in errors
        assert ("train.seed in params.yaml" in errors) == bool(stage)
        is_told = "command continues from the files in .training." in errors
        assert is_told != bool(stage)
        if stage:
            cut_off, _ = checkpoints.rglob("*.npz")
            cut_off.write_bytes(cut_off.read_bytes()[:-100])
        params.write_text(text)
        check_output(workspace, *command)
        assert read_files(workspace, outputs) == expected
        assert not checkpoints.exists()


def start_training_until_checkpoint(
    folder: Path,
    **environment: str,
) -> subprocess.Popen[str]:
    command = STAGE_COMMANDS["train"]
    process = start_command(folder, *command, TABULAR_WORKERS="1", **environment)
    wait_until(
        lambda: [*folder.glob(".training/**/*.npz")] or process.poll() is not None,
    )
    return process


def descendants(process: int) -> list[int]:
    """Return the ids of all processes below a process."""
    ids = []
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        ids += [int(child), *descendants(int(child))]
    return ids


@pytest.mark.skipif(
    sys.platform != "linux",
    reason="only Linux ends a child with its parent",
)
@pytest.mark.parametrize("victim", ["first", "second"])
def test_nothing_keeps_the_output_open_after_a_kill(
    workspace: Path,
    victim: str,
) -> None:
    """The second process of a stage works; a third one fits the baselines."""
    command = STAGE_COMMANDS["evaluate"]
    process = start_command(workspace, *command, DVC_STAGE="evaluate")
    wait_until(lambda: len(descendants(process.pid)) == 2 or process.poll() is not None)
    pid = process.pid
    if victim == "second":
        pid, _ = descendants(pid)
    os.kill(pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    if victim == "second":
        assert process.returncode == 1
        assert "The signal SIGKILL ended stage evaluate" in errors
        assert "continues from its checkpoints" in errors


def test_a_signal_to_all_processes_of_a_stage_does_not_interrupt_the_cleanup(
    workspace: Path,
) -> None:
    """The first process forwards the signal to the second one, which has it already."""
    for _ in range(50):
        remove(workspace, OUTPUTS)
        process = start_command(workspace, "setsid", *COMMAND, DVC_STAGE="split")
        was_writing = wait_until_it_writes(process, workspace)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert partial_files(workspace) == []
        assert "Traceback" not in errors
        if was_writing and process.returncode:
            break
    assert errors == "interrupted\n"
