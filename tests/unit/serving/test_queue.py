"""Requests are predicted together, each gets its own rows, and none can stop the others."""

import asyncio
import threading
from typing import Any

import pyarrow as pa
import pytest

from tabular.prediction.outputs import Predicted
from tabular.serving.service import Queue
from tabular.table.rows import Failure


class Model:
    """Predicts numbers as themselves; 0 has no number, and one below is an error."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[int], int]] = []
        self.first = threading.Event()  # what is predicted without reasons is answered

    def predict(self, rows: list[pa.Table], reasons: int) -> Predicted:
        assert not reasons or self.first.wait(10)
        column = pa.concat_tables(rows)["x"]
        values = column.to_pylist()
        self.calls.append((values, reasons))
        if min(values) < 0:
            raise ValueError("below 0")
        without = [row for row, value in enumerate(values) if value == 0]
        failures = [Failure(row, "predicted", "finite", None, "a number") for row in without]
        return Predicted({"predicted": column}, failures)


def asked(model: Model, *requests: tuple[list[int], int], gone: int | None = None) -> list[Any]:
    """What requests for values and reasons, made at once, get: values and failed rows, or an error.

    Args:
        gone: the number of the request whose client is gone.
    """

    async def one(queue: Queue, number: int) -> Any:
        async def is_gone() -> bool:
            return number == gone

        values, reasons = requests[number]
        try:
            columns, failures = await queue.ask(pa.table({"x": values}), reasons, is_gone)
        except (ValueError, asyncio.CancelledError) as error:
            return type(error)
        finally:
            if not reasons:
                model.first.set()
        return columns["predicted"].to_pylist(), [failure.row for failure in failures]

    async def all_of_them() -> list[Any]:
        queue = Queue(model.predict)
        work = asyncio.create_task(queue.work())
        found = await asyncio.gather(*(one(queue, number) for number in range(len(requests))))
        work.cancel()
        return found

    return asyncio.run(all_of_them())


def test_what_waits_is_predicted_together_and_reasons_hold_up_nobody() -> None:
    model = Model()
    found = asked(model, ([1], 3), ([2], 0), ([0, 4], 0), ([5], 2))
    assert found == [([1], []), ([2], []), ([0, 4], [0]), ([5], [])]
    assert model.calls == [([2, 0, 4], 0), ([1], 3), ([5], 2)]


def test_a_batch_has_an_end() -> None:
    model = Model()
    asked(model, *(([1] * 3000, 0) for _ in range(3)))
    assert [len(values) for values, _ in model.calls] == [6000, 3000]


@pytest.mark.parametrize("reasons", [0, 1])
def test_who_is_gone_is_not_answered(reasons: int) -> None:
    model = Model()
    model.first.set()
    assert asked(model, ([1], reasons), ([2], reasons), gone=0) == [
        asyncio.CancelledError,
        ([2], []),
    ]
    assert model.calls == [([2], reasons)]


def test_after_an_error_it_goes_on() -> None:
    assert asked(Model(), ([-1], 0), ([2], 0), ([3], 1)) == [ValueError, ValueError, ([3], [])]
