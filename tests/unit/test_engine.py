"""A map gives its results in order, however many workers there are and however long each takes."""

import threading
import time
from collections.abc import Iterator
from threading import Barrier

import pytest

from tabular.engine import WORKERS, ordered_map, say, workers
from tabular.errors import UserError


@pytest.mark.parametrize("count", ["1", "2", "7"])
def test_results_come_in_the_order_of_the_items(
    monkeypatch: pytest.MonkeyPatch, count: str
) -> None:
    monkeypatch.setenv(WORKERS, count)

    def late(number: int) -> int:
        time.sleep((number * 7 % 5) / 1000)
        return number * number

    assert list(ordered_map(late, range(40))) == [number * number for number in range(40)]
    assert list(ordered_map(late, [])) == []


def test_two_are_worked_on_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORKERS, "2")
    both = Barrier(2, timeout=10)
    assert len(list(ordered_map(lambda _: both.wait(), range(4)))) == 4


def test_few_items_are_taken_ahead_and_none_after_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(WORKERS, "2")
    taken = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    found = ordered_map(lambda number: 1 // (5 - number), items())
    with pytest.raises(ZeroDivisionError):
        list(found)
    assert max(taken) <= 8

    def broken() -> Iterator[int]:
        yield 1
        raise UserError("the file is broken")

    with pytest.raises(UserError, match="broken"):
        list(ordered_map(str, broken()))


@pytest.mark.parametrize("said", ["0", "-1", "two", "", "1e3", "99999999999"])
def test_a_number_of_workers_is_a_number(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv(WORKERS, said)
    with pytest.raises(UserError, match="TABULAR_WORKERS in the environment: found"):
        workers()


def test_within_one_of_several_items_a_map_does_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Within a single item, or where threads cannot be, it uses all workers."""
    monkeypatch.setenv(WORKERS, "3")

    def below(_: int) -> tuple[int, set[str]]:
        names = ordered_map(lambda _: threading.current_thread().name, range(6))
        return workers(), set(names)

    for count, names in ordered_map(below, range(2)):
        assert (count, len(names)) == (1, 1)
    ((count, names),) = ordered_map(below, range(1))
    assert count == 3
    assert threading.current_thread().name not in names
    assert [count for count, _ in ordered_map(below, range(2), threads=False)] == [3, 3]


@pytest.mark.parametrize("items", [1, 4])
def test_what_an_item_says_is_reported(monkeypatch: pytest.MonkeyPatch, items: int) -> None:
    monkeypatch.setenv(WORKERS, "2")
    words: list[tuple[int, str]] = []
    found = ordered_map(lambda n: say(n, "done"), range(items), report=lambda *w: words.append(w))
    assert list(found) == [None] * items
    assert sorted(words) == [(n, "done") for n in range(items)]
    say("nobody listens")


def test_what_runs_is_told_to_stop_when_no_more_results_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(WORKERS, "2")
    stopped = threading.Event()

    def work(number: int) -> bool:
        return number == 0 or stopped.wait(10)

    found = ordered_map(work, range(4), stop=stopped.set)
    assert next(found)
    start = time.monotonic()
    found.close()  # type: ignore[attr-defined]
    assert time.monotonic() - start < 5


def test_an_interrupt_while_the_last_result_is_awaited_stops_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(WORKERS, "2")
    stopped = threading.Event()

    def work(number: int) -> bool:
        if number == 0:
            raise KeyboardInterrupt
        return stopped.wait(10)

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(ordered_map(work, range(2), stop=stopped.set))
    assert time.monotonic() - start < 5


def test_an_error_of_an_item_comes_before_that_of_the_items_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(WORKERS, "8")

    def items() -> Iterator[int]:
        yield from (1, 0)
        raise UserError("the second file is broken")

    with pytest.raises(ZeroDivisionError):
        list(ordered_map(lambda number: 1 // number, items()))
