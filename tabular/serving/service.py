"""A model and its table: rows of requests are queued, checked, predicted and explained."""

import asyncio
from bisect import insort
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pyarrow as pa

from tabular.config.schema import Schema
from tabular.config.sections import Validate
from tabular.model.saved_model import SavedModel
from tabular.prediction.drift import unknown_categories, unknown_lines, unknown_rows
from tabular.prediction.outputs import Predicted, Reasons, predict_batch
from tabular.serving import measures
from tabular.serving.rows import answers_of, read_rows, texts_of
from tabular.table.checks import declared_checks
from tabular.table.rows import Batch, check_batch, refuse

TOGETHER = 4096  # rows of several requests that are predicted at a time
IsGone = Callable[[], Awaitable[bool]]


class Waiting(NamedTuple):
    """A request whose rows wait."""

    features: pa.Table
    reasons: int  # that it asks for
    is_gone: IsGone  # whether its client is
    # What predicts the rows of several requests, and the first row of this one.
    turn: asyncio.Future[tuple[asyncio.Task[Predicted], int]]


class Queue:
    """What waits for `predict`, which takes rows of requests that ask for as many reasons."""

    def __init__(self, predict: Callable[[list[pa.Table], int], Predicted]) -> None:
        self.predict = predict
        self.waiting: list[Waiting] = []  # those that ask for reasons last
        self.some = asyncio.Event()

    async def ask(self, features: pa.Table, reasons: int, is_gone: IsGone) -> Predicted:
        """The predictions of a request, in its turn.

        Raises:
            CancelledError: its client is gone.
        """
        one = Waiting(features, reasons, is_gone, asyncio.get_running_loop().create_future())
        insort(self.waiting, one, key=lambda one: one.reasons > 0)
        self.some.set()
        task, start = await one.turn
        columns, failures = await asyncio.shield(task)
        end = start + len(features)
        return Predicted(
            {name: column[start:end] for name, column in columns.items()},
            [f._replace(row=f.row - start) for f in failures if start <= f.row < end],
        )

    async def work(self) -> None:
        """Predict what waits: all that asks for no reasons, then one request that does."""
        while await self.some.wait():
            taken = [self.waiting.pop(0)]
            rows = len(taken[0].features)
            while self.waiting and not self.waiting[0].reasons and rows < TOGETHER:
                taken.append(self.waiting.pop(0))
                rows += len(taken[-1].features)
            if not self.waiting:
                self.some.clear()
            if await taken[0].is_gone():
                taken.pop(0).turn.cancel()
            if taken:
                await self._predict(taken)

    async def _predict(self, taken: list[Waiting]) -> None:
        """Predict the rows of some requests; each of them is told of an error."""
        features = [one.features for one in taken]
        task = asyncio.create_task(asyncio.to_thread(self.predict, features, taken[0].reasons))
        start = 0
        for one in taken:
            if not one.turn.done():  # the server stops
                one.turn.set_result((task, start))
            start += len(one.features)
        await asyncio.wait([task])  # whose error, if any, is raised in `ask`


EXPLAINED = 20_000_000_000  # multiply-adds of a request that is explained: some seconds
WARM = (1, 100)  # rows, which take graphs of two sizes
ROW = "row {}".format


class Service:
    """Does with the rows of requests what `commands.predict` does with those of files."""

    def __init__(self, model: SavedModel, schema: Schema, policies: Validate) -> None:
        self.model, self.schema, self.policies = model, schema, policies
        self.checks = declared_checks(schema, policies)
        self.reasons, self.explained = None, 0  # rows of a request that may ask for reasons
        if model.metadata.trained_on:
            self.reasons = Reasons.from_model(len(schema.features), model, schema)
            work = model.multiply_adds * self.reasons.permutations.evaluations_per_row
            self.explained = max(int(EXPLAINED / max(work, 1)), 1)

    def warm_up(self) -> None:
        """Predict few and some rows of gaps, so that no request waits for TensorFlow's graphs."""
        for rows in WARM:
            gaps = pa.table({name: pa.array([""] * rows) for name in self.schema.features})
            self.predict([check_batch(gaps, self.schema, self.checks).features], 0)

    def check(self, body: bytes) -> Batch:
        """The rows of a request.

        Raises:
            NotRowsError: see `read_rows`.
            UserError: some are not as declared; a line for each mistake.
        """
        batch = check_batch(texts_of(read_rows(body), self.schema), self.schema, self.checks)
        for failure in batch.failures:
            measures.FAILED.labels(failure.column, failure.check).inc()
        refuse((f for f in batch.failures if f.policy != "warn"), 1, ROW)
        return batch

    def predict(self, rows: list[pa.Table], reasons: int) -> Predicted:
        """Predict rows of several requests that passed, and name so many reasons of each row."""
        features = pa.concat_tables(rows)
        explained = self.reasons._replace(columns=reasons) if self.reasons and reasons else None
        return predict_batch(Batch(features, features, []), self.model, self.schema, explained)

    def answer(self, batch: Batch, predicted: Predicted) -> dict[str, Any]:
        """What is said of the rows of a request.

        Raises:
            UserError: the model has no number for one.
        """
        refuse(predicted.failures, 1, ROW)
        rows = len(batch.features)
        measures.ROWS.inc(rows)
        warned = Counter(f"{failure.column}: {failure.check}" for failure in batch.failures)
        warnings = [f"{check}: {count} of {rows} rows fail" for check, count in warned.items()]
        categories = self.model.metadata.categories
        unknown = unknown_categories(batch.features, categories, self.schema)
        for name, count in unknown_rows(unknown).items():
            measures.UNKNOWN.labels(name).inc(count)
        warnings += unknown_lines(unknown, rows)
        names = [name for name in self.schema.ignore if name in batch.texts.column_names]
        answers = answers_of({name: batch.texts[name] for name in names} | predicted.columns)
        return {"rows": answers, "warnings": warnings} if warnings else {"rows": answers}
