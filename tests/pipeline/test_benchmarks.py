"""Every benchmark starts, and the claims of the simulations hold in fewer draws."""

import pytest

from benchmarks.slices import measure_false_alarms, measure_power
from benchmarks.verdicts import CASES, count_verdicts
from keras_tabular.scoring import uncertainty
from tests.commands import call_main
from tests.helpers import PROJECT

MODULES = [file.stem for file in (PROJECT / "benchmarks").glob("[a-z]*.py")]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_every_benchmark_starts(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        call_main(PROJECT, f"benchmarks.{name}", "--help")
    assert "usage" in capsys.readouterr().out


@pytest.mark.slow
def test_verdicts_are_rarely_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uncertainty, "DRAWS", 2)  # not needed for the verdicts
    counts = {case: count_verdicts("binary", 1000, case, draws=40) for case in CASES}
    assert counts["worse"]["fail"] >= 32
    assert counts["equal"]["undecided"] >= 38
    assert counts["clearly better"]["pass"] >= 32


@pytest.mark.slow
def test_weak_slices_are_rarely_wrong_and_often_found() -> None:
    assert [each for each in measure_false_alarms({1500: 5}) if not each.is_kept] == []
    assert [each for each in measure_power({5000: 5}) if each.share < 0.6] == []
