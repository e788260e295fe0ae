"""A map gives its results in order, however many workers there are and however long each takes."""

import os
import signal
import threading

import pytest

from keras_tabular.core.cluster import WORKERS
from keras_tabular.core.errors import UserError
from keras_tabular.core.parallel import begin, ordered_map, worker_count

LONG = 60  # seconds that something waits for what should come at once


@pytest.fixture(autouse=True)
def two_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORKERS, "2")


def test_two_are_worked_on_at_the_same_time_and_their_results_come_in_order() -> None:
    done = [threading.Event() for _ in range(40)]

    def square(number: int) -> int:
        """Every second item ends before the one that comes ahead of it."""
        assert number % 2 or done[number + 1].wait(LONG)
        done[number].set()
        return number * number

    assert list(ordered_map(square, range(40))) == [number * number for number in range(40)]
    assert list(ordered_map(square, [])) == []


@pytest.mark.parametrize("said", ["0", "two", "²", "99999999999"])
def test_a_number_of_workers_is_a_number(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv(WORKERS, said)
    with pytest.raises(UserError, match="TABULAR_WORKERS in the environment: found"):
        worker_count()


def test_what_runs_is_told_to_stop_when_no_more_results_are_taken() -> None:
    begun, stop, stopped = threading.Event(), threading.Event(), []

    def work(number: int) -> None:
        if number == 0:
            assert begun.wait(LONG)
            raise KeyboardInterrupt
        begun.set()
        stopped.append(stop.wait(LONG))

    with pytest.raises(KeyboardInterrupt):
        list(ordered_map(work, range(4), stop=stop.set))
    assert stopped
    assert all(stopped)


def process_and_thread() -> tuple[int, bool]:
    return os.getpid(), threading.current_thread() is threading.main_thread()


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_is_begun_runs_in_another_process_and_tells_how_it_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process, is_main_thread = begin(process_and_thread)()
    assert process != os.getpid()
    assert is_main_thread
    with pytest.raises(MemoryError, match="killed ended without a result"):
        begin(killed)()
    monkeypatch.setenv(WORKERS, "1")
    assert begin(process_and_thread)() == (os.getpid(), True)
