"""The benchmarks run, and end as their figures say; whether these are good is their matter."""

import re
import sys

import pytest

from tests.helpers import PROJECT, must, run

pytestmark = pytest.mark.slow


def test_the_data_path_is_measured_beside_its_peers() -> None:
    options = ("--rows", "20000", "--repeats", "1")
    done = run(PROJECT, sys.executable, "-m", "benchmarks.data_path", *options)
    for contender in ("ingest", "validate", "split", "pandas", "polars", "loadtxt"):
        assert re.search(rf"^{contender} +[\d,]+ +[\d.]+ ", done.stdout, re.MULTILINE)
    missed = done.stdout.count("FAIL")
    assert done.stdout.count("pass") + missed == 7
    assert (done.returncode != 0) == (missed > 0)


def test_the_longer_benchmarks_start() -> None:
    for name in ("pipeline", "quality", "training", "serving"):
        assert "usage" in must(PROJECT, sys.executable, "-m", f"benchmarks.{name}", "--help")
