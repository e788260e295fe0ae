"""Every benchmark starts, and the claims of the simulations hold in fewer draws."""

import pytest

from benchmarks import drift, gate_warnings, intervals, leaks, simulations, verdicts
from benchmarks.rows import BINARY
from tests.commands import call_main
from tests.helpers import PROJECT

FILES = {file.stem for file in (PROJECT / "benchmarks").glob("[a-z]*.py")}
MODULES = sorted(FILES - {"rows", *simulations.MODULES})
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", MODULES)
def test_every_benchmark_starts(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        call_main(PROJECT, f"benchmarks.{name}", "--help")
    assert "usage" in capsys.readouterr().out


def test_verdicts_are_rarely_wrong() -> None:
    counts = {
        case: verdicts.count_verdicts("independent", BINARY, 1000, case, draws=40)
        for case in verdicts.CASES
    }
    assert counts["worse"]["fail"] >= 32
    assert counts["equal"]["undecided"] >= 36
    assert counts["better"]["pass"] >= 32


@pytest.mark.parametrize(
    ("simulation", "kind"),
    [
        (intervals.measure_values, "clusters"),
        (intervals.measure_values, "AR 0.9"),
        (verdicts.measure_noise, "Zipf"),
        (gate_warnings.measure_calibrated, "AR 0.9"),
        (gate_warnings.measure_leaks, "independent"),
        (leaks.measure_copies, "independent"),
        (leaks.measure_innocent_columns, "clusters"),
        (drift.measure_drift, "independent"),
        (drift.measure_drift, "clusters"),
    ],
)
def test_limits_are_kept_in_few_draws(
    simulation: simulations.Simulation,
    kind: str,
) -> None:
    measurements = list(simulation(kind, 60))
    assert measurements
    assert not [each for each in measurements if not each.is_kept(draws=60)]
