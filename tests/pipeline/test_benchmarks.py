"""Every benchmark starts."""

import sys

import pytest

from tests.helpers import PROJECT, must

pytestmark = pytest.mark.slow


def test_every_benchmark_starts() -> None:
    for name in ("data_path", "pipeline", "quality", "training", "serving"):
        assert "usage" in must(PROJECT, sys.executable, "-m", f"benchmarks.{name}", "--help")
