"""Every benchmark starts."""

import sys

import pytest

from tests.commands import check_output
from tests.helpers import PROJECT

MODULES = [file.stem for file in (PROJECT / "benchmarks").glob("[a-z]*.py")]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_every_benchmark_starts(name: str) -> None:
    assert "usage" in check_output(PROJECT, sys.executable, "-m", f"benchmarks.{name}", "--help")
