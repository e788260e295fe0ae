"""A map gives its results in order, however many workers there are and however long each takes."""

import time
from collections.abc import Iterator
from threading import Barrier

import pytest

from tabular.engine import WORKERS, ordered_map, workers
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
