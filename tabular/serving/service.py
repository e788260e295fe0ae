"""A model and its table: the rows of requests are checked, predicted in batches and explained."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from tabular.config.schema import Schema
from tabular.config.sections import Validate
from tabular.model.saved_model import SavedModel
from tabular.prediction.drift import unknown_categories, unknown_lines, unknown_rows
from tabular.prediction.outputs import Predicted, Reasons, predict_batch
from tabular.serving import measures
from tabular.serving.rows import answers_from_columns, read_rows, texts_from_rows
from tabular.table.checks import declared_checks
from tabular.table.csv import RawRows
from tabular.table.rows import CheckedRows, check_rows, refuse

MAX_ROWS_PER_BATCH = 4096  # no request joins a batch that has as many rows


class Batcher:
    """Predicts the rows of all waiting requests together.

    The cost of a prediction hardly depends on the number of rows, as long as there are few.
    """

    def __init__(self, predict: Callable[[pa.Table], Predicted]) -> None:
        self._predict, self._lock = predict, asyncio.Lock()
        self._waiting = deque[tuple[pa.Table, asyncio.Future[Predicted]]]()

    async def predict(self, features: pa.Table) -> Predicted:
        """Return the predictions of one request; an error of its batch is raised here."""
        future: asyncio.Future[Predicted] = asyncio.get_running_loop().create_future()
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
            future.set_result(
                Predicted(
                    {name: column[start:end] for name, column in columns.items()},
                    [f._replace(row=f.row - start) for f in failures if start <= f.row < end],
                )
            )
            start = end


MAX_MULTIPLY_ADDS = 20_000_000_000  # of a request with reasons, which takes some seconds
WARM_UP_ROWS = (1, 100)  # TensorFlow builds a graph for each of two batch sizes


class Service:
    """Checks and predicts the rows of requests as `commands.predict` does with those of files.

    Attributes:
        max_explained_rows: Rows of a request that may ask for reasons.
    """

    def __init__(self, model: SavedModel, schema: Schema, policies: Validate) -> None:
        self.model, self.schema, self.policies = model, schema, policies
        self._checks = declared_checks(schema, policies)
        self._reasons, self.max_explained_rows = None, 0
        if model.metadata.trained_on:
            self._reasons = Reasons.from_model(len(schema.features), model, schema)
            work = model.multiply_adds * self._reasons.permutations.evaluations_per_row
            self.max_explained_rows = max(int(MAX_MULTIPLY_ADDS / max(work, 1)), 1)
        self._batcher, self._explaining = Batcher(self._predict), asyncio.Lock()

    def warm_up(self) -> None:
        """Predict rows without values, so that no request waits for TensorFlow's graphs."""
        for rows in WARM_UP_ROWS:
            empty = pa.table({name: pa.array([""] * rows) for name in self.schema.features})
            self._predict(self._check_cells(empty).features)

    def check(self, body: bytes) -> CheckedRows:
        """Return the rows of a request.

        Raises:
            NotRowsError: The body holds no rows in JSON.
            UserError: Some rows are not as declared; the message has a line for each mistake.
        """
        texts = texts_from_rows(read_rows(body), self.schema)
        batch = self._check_cells(texts)
        for failure in batch.failures:
            measures.FAILED.labels(failure.column, failure.check).inc()
        refuse((f for f in batch.failures if f.policy != "warn"), 1, "row {}".format)
        return batch

    def _check_cells(self, texts: pa.Table) -> CheckedRows:
        raw = RawRows(Path("the request"), 1, texts, {})
        return check_rows(raw, self.schema.features, self._checks)

    async def answer(self, batch: CheckedRows, reasons: int) -> dict[str, Any]:
        """Return the answer to the checked rows of a request.

        Args:
            reasons: Columns to name that moved a prediction most.

        Raises:
            UserError: The model has no number for a row.
        """
        if reasons:  # one such request at a time, while others are predicted
            async with self._explaining:
                predicted = await asyncio.to_thread(self._predict, batch.features, reasons)
        else:
            predicted = await self._batcher.predict(batch.features)
        refuse(predicted.failures, 1, "row {}".format)
        measures.ROWS.inc(len(batch.features))
        names = [name for name in self.schema.ignore if name in batch.texts.column_names]
        identifiers = {name: batch.texts[name] for name in names}
        answer: dict[str, Any] = {"rows": answers_from_columns(identifiers | predicted.columns)}
        warnings = self._warnings(batch)
        return answer | {"warnings": warnings} if warnings else answer

    def _predict(self, features: pa.Table, reasons: int = 0) -> Predicted:
        explain = None
        if reasons and self._reasons:
            columns = min(reasons, self._reasons.columns)
            explain = self._reasons._replace(columns=columns)
        return predict_batch(CheckedRows(features, features, []), self.model, self.schema, explain)

    def _warnings(self, batch: CheckedRows) -> Sequence[str]:
        rows = len(batch.features)
        failed = Counter(f"{failure.column}: {failure.check}" for failure in batch.failures)
        categories = self.model.metadata.categories
        unknown = unknown_categories(batch.features, categories, self.schema)
        for name, count in unknown_rows(unknown).items():
            measures.UNKNOWN.labels(name).inc(count)
        lines = [f"{check}: {count} of {rows} rows fail" for check, count in failed.items()]
        return lines + unknown_lines(unknown, rows)
