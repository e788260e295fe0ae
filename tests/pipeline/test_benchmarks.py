"""Every benchmark starts."""

import sys

import pytest

from tests.commands import check_output
from tests.helpers import PROJECT

pytestmark = pytest.mark.slow


def test_every_benchmark_starts() -> None:
    for name in ("data_path", "pipeline", "quality", "training", "serving"):
        assert "usage" in check_output(
            PROJECT, sys.executable, "-m", f"benchmarks.{name}", "--help"
        )
