"""Waiting requests are predicted together, and each gets the predictions of its own rows."""

import asyncio
from typing import Any

import pyarrow as pa

from keras_tabular.prediction.predictor import Predictions
from keras_tabular.serving.batcher import Batcher
from keras_tabular.table.rows import Failure


def predict_together(*requests: list[int]) -> tuple[list[Any], list[list[int]]]:
    """Send requests at the same time. Return their results or errors, and the predicted batches.

    A result is the predicted values and the failed rows. The prediction of a number is the number;
    0 has no prediction, and a negative number is an error.
    """
    batches = []

    def predict(rows: pa.Table) -> Predictions:
        values = rows["x"].to_pylist()
        batches.append(values)
        if min(values) < 0:
            raise ValueError("below 0")
        failed = [
            Failure(row, "predicted", "finite", "", "") for row, v in enumerate(values) if not v
        ]
        return Predictions({"predicted": rows["x"]}, failed)

    async def request(batcher: Batcher, values: list[int]) -> Any:
        try:
            columns, failures = await batcher.predict(pa.table({"x": values}))
        except ValueError as error:
            return str(error)
        return columns["predicted"].to_pylist(), [failure.row for failure in failures]

    async def request_all() -> list[Any]:
        batcher = Batcher(predict)
        return await asyncio.gather(*(request(batcher, values) for values in requests))

    return asyncio.run(request_all()), batches


def test_waiting_requests_share_a_batch_of_limited_size_and_its_error() -> None:
    answers, batches = predict_together([1], [2], [3, 0, 4], [5])
    assert answers == [([1], []), ([2], []), ([3, 0, 4], [1]), ([5], [])]
    assert batches == [[1], [2, 3, 0, 4, 5]]
    answers, batches = predict_together([1], [-1], [2] * 5000, [3])
    assert answers == [([1], []), "below 0", "below 0", ([3], [])]
    assert [len(values) for values in batches] == [1, 5001, 1]
