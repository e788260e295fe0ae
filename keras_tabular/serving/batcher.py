"""Predict the rows of all waiting requests together."""

import asyncio
from collections import deque
from collections.abc import Callable

import pyarrow as pa

from keras_tabular.prediction.predictor import Predictions

MAX_ROWS_PER_BATCH = 4096  # no request joins a batch that has this number of rows


class Batcher:
    """Predicts the rows of all waiting requests together.

    The cost of a prediction hardly depends on the number of rows as long as there are few.
    """

    def __init__(self, predict: Callable[[pa.Table], Predictions]) -> None:
        self._predict, self._lock = predict, asyncio.Lock()
        self._waiting = deque[tuple[pa.Table, asyncio.Future[Predictions]]]()

    async def predict(self, features: pa.Table) -> Predictions:
        """Return the predictions for one request. Raise the error if its batch fails."""
        future: asyncio.Future[Predictions] = asyncio.get_running_loop().create_future()
        self._waiting.append((features, future))
        async with self._lock:  # requests get it in the order in which they came
            if not future.done():
                await self._predict_waiting()
        return future.result()

    async def _predict_waiting(self) -> None:
        batch, rows = [self._waiting.popleft()], 0
        while self._waiting and (rows := rows + len(batch[-1][0])) < MAX_ROWS_PER_BATCH:
            batch.append(self._waiting.popleft())
        features = pa.concat_tables([table for table, _ in batch])
        try:
            columns, failures = await asyncio.to_thread(self._predict, features)
        except Exception as error:
            for _, future in batch:
                future.set_exception(error)
            return
        start = 0
        for table, future in batch:
            end = start + len(table)
            own_columns = {name: column[start:end] for name, column in columns.items()}
            own_failures = [f._replace(row=f.row - start) for f in failures if start <= f.row < end]
            future.set_result(Predictions(own_columns, own_failures))
            start = end
