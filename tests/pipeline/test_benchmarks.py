"""Every benchmark starts."""

import pytest

from tests.commands import call_main
from tests.helpers import PROJECT

MODULES = [file.stem for file in (PROJECT / "benchmarks").glob("[a-z]*.py")]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_every_benchmark_starts(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        call_main(PROJECT, f"benchmarks.{name}", "--help")
    assert "usage" in capsys.readouterr().out
