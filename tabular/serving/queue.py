"""Requests that wait for the model, which predicts the rows of several together."""

import asyncio
from bisect import insort
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pyarrow as pa

from tabular.prediction.answers import Predicted

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
