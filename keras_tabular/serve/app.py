"""The application of a server: requests, their limits, and predictions in batches."""

import asyncio
import json
import re
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, NamedTuple
from uuid import uuid4

import h11
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
from keras_tabular.model.drift import unknown_categories, warn_of_far_numbers
from keras_tabular.model.predict import PredictedColumns, PredictionCounts, Predictor
from keras_tabular.serve import measures, page
from keras_tabular.serve import rows as json_rows
from keras_tabular.table.rows import CheckedRows, raise_failures

MAX_ROWS_PER_BATCH = 4096  # no request joins a batch that has this number of rows
MAX_EXPLAINED_ROWS = 250  # in a request; with the default model they take some seconds
WARM_UP_ROWS = (1, 100)  # TensorFlow builds a graph for each of two batch sizes
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


class Batcher:
    """Predicts the rows of all waiting requests together.

    The cost of a prediction hardly depends on the number of rows as long as there are
    few.
    """

    def __init__(self, predict: Callable[[pa.Table], PredictedColumns]) -> None:
        self._predict = predict
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(
            1,
        )  # does not wait for requests that are checked
        self._waiting = deque[tuple[pa.Table, asyncio.Future[PredictedColumns]]]()

    async def predict(self, features: pa.Table) -> PredictedColumns:
        """Return the predictions for one request, or raise the error of its batch."""
        future: asyncio.Future[PredictedColumns] = (
            asyncio.get_running_loop().create_future()
        )
        self._waiting.append((features, future))
        async with self._lock:  # requests get it in the order in which they came
            if not future.done():
                await self._predict_waiting()
        return future.result()

    async def _predict_waiting(self) -> None:
        batch = [self._waiting.popleft()]
        rows = 0
        while self._waiting and (rows := rows + len(batch[-1][0])) < MAX_ROWS_PER_BATCH:
            batch.append(self._waiting.popleft())
        features = pa.concat_tables([table for table, _ in batch])
        try:
            loop = asyncio.get_running_loop()
            columns, failures = await loop.run_in_executor(
                self._thread,
                self._predict,
                features,
            )
        except Exception as error:
            for _, future in batch:
                future.set_exception(error)
            return
        start = 0
        for table, future in batch:
            end = start + len(table)
            own_columns = {name: column[start:end] for name, column in columns.items()}
            own_failures = [
                f._replace(row=f.row - start) for f in failures if start <= f.row < end
            ]
            future.set_result(PredictedColumns(own_columns, own_failures))
            start = end


def build_app(
    service: "Service",
    hosts: Sequence[str],
    notice: str | None = "",
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
    body_schema = json_rows.request_schema(service.schema)
    content = {JSON: {"schema": body_schema}}
    request_body = {"content": content, "required": True}
    operation: dict[str, Any] = {"requestBody": request_body}
    service.has_page = notice is not None
    if notice is not None:
        operation["x-model"] = page.describe_model(service.predictor, notice)

    async def root(request: Request) -> Any:
        accepted = request.headers.get("accept", "")
        if service.has_page and "text/html" in accepted:
            return HTMLResponse(page.HTML, headers=page.HEADERS)
        return app.openapi()

    app.add_api_route(
        "/predict",
        service.predict,
        methods=["POST"],
        responses={"4XX": {"model": Refusal}},
        openapi_extra=operation,
    )
    app.add_api_route("/health", service.health)
    app.add_api_route(
        "/health",
        service.health,
        methods=["HEAD"],
        include_in_schema=False,
    )
    app.add_api_route("/metrics", service.metrics, response_class=PlainTextResponse)
    app.add_api_route("/", root, include_in_schema=False)
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
        labels = (self.model.path.name, md5, version or "")
        measures.MODEL_INFO.labels(*labels).set(1)
        self._observe = measures.prediction_metric(self.schema, self.model.metadata)
        self._batcher = Batcher(predictor.predict)
        self._explaining = asyncio.Lock()
        self._free = asyncio.Semaphore(limits.max_concurrency)
        for rows in WARM_UP_ROWS:
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
        media_type, *_ = content_type.split(";")
        if media_type.strip().lower() != JSON:
            message = f"Content-Type: expected {JSON}, got {quote(content_type)}"
            raise HTTPException(415, message)
        if trial and not self.has_page:
            message = "trial: this server has no page on which rows are tried"
            raise HTTPException(403, message)
        if self._free.locked():
            message = "too many requests at the same time; try again later"
            raise HTTPException(503, message)
        async with self._free:
            return await self._predict(request, explain, trial)

    async def _predict(self, request: Request, explain: int, trial: bool) -> Response:
        with measures.WAITING.track_inprogress(), measures.SECONDS.time():
            body = await self._receive(request)
            rows, batch = await asyncio.to_thread(self._check, body, trial)
            if explain:
                predictions = await self._explain(request, batch.features, explain)
            else:
                predictions = await self._batcher.predict(batch.features)
            answer = self._answer(batch, predictions, trial)
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

    def _check(self, body: bytearray, trial: bool) -> tuple[list[Any], CheckedRows]:
        rows = json_rows.read_request(body, self.limits.max_rows)
        checks = self.predictor.checks
        batch, mistakes = json_rows.check_json_rows(rows, self.schema, checks)
        trained_on = self.model.metadata.trained_on
        batch = warn_of_far_numbers(batch, trained_on, self.schema)
        if not trial:
            for failure in batch.failures:
                measures.FAILED.labels(failure.column, failure.check).inc()
        if mistakes:
            raise UserError(join_mistakes(mistakes))
        return rows, batch

    async def _explain(
        self,
        request: Request,
        features: pa.Table,
        explain: int,
    ) -> PredictedColumns:
        """Predict with reasons, one request at a time while others are predicted."""
        if len(features) > MAX_EXPLAINED_ROWS:
            expected = f"expected at most {MAX_EXPLAINED_ROWS} rows"
            raise HTTPException(413, f"explain: {expected}, got {len(features)}")
        async with self._explaining:
            if await request.is_disconnected():  # as a page that has a newer case
                raise ClientDisconnect
            return await asyncio.to_thread(self.predictor.predict, features, explain)

    def _answer(
        self,
        batch: CheckedRows,
        predictions: PredictedColumns,
        trial: bool,
    ) -> dict[str, Any]:
        raise_failures(predictions.failures, 1, "row {}".format)
        rows = len(batch.features)
        columns = {}
        for name in self.schema.ignore:
            if name in batch.texts.column_names:
                columns[name] = batch.texts[name]
        answers = json_rows.answers_from_columns(columns | predictions.columns)
        unknown = unknown_categories(batch.features, self.model.metadata.categories)
        counts = PredictionCounts()
        is_valid = np.ones(rows, bool)
        counts.add(is_valid, batch.failures, unknown, lambda n: f"row {n + 1}")
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
        """Return that the server is ready, and which model it serves.

        If it logs answers, the state of the log is returned, too.
        """
        trained_on = self.model.metadata.trained_on
        provenance = None
        if trained_on:
            provenance = trained_on.model_dump(include={"rows", "md5", "packages"})
        model = {"file": self.model.path.name, **self.served, "trained_on": provenance}
        health: dict[str, Any] = {"status": "ok", "model": model}
        if self.log:
            health["log"] = self.log.state
        return health

    async def metrics(self) -> Response:
        """Return counters and times in the text format of Prometheus."""
        content = generate_latest(measures.REGISTRY)
        return Response(content, media_type=CONTENT_TYPE_LATEST)


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
    return JSONResponse({"errors": message.split("\n")}, status)


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

    uvicorn itself closes an idle connection only after a request, and waits for the end
    of a header without a limit.

    Attributes:
        timeout: Seconds within which the header of a request has to be received.
    """

    timeout = 30.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the timer that closes an idle connection."""
        super().connection_made(transport)
        self.on_response_complete()

    def data_received(self, data: bytes) -> None:
        """Start a timer for the end of a header, or stop it at the end."""
        super().data_received(data)
        is_idle = self.conn.their_state is h11.IDLE
        is_incomplete = is_idle and bool(self.conn.trailing_data[0])
        if is_incomplete and self._timer is None:
            self._timer = self.loop.call_later(self.timeout, self.transport.close)
        elif self._timer and not is_incomplete:
            self._timer.cancel()
            self._timer = None


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
