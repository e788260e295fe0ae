"""The application of a server: requests, their limits, and predictions in batches."""

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, NamedTuple
from uuid import uuid4

import numpy as np
import pyarrow as pa
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.base import RequestResponseEndpoint
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from keras_tabular.core.errors import UserError, join_mistakes, quote
from keras_tabular.core.files import md5_hash
from keras_tabular.model.drift import unknown_categories
from keras_tabular.model.metadata import training_rows
from keras_tabular.model.predict import PredictedColumns, PredictionCounts, Predictor
from keras_tabular.serve import measures, page
from keras_tabular.serve import rows as json_rows
from keras_tabular.serve.rows import Cells, Mistakes
from keras_tabular.table.rows import Failure, raise_failures

MAX_ROWS_PER_BATCH = 4096  # no request joins a batch that has this number of rows
MAX_WAIT = 1.0  # seconds that a request waits for its turn
MAX_SMALL_BODY = 4096  # bytes that are read in less time than another thread costs
MAX_EXPLAINED_ROWS = 250  # in a request; with the default model they take some seconds
JSON = "application/json"
# The descriptions of the parameters of `/predict`.
TRIAL = "Whether somebody tries values, so that the rows are neither logged nor counted"
EXPLAIN = (
    "Number of columns to name that moved a prediction most, as reason_1,"
    " reason_1_effect, …"
)
# Names do not have the form of an IP address, with or without a port.
ADDRESS = re.compile(r"([\d.]+|\[[\da-fA-F:.]+\])(:\d+)?")
REQUEST_ID = re.compile(r"[\w.:/+=-]{1,200}", re.ASCII)


class PredictedRows(NamedTuple):
    """Rows that were checked and predicted, also those that fail a check.

    Attributes:
        features: Values of the feature columns.
        failures: Checks that failed.
        predictions: What the model predicts.
    """

    features: pa.Table
    failures: list[Failure]
    predictions: PredictedColumns

    def between(self, start: int, end: int) -> "PredictedRows":
        """Return the rows of one request."""

        def select(failures: list[Failure]) -> list[Failure]:
            return [
                failure._replace(row=failure.row - start)
                for failure in failures
                if start <= failure.row < end
            ]

        columns, failures = self.predictions
        columns = {name: column[start:end] for name, column in columns.items()}
        return PredictedRows(
            self.features[start:end],
            select(self.failures),
            PredictedColumns(columns, select(failures)),
        )


class Batcher:
    """Checks and predicts the rows of all waiting requests together.

    The cost hardly depends on the number of rows as long as there are few. Each batch
    has its own task, so that a request that is cancelled stops no other one.
    """

    def __init__(self, predict: Callable[[Cells], PredictedRows]) -> None:
        self._predict = predict
        self._lock = asyncio.Lock()
        self._executor = ThreadPoolExecutor(1)
        self._cells: Cells = []
        self._task: asyncio.Task[PredictedRows] | None = None
        self._running: asyncio.Future[PredictedRows] | None = None

    async def predict(self, cells: Cells) -> PredictedRows:
        """Return the predictions for one request, or raise the error of its batch."""
        if self._task is None or len(self._cells) >= MAX_ROWS_PER_BATCH:
            self._cells = []
            self._task = asyncio.create_task(self._predict_batch(self._cells))
        start = len(self._cells)
        self._cells += cells
        rows = await asyncio.shield(self._task)
        return rows.between(start, start + len(cells))

    async def _predict_batch(self, cells: Cells) -> PredictedRows:
        async with self._lock:  # batches get it in the order in which they came
            if cells is self._cells:
                self._task = None  # the next request begins another batch
            loop = asyncio.get_running_loop()
            self._running = loop.run_in_executor(self._executor, self._predict, cells)
            return await self._running

    async def probe(self) -> None:
        """Wait for the batch that is predicted now, or predict a row if there is none.

        It does not wait for the other batches, so that a long queue is no failure.
        """
        if self._running is None or self._running.done():
            await self.predict([{}])
        else:
            await asyncio.shield(self._running)


def build_app(
    service: "Service",
    hosts: Sequence[str],
    notice: str | None,
) -> FastAPI:
    """Build the application, with the OpenAPI document of the model's table.

    Args:
        service: The handlers of requests.
        hosts: Names by which clients may call the server; `*.DOMAIN`, or `*`, allows
            more.
        notice: What the page says above the form; None if there is no page.
    """
    errors = (
        StarletteHTTPException,
        RequestValidationError,
        ClientDisconnect,
        UserError,
        Exception,
    )
    app = FastAPI(
        title=f"Predictions of {service.schema.target}",
        version="1",
        openapi_url="/schema",
        docs_url=None,
        redoc_url=None,
        exception_handlers=dict.fromkeys(errors, explain_refusal),
    )
    app.add_middleware(HostCheck, allowed_hosts=hosts, www_redirect=False)
    content = {JSON: {"schema": json_rows.request_schema(service.schema)}}
    operation: dict[str, Any] = {
        "requestBody": {"content": content, "required": True},
    }
    if notice is not None:
        service.has_page = True
        operation["x-model"] = page.describe_model(service.predictor, notice)

    app.post(
        "/predict",
        responses={"4XX": {"model": Refusal}},
        openapi_extra=operation,
    )(service.predict)
    app.get("/health")(service.health)
    app.head("/health", include_in_schema=False)(service.health)
    app.get("/ready")(service.ready)
    app.get("/metrics", response_class=PlainTextResponse)(service.metrics)

    @app.get("/", include_in_schema=False)
    async def root(request: Request) -> Any:
        if service.has_page and "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(page.HTML, headers=page.HEADERS)
        return app.openapi()

    return app


class Limits(NamedTuple):
    """Limits of requests to `/predict`.

    Attributes:
        max_body: Maximum number of bytes in the body of a request.
        max_rows: Maximum number of rows in a request.
        max_concurrency: Maximum number of requests that are received or predicted at
            the same time.
        timeout: Seconds within which the body has to be received.
    """

    max_body: int
    max_rows: int
    max_concurrency: int
    timeout: float


class Service:
    """The handlers of requests. They check and predict rows like the command `predict`.

    The docstrings of the handlers are in the OpenAPI document.
    """

    def __init__(
        self,
        predictor: Predictor,
        limits: Limits,
        version: str | None,
        log: Path | None,
    ) -> None:
        """Predict some rows, so that no request waits for TensorFlow.

        Args:
            predictor: The model.
            limits: Limits of requests.
            version: Name of the model's version in answers, in the log and in metrics.
            log: Folder of the log of answers, if they are logged.

        Raises:
            UserError: The model's file cannot explain predictions, or the log cannot be
                written.
        """
        self.predictor = predictor
        self.limits = limits
        self.has_page = False
        self.model = predictor.model
        self.schema = predictor.schema
        md5 = md5_hash(self.model.content)
        self.served = {"version": version, "md5": md5}
        self.log = measures.AnswerLog(log, self.served) if log else None
        measures.MODEL_INFO.labels(self.model.path.name, md5, version or "").set(1)
        self._observe = measures.prediction_metric(self.schema, self.model.metadata)
        self._batcher = Batcher(self._check_and_predict)
        self._explaining = asyncio.Lock()
        self._free = asyncio.Semaphore(limits.max_concurrency)
        for rows in (1, 2, 100):  # TensorFlow builds a graph for each batch size
            predictor.predict(predictor.missing_values(rows))
        predictor.output_schema([], 1)  # fails now if no prediction can be explained

    async def predict(
        self,
        request: Request,
        explain: Annotated[int, Query(ge=0, description=EXPLAIN)] = 0,
        trial: Annotated[bool, Query(description=TRIAL)] = False,
    ) -> Response:
        """Predict all rows of a request, or none of them if one fails a check."""
        content_type = request.headers.get("content-type", "")
        if content_type.split(";")[0].strip().lower() != JSON:
            raise HTTPException(
                415,
                f"Content-Type: expected {JSON}, got {quote(content_type)}",
            )
        if trial and not self.has_page:
            raise HTTPException(
                403,
                "trial: this server has no page on which rows are tried",
            )
        with measures.WAITING.track_inprogress(), measures.SECONDS.time():
            await self._wait_for_turn()
            try:
                return await self._predict(request, explain, trial)
            finally:
                self._free.release()

    async def _wait_for_turn(self) -> None:
        """Wait until fewer requests are predicted, or refuse the request.

        A client that is refused at once may try again at once, and the refusals would
        take the time of the predictions.
        """
        try:
            async with asyncio.timeout(MAX_WAIT):
                await self._free.acquire()
        except TimeoutError:
            raise HTTPException(
                503,
                "too many requests at the same time; try again later",
                {"Retry-After": "1"},
            ) from None

    async def _predict(self, request: Request, explain: int, trial: bool) -> Response:
        body = await self._receive(request)
        if len(body) <= MAX_SMALL_BODY:
            rows, cells, mistakes = self._read(body)
        else:
            rows, cells, mistakes = await asyncio.to_thread(self._read, body)
        predicted = await self._batcher.predict(cells)
        failures = predicted.failures
        if not trial:
            for failure in failures:
                measures.FAILED.labels(failure.column, failure.check).inc()
        if lines := json_rows.mistake_lines(mistakes, failures):
            raise UserError(join_mistakes(lines))
        if explain:
            predictions = await self._explain(request, predicted.features, explain)
            predicted = predicted._replace(predictions=predictions)
        answer = self._answer(cells, predicted, trial)
        if self.log and not trial:
            await self.log.write(rows, answer["rows"])
        return JSONResponse(answer)

    async def _receive(self, request: Request) -> bytearray:
        body = bytearray()
        limit = self.limits.max_body
        message = f"the body: expected at most {limit:,} bytes, got more"
        try:
            async with asyncio.timeout(self.limits.timeout):
                async for part in request.stream():
                    body += part
                    if len(body) > limit:
                        raise HTTPException(413, message)
        except TimeoutError:
            raise HTTPException(408, "the body did not end in time") from None
        return body

    def _read(self, body: bytearray) -> tuple[list[Any], Cells, Mistakes]:
        rows = json_rows.read_request(body, self.limits.max_rows)
        return rows, *json_rows.read_cells(rows, self.schema)

    def _check_and_predict(self, cells: Cells) -> PredictedRows:
        features, failures = json_rows.check_cells(
            cells,
            self.schema,
            self.predictor.checks,
        )
        return PredictedRows(features, failures, self.predictor.predict(features))

    async def _explain(
        self,
        request: Request,
        features: pa.Table,
        explain: int,
    ) -> PredictedColumns:
        """Predict with reasons, one request at a time while others are predicted."""
        if len(features) > MAX_EXPLAINED_ROWS:
            raise HTTPException(
                413,
                f"explain: expected at most {MAX_EXPLAINED_ROWS} rows, got"
                f" {len(features)}",
            )
        async with self._explaining:
            if await request.is_disconnected():  # as a page that has a newer case
                raise ClientDisconnect
            return await asyncio.to_thread(self.predictor.predict, features, explain)

    def _answer(
        self,
        cells: Cells,
        predicted: PredictedRows,
        trial: bool,
    ) -> dict[str, Any]:
        features, failures, (columns, of_model) = predicted
        errors = [failure for failure in of_model if failure.policy != "warn"]
        raise_failures(errors, 1, "row {}".format)
        rows = len(features)
        identifiers = {
            name: pa.array([row.get(name, "") for row in cells])
            for name in self.schema.ignore
            if any(name in row for row in cells)
        }
        answers = json_rows.answers_from_columns(identifiers | columns)
        unknown = unknown_categories(features, self.model.metadata.categories)
        counts = PredictionCounts()
        is_valid = np.ones(rows, bool)
        counts.add(is_valid, failures + of_model, unknown, lambda row: f"row {row + 1}")
        if not trial:
            for (name, _), count in unknown.items():
                measures.UNKNOWN.labels(name).inc(count)
            for row in answers:
                self._observe(row["predicted"])
            measures.ROWS.inc(rows)
        measures.REQUESTS.labels("/predict", 200).inc()
        answer = {"rows": answers, "model": self.served}
        if warnings := counts.warnings():
            answer["warnings"] = warnings
        return answer

    async def health(self) -> dict[str, Any]:
        """Return that the server runs, and which model it serves.

        If it logs answers, the state of the log is returned, too.
        """
        trained_on = training_rows(self.model.path, self.model.metadata)
        provenance = trained_on.model_dump(include={"rows", "md5", "packages"})
        model = {"file": self.model.path.name, **self.served, "trained_on": provenance}
        health = {"status": "ok", "model": model}
        if self.log:
            health["log"] = self.log.state
        return health

    async def ready(self) -> dict[str, str]:
        """Predict a row, or wait for a running prediction, and return that it works."""
        await self._batcher.probe()
        return {"status": "ready"}

    async def metrics(self) -> Response:
        """Return counters and times in the text format of Prometheus."""
        return Response(
            generate_latest(measures.REGISTRY), media_type=CONTENT_TYPE_LATEST
        )


class Refusal(BaseModel):
    """The reasons why no row of a request was predicted, one for each mistake."""

    errors: list[str]


async def explain_refusal(request: Request, error: Exception) -> Response:
    """Return why a request was not answered."""
    status = 422
    message = str(error)
    if isinstance(error, StarletteHTTPException):
        status = error.status_code
        message = error.detail
    elif isinstance(error, RequestValidationError):
        message = "{loc[1]}: {msg}".format(**error.errors()[0])
    elif not isinstance(error, UserError | ClientDisconnect):
        status = 500
        message = "an unexpected error; see the log of the server"
    if request.url.path.endswith("/predict"):  # also after a prefix
        measures.REQUESTS.labels("/predict", status).inc()
    headers = getattr(error, "headers", None)
    return JSONResponse({"errors": message.split("\n")}, status, headers)


class HostCheck(TrustedHostMiddleware):
    """Refuses requests by a name that is not allowed. An IP address is always allowed.

    The check is against pages of other sites whose name leads to this server (DNS
    rebinding), since a browser then sends that name. Probes of Kubernetes and
    Prometheus send an address.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on to the application, or refuse it."""
        host = Request(scope).headers.get("host", "")
        if ADDRESS.fullmatch(host):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class Connection(H11Protocol):
    """A connection that is closed if it is idle, also if it never had a request.

    uvicorn itself closes an idle connection only after a request, waits for the end of
    a header without a limit, and accepts connections until the process has no
    descriptor left. Here, a new connection above the limit closes the oldest one that
    has no complete request.

    Attributes:
        timeout: Seconds within which the header of a request has to be received.
        max_connections: Maximum number of connections.
    """

    timeout = 30.0
    max_connections = 2000
    _idle_since = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether a request is received or answered."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def closing_order(self) -> tuple[bool, float]:
        """A key that sorts connections by which one is closed first.

        It is the oldest one without a complete request, or whose client does not read.
        """
        is_waiting = self.flow.write_paused or not self.is_busy or self.cycle.more_body
        return not is_waiting, self._idle_since

    def connection_made(self, transport: Any) -> None:
        """Start the timer that closes an idle connection."""
        super().connection_made(transport)
        self.on_response_complete()
        if len(self.connections) > self.max_connections:
            connections: Iterable[Any] = self.connections
            oldest = min(connections, key=lambda c: c.closing_order)
            self.connections.discard(oldest)
            oldest.transport.abort()

    def on_response_complete(self) -> None:
        """Start the timer again."""
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def data_received(self, data: bytes) -> None:
        """Replace the timer of an idle connection by one for the end of the header."""
        super().data_received(data)
        if not self.is_busy:
            self.timeout_keep_alive_task = self.loop.call_at(
                self._idle_since + self.timeout,
                self.timeout_keep_alive_handler,
            )


async def log_request(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """Print a JSON line about a request.

    Its identifier is also a header of the response. It is the header `X-Request-ID` of
    the request, which a proxy may set, or a new one if it has more than 200 characters,
    or others than letters, digits and `.:/+=-`.
    """
    start = perf_counter()
    identifier = request.headers.get("x-request-id", "")
    if not REQUEST_ID.fullmatch(identifier):
        identifier = uuid4().hex
    response = await call_next(request)
    response.headers["x-request-id"] = identifier
    line = {
        "request": identifier,
        "method": request.method,
        "path": request.url.path,
        "status": response.status_code,
        "seconds": round(perf_counter() - start, 6),
    }
    with suppress(OSError):  # the response is sent in any case
        print(json.dumps(line), flush=True)
    return response
