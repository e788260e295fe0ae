"""Every benchmark starts, and the claims of the simulations hold in fewer draws."""

import pytest

from benchmarks import drift
from benchmarks.leaks import (
    measure_copies,
    measure_innocent_columns,
    measure_near_copies,
)
from benchmarks.verdicts import CASES, count_verdicts
from tests.commands import call_main
from tests.helpers import PROJECT

FILES = {*(PROJECT / "benchmarks").glob("[a-z]*.py")} - {
    PROJECT / "benchmarks/simulations.py",
}
MODULES = sorted(file.stem for file in FILES)
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", MODULES)
def test_every_benchmark_starts(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        call_main(PROJECT, f"benchmarks.{name}", "--help")
    assert "usage" in capsys.readouterr().out


def test_verdicts_are_rarely_wrong() -> None:
    counts = {case: count_verdicts("binary", 1000, case, draws=40) for case in CASES}
    assert counts["worse"]["fail"] >= 32
    assert counts["equal"]["undecided"] >= 38
    assert counts["clearly better"]["pass"] >= 32


def test_leaks_are_found() -> None:
    for measurements in (
        measure_copies(2),
        measure_innocent_columns(4),
        measure_near_copies(2),
    ):
        assert all(measurement.is_kept for measurement in measurements)


def test_drift_is_found_and_alarms_are_rarely_false() -> None:
    assert all(
        measurement.share <= 0.2 for measurement in drift.measure_false_alarms(10)
    )
    assert all(measurement.is_kept for measurement in drift.measure_power(40))
