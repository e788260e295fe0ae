"""Waiting requests are predicted together, and each of them gets the predictions of its rows."""

import asyncio
from typing import Any

import pyarrow as pa

from keras_tabular.prediction.predictor import Predictions
from keras_tabular.serving.batcher import Batcher
from keras_tabular.table.rows import Failure


def predict_together(*requests: list[int]) -> tuple[list[Any], list[list[int]]]:
    """Return the values and failed rows of requests at once, or their errors; and the batches.

    A number is predicted as itself, 0 has no prediction, and a number below is an error.
    """
    batches = []

    def predict(rows: pa.Table) -> Predictions:
        values = rows["x"].to_pylist()
        batches.append(values)
        if min(values) < 0:
            raise ValueError("below 0")
        failed = [
            Failure(row, "predicted", "finite", None, "") for row, v in enumerate(values) if not v
        ]
        return Predictions({"predicted": rows["x"]}, failed)

    async def ask(batcher: Batcher, values: list[int]) -> Any:
        try:
            columns, failures = await batcher.predict(pa.table({"x": values}))
        except ValueError as error:
            return str(error)
        return columns["predicted"].to_pylist(), [failure.row for failure in failures]

    async def ask_all() -> list[Any]:
        batcher = Batcher(predict)
        return await asyncio.gather(*(ask(batcher, values) for values in requests))

    return asyncio.run(ask_all()), batches


def test_requests_that_wait_for_a_prediction_share_the_next_one() -> None:
    answers, batches = predict_together([1], [2], [3, 0, 4], [5])
    assert answers == [([1], []), ([2], []), ([3, 0, 4], [1]), ([5], [])]
    assert batches == [[1], [2, 3, 0, 4, 5]]


def test_a_batch_has_an_end_and_an_error_reaches_its_requests_alone() -> None:
    answers, batches = predict_together([1], [-1], [2] * 5000, [3])
    assert answers == [([1], []), "below 0", "below 0", ([3], [])]
    assert [len(values) for values in batches] == [1, 5001, 1]
