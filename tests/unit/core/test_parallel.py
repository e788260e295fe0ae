"""`ordered_map` yields results in order, and `run_in_background` runs in another process."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import count

import pytest

from keras_tabular.core.cluster import WORKERS
from keras_tabular.core.errors import UserError
from keras_tabular.core.parallel import ordered_map, run_in_background, worker_count

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


def test_an_error_of_the_items_comes_after_the_results_of_earlier_items() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise UserError

    results = ordered_map(str, items())
    assert [next(results) for _ in range(3)] == ["0", "1", "2"]
    with pytest.raises(UserError):
        next(results)


def test_running_threads_are_stopped_and_no_item_is_taken_after_an_error() -> None:
    running, cancelled, stopped = threading.Event(), threading.Event(), []
    numbers = count()

    def work(number: int) -> None:
        if number == 0:
            assert running.wait(TIMEOUT)
            raise KeyboardInterrupt
        running.set()
        stopped.append(cancelled.wait(TIMEOUT))

    with pytest.raises(KeyboardInterrupt):
        list(ordered_map(work, numbers, cancelled=cancelled))
    assert stopped
    assert all(stopped)
    assert next(numbers) == 4  # two for each worker


@pytest.mark.parametrize("value", ["0", "two", "²", "99999999999"])
def test_invalid_number_of_workers_is_an_error(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(WORKERS, value)
    with pytest.raises(UserError, match=f"^TABULAR_WORKERS: expected a .* 1024, got '{value}'"):
        worker_count()


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
