"""The HTTP application: requests are checked apart and predicted together, in bounded numbers."""

import asyncio
import hashlib
import time
from collections import Counter as Counts
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pyarrow as pa
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client import generate_latest as latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tabular.config.schema import Schema
from tabular.config.sections import Validate
from tabular.core.errors import UserError, bounded
from tabular.model.metadata import known_categories
from tabular.model.saved_model import SavedModel, multiply_adds
from tabular.prediction.answers import Reasons, predict_batch
from tabular.prediction.drift import unknown_categories, unknown_lines, unknown_rows
from tabular.prediction.outputs import output_schema
from tabular.serving.openapi import openapi
from tabular.serving.rows import answers_of, read_rows, texts_of
from tabular.table.checks import declared_checks
from tabular.table.csv_lines import MISTAKES_SHOWN
from tabular.table.rows import Batch, check_batch

TOGETHER = 4096  # rows of several requests that are predicted at a time
EXPLAINED = 20_000_000_000  # multiply-adds of a request that is explained: some seconds
WARM = (1, 100)  # rows, which take graphs of two sizes
ARRIVAL = 30.0  # seconds that a body may take to arrive
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)  # seconds


class RefusedError(Exception):
    """A request that is not answered: its status, and why, a line for each mistake."""

    def __init__(self, status: int, *lines: str) -> None:
        super().__init__(*lines)
        self.status, self.lines = status, lines


class Waiting(NamedTuple):
    """A request whose rows passed, how many reasons it asks for, and what will hold its answer."""

    request: Request
    batch: Batch
    reasons: int
    answer: asyncio.Future[dict[str, Any]]


class Measures:
    """What Prometheus reads."""

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()
        self.requests = Counter(
            "tabular_requests", "Requests by path and status", ["path", "status"], registry=own
        )
        self.seconds = Histogram(
            "tabular_predict_seconds", "Of requests to /predict", buckets=BUCKETS, registry=own
        )
        self.waiting = Gauge("tabular_predict_waiting", "Requests that wait", registry=own)
        self.rows = Counter("tabular_rows", "Rows that got an answer", registry=own)
        self.failed = Counter(
            "tabular_failed_cells", "Cells that fail a check", ["column", "check"], registry=own
        )
        self.unknown = Counter(
            "tabular_unknown_categories",
            "Rows whose category the model does not know",
            ["column"],
            registry=own,
        )


class Service:
    """A model with what it takes to answer; `limit` bytes of a body, `most` requests that wait."""

    def __init__(
        self, model: SavedModel, schema: Schema, policies: Validate, limit: int, most: int
    ) -> None:
        self.model, self.schema, self.limit, self.most = model, schema, limit, most
        self.md5 = hashlib.md5(model.content, usedforsecurity=False).hexdigest()
        self.checks = declared_checks(schema, policies)
        self.optional = {schema.target, *schema.roles.values(), *schema.ignore} - set(
            schema.features
        )
        self.document = openapi(schema, policies, intervals=model.intervals is not None)
        self.reasons, self.explained = None, 0
        if "sketches" in model.metadata:
            self.reasons = Reasons.of(len(schema.features), model, schema)
            work = multiply_adds(model.network) * self.reasons.walks.answers
            self.explained = max(int(EXPLAINED / max(work, 1)), 1)  # rows of a request
        output_schema(schema, list(schema.ignore), numbered=False, intervals=bool(model.intervals))
        self.categories = known_categories(model.path, model.metadata, schema)
        self.waiting: asyncio.Queue[Waiting] = asyncio.Queue(most)
        self.inside = 0  # requests that are being read, checked, or wait
        self.measures = Measures()

    def warm_up(self) -> None:
        """Predict few and some rows of gaps, so that no request waits for TensorFlow's graphs."""
        for rows in WARM:
            gaps = pa.table({name: pa.array([""] * rows) for name in self.schema.features})
            predict_batch(check_batch(gaps, self.schema, self.checks), self.model, self.schema)

    async def predict(self, request: Request) -> Response:
        """Answer rows as `commands.predict` does: all, or none where one fails a check."""
        if self.inside >= self.most:
            raise RefusedError(503, f"{self.most} requests wait already; try again in a moment")
        self.inside += 1
        self.measures.waiting.set(self.inside)
        started = time.monotonic()
        try:
            reasons = self._reasons(request)
            body = await self._body(request)
            batch = await asyncio.to_thread(self._check, body)
            if reasons and len(batch.features) > self.explained:
                found = f"{len(batch.features):,} rows; expected {self.explained:,} at most"
                raise RefusedError(413, f"explain: found {found}")
            answer = asyncio.get_running_loop().create_future()
            waiting = Waiting(request, batch, reasons, answer)
            self.waiting.put_nowait(waiting)
            return JSONResponse(await waiting.answer)
        finally:
            self.inside -= 1
            self.measures.waiting.set(self.inside)
            self.measures.seconds.observe(time.monotonic() - started)

    def _reasons(self, request: Request) -> int:
        text = request.query_params.get("explain", "0")
        if not text.isascii() or not text.isdigit() or len(text) > 6:
            raise RefusedError(400, f"explain: found {text[:40]!r}; expected a number of columns")
        if int(text) and not self.reasons:
            raise RefusedError(400, "explain: the model holds no sketches of its training rows")
        return min(int(text), len(self.schema.features))

    async def _body(self, request: Request) -> bytes:
        """The body, if it is small enough and in time."""
        parts, size = [], 0
        try:
            async with asyncio.timeout(ARRIVAL):
                async for part in request.stream():
                    size += len(part)
                    if size > self.limit:
                        raise RefusedError(413, f"the body: found more than {self.limit:,} bytes")
                    parts.append(part)
        except ClientDisconnect:
            raise RefusedError(400, "the client went away before the body was there") from None
        except TimeoutError:
            raise RefusedError(408, f"the body did not arrive in {ARRIVAL:g} seconds") from None
        return b"".join(parts)

    def _check(self, body: bytes) -> Batch:
        """The rows of a body; in a thread."""
        try:
            rows = read_rows(body)
        except UserError as error:
            raise RefusedError(400, *bounded(str(error)).split("\n")) from None
        try:
            texts = texts_of(rows, self.schema, self.optional)
        except UserError as error:
            raise RefusedError(422, *bounded(str(error)).split("\n")) from None
        batch = check_batch(texts, self.schema, self.checks)
        for failure in batch.failures:
            self.measures.failed.labels(failure.column, failure.check).inc()
        wrong = [failure for failure in batch.failures if failure.policy != "warn"]
        if wrong:
            lines = [f"row {f.row + 1}, column {f}" for f in wrong[:MISTAKES_SHOWN]]
            more = len(wrong) - len(lines)
            raise RefusedError(422, *lines, *([f"and {more:,} more"] if more else []))
        return batch

    async def work(self) -> None:
        """Answer what waits: all that asks for no reasons, then one request that does."""
        held: list[Waiting] = []
        while True:
            if not held:
                held.append(await self.waiting.get())
            while not self.waiting.empty():
                held.append(self.waiting.get_nowait())
            taken: list[Waiting] = []
            rows = 0
            for one in sorted(held, key=lambda one: bool(one.reasons)):
                if taken and (one.reasons or rows >= TOGETHER):
                    break
                taken.append(one)
                rows += len(one.batch.features)
            held = [one for one in held if one not in taken]
            if await taken[0].request.is_disconnected():
                taken.pop(0).answer.cancel()
            if taken:
                await self._give(taken)

    async def _give(self, taken: list[Waiting]) -> None:
        """Answer some requests together, each of which asks for as many reasons."""
        answers: Sequence[dict[str, Any] | Exception]
        try:
            answers = await asyncio.to_thread(self._answers, taken, taken[0].reasons)
        except Exception as error:  # the server goes on
            answers = [error] * len(taken)
        for one, answer in zip(taken, answers, strict=True):
            if one.answer.done():  # the server stops
                continue
            if isinstance(answer, Exception):
                one.answer.set_exception(answer)
            else:
                one.answer.set_result(answer)

    def _answers(self, taken: list[Waiting], reasons: int) -> list[dict[str, Any] | Exception]:
        """The answers to several requests, whose rows do not depend on each other; in a thread."""
        features = pa.concat_tables([one.batch.features for one in taken])
        explained = self.reasons._replace(columns=reasons) if self.reasons and reasons else None
        together = Batch(features, features, [])
        columns, failures = predict_batch(together, self.model, self.schema, explained)
        found: list[dict[str, Any] | Exception] = []
        start = 0
        for one in taken:
            end = start + len(one.batch.features)
            own = [failure for failure in failures if start <= failure.row < end]
            lines = [f"row {f.row - start + 1}: {f}" for f in own[:MISTAKES_SHOWN]]
            answer = {name: column[start:end] for name, column in columns.items()}
            found.append(RefusedError(422, *lines) if lines else self._answer(one.batch, answer))
            start = end
        return found

    def _answer(self, batch: Batch, predicted: dict[str, pa.Array]) -> dict[str, Any]:
        """What is said of the rows of a request."""
        rows = len(batch.features)
        self.measures.rows.inc(rows)
        warned = Counts(f"{failure.column}: {failure.check}" for failure in batch.failures)
        warnings = [f"{check}: {count} of {rows} rows fail" for check, count in warned.items()]
        unknown = unknown_categories(batch.features, self.categories, self.schema)
        for name, count in unknown_rows(unknown).items():
            self.measures.unknown.labels(name).inc(count)
        warnings += unknown_lines(unknown, rows)
        identifiers = {
            name: batch.texts[name]
            for name in self.schema.ignore
            if name in batch.texts.column_names
        }
        return {"rows": answers_of(identifiers | predicted)} | (
            {"warnings": warnings} if warnings else {}
        )

    async def health(self, _: Request) -> Response:
        """That it answers, and with what."""
        model = {
            "file": self.model.path.name,
            "md5": self.md5,
            "trained_on": self.model.metadata.get("trained_on"),
        }
        return JSONResponse({"status": "ok", "model": model})

    async def described(self, _: Request) -> Response:
        """What it understands."""
        return JSONResponse(self.document)

    async def metrics(self, _: Request) -> Response:
        """What Prometheus reads."""
        return Response(
            latest(self.measures.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )


def application(service: Service) -> Starlette:
    """The routes of a service, each request counted."""

    def counted(answer: Callable[[Request], Awaitable[Response]]) -> Callable[..., Any]:
        async def counting(request: Request) -> Response:
            status = 500
            try:
                response = await answer(request)
                status = response.status_code
            except asyncio.CancelledError:  # its client went away, or the server stops
                status = 503
                response = JSONResponse({"errors": ["the server stops"]}, status)
            except RefusedError as refused:
                status = refused.status
                more = {"Retry-After": "1"} if status == 503 else None
                response = JSONResponse({"errors": refused.lines}, status, headers=more)
            finally:
                service.measures.requests.labels(request.url.path, status).inc()
            return response

        return counting

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        work = asyncio.create_task(service.work())
        yield
        work.cancel()

    routes = [
        Route("/predict", counted(service.predict), methods=["POST"]),
        Route("/health", counted(service.health)),
        Route("/schema", counted(service.described)),
        Route("/metrics", counted(service.metrics)),
    ]

    async def no_route(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse({"errors": [error.detail]}, error.status_code, headers=error.headers)

    return Starlette(routes=routes, exception_handlers={HTTPException: no_route}, lifespan=lifespan)
