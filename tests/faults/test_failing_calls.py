"""Every output survives a failure of any write, rename, sync or allocation; see `failing_calls`."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.helpers import PROJECT, must

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None,
    reason="no Linux, or no C compiler (Debian: apt install gcc libc6-dev)",
)
SWEEP = (sys.executable, "-m", "tests.faults.failing_calls")


@pytest.mark.parametrize(
    ("names", "options"),
    [
        ("ingest validate split gate infer_schema", ("--every", "5")),
        pytest.param(
            "train calibrate", ("--every", "40", "--kinds", "files"), marks=pytest.mark.slow
        ),
    ],
)
def test_a_sample_of_calls_fails(workspace: Path, names: str, options: tuple[str, ...]) -> None:
    said = must(PROJECT, *SWEEP, str(workspace), *names.split(), *options)
    assert said.count(" files: {") == len(names.split())
    assert "message" in said
    assert "wrong" not in said
