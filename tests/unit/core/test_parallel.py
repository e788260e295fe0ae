"""`ordered_map` yields results in order, and `run_in_background` runs in another process."""

import os
import re
import signal
import sys
import threading
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import count

import pytest

from keras_tabular.core import parallel
from keras_tabular.core.cluster import WORKERS
from keras_tabular.core.errors import UserError
from keras_tabular.core.parallel import Progress, ordered_map, run_in_background, worker_count

TIMEOUT = 60  # seconds to wait for what should happen at once


@pytest.fixture(autouse=True)
def two_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORKERS, "2")


def test_results_come_in_order_although_items_are_worked_on_at_the_same_time() -> None:
    done = [threading.Event() for _ in range(40)]

    def square(number: int) -> int:
        """Finish an even number only after the next odd one."""
        assert number % 2 or done[number + 1].wait(TIMEOUT)
        done[number].set()
        return number * number

    assert list(ordered_map(square, range(40))) == [number * number for number in range(40)]


@pytest.mark.parametrize("value", ["0", "two", "²", "99999999999"])
def test_invalid_number_of_workers_is_an_error(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(WORKERS, value)
    with pytest.raises(UserError, match=f"^TABULAR_WORKERS: expected a .* 1024, got '{value}'"):
        worker_count()


def test_running_threads_are_stopped_if_the_results_are_not_all_taken() -> None:
    running, stop, stopped = threading.Event(), threading.Event(), []

    def work(number: int) -> None:
        if number == 0:
            assert running.wait(TIMEOUT)
            raise KeyboardInterrupt
        running.set()
        stopped.append(stop.wait(TIMEOUT))

    with pytest.raises(KeyboardInterrupt):
        list(ordered_map(work, range(4), stop=stop.set))
    assert stopped
    assert all(stopped)


def process_and_thread() -> tuple[int, bool]:
    return os.getpid(), threading.current_thread() is threading.main_thread()


def test_a_function_in_the_background_runs_in_another_process_if_there_are_two_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process, is_main_thread = run_in_background(process_and_thread)()
    assert (process != os.getpid(), is_main_thread) == (True, True)
    with pytest.raises(BrokenProcessPool):
        run_in_background(partial(signal.raise_signal, signal.SIGKILL))()
    monkeypatch.setenv(WORKERS, "1")
    assert run_in_background(process_and_thread)() == (os.getpid(), True)


def test_the_remaining_time_is_shown_once_it_is_known_within_a_factor_of_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first part of the first round takes a minute, in which functions are compiled."""
    seconds = [0.0]
    monkeypatch.setattr(parallel, "monotonic", lambda: seconds[0])
    progress = Progress()
    for number in (1, 2):
        progress.start_round(f"cycle {number}", total=40, parts=10)
        for part in range(10):
            for member in range(4):
                seconds[0] += 10 if member else 2
                seconds[0] += 30 if number == 1 and part == 0 and member < 2 else 0
                progress.advance(1, f"network {part}-{member}")
    output = capsys.readouterr().err
    assert "\r" not in output
    ends, lines = {1: 60 + 10 * 32, 2: 60 + 20 * 32}, output.splitlines()
    estimates = re.findall(r"(?m)^(\d+) s; cycle (\d): \d+%, about (\d+) s left; ", output)
    assert len(estimates) >= 2 * len(lines) / 3
    for now, cycle, remaining in estimates:
        assert ends[int(cycle)] - int(now) == pytest.approx(int(remaining), rel=0.2, abs=10)
    assert lines[0] == "32 s; cycle 1: 2%; network 0-0"


def test_the_progress_is_one_row_of_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(parallel, "monotonic", count().__next__)
    with Progress() as progress:
        progress.start_round("cycle 1", total=2, parts=1)
        progress.advance(1, "a network with a long name")
    _, row, end = capsys.readouterr().err.split("\r\x1b[K")
    assert (row, end) == ("2 s; cycle 1: 50%; a network with a lon", "")
