"""`Progress` shows how long a work will take, in lines of a log or in one row of a terminal."""

import sys
from itertools import count

import pytest

from keras_tabular.core.progress import Progress, report_progress

MONOTONIC = "keras_tabular.core.progress.monotonic"


def test_the_remaining_time_is_shown_after_the_second_of_several_parts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A part trains two networks; in the first part, functions are compiled."""
    seconds = [0]
    monkeypatch.setattr(MONOTONIC, lambda: seconds[0])
    with Progress() as progress:
        progress.start_round("training", total=6, parts=3)
        for number, duration in enumerate([30, 60, 4, 20, 4, 20]):
            seconds[0] += duration
            report_progress(1, f"network {number}")
    assert capsys.readouterr().err.splitlines() == [
        "30 s; training: 17%; network 0",
        "90 s; training: 33%; network 1",
        "114 s; training: 67%, about 24 s left; network 3",
        "138 s; training: 100%, about 0 s left; network 5",
    ]


def test_the_progress_is_one_row_of_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(MONOTONIC, count().__next__)
    with Progress() as progress:
        progress.start_round("cycle 1", total=2, parts=1)
        report_progress(1, "a network with a long name")
    _, row, end = capsys.readouterr().err.split("\r\x1b[K")
    assert (row, end) == ("2 s; cycle 1: 50%; a network with a lon", "")
