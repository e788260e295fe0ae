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
    ("names", "every"),
    [
        ("ingest validate split gate infer_schema", 5),
        pytest.param("train calibrate evaluate", 40, marks=pytest.mark.slow),
    ],
)
def test_a_sample_of_calls_fails(workspace: Path, names: str, every: int) -> None:
    said = must(PROJECT, *SWEEP, str(workspace), *names.split(), "--every", str(every))
    assert said.count("message") >= len(names.split())
    assert "wrong" not in said
