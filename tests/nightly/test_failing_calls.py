"""Every write, rename, sync and large allocation fails; with TensorFlow every fifth, of files."""

import subprocess
from pathlib import Path

import pytest

from tests.faults.failing_calls import GIVEN
from tests.faults.test_failing_calls import SWEEP, pytestmark
from tests.helpers import ENVIRONMENT, PROJECT

__all__ = ["pytestmark"]
HEAVY = ("train", "evaluate", "predict", "score", "drift", "report")


@pytest.mark.parametrize("name", GIVEN)
def test_each_call_fails(workspace: Path, name: str) -> None:
    options = ("--every", "5", "--kinds", "files") if name in HEAVY else ()
    command = [*SWEEP, str(workspace), name, *options]
    done = subprocess.run(
        command, cwd=PROJECT, env=ENVIRONMENT, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
