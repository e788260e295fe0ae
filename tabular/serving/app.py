"""The HTTP application: what may be asked, in bounded numbers, sizes and times, else refused."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from tabular.core.errors import UserError, bounded, quoted
from tabular.serving import measures
from tabular.serving.rows import Errors, NotRowsError, answers_model, body_schema
from tabular.serving.service import Queue, Service

MOMENT = 2.0  # seconds that what is not read may still come, so that its client reads the answer


class Closing:
    """An application that closes a connection where it answers before the body was read.

    A request whose end is in doubt is refused: what is behind it may be another's.

    Args:
        limit: bytes that are discarded, at most.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app, headers = self.app, Headers(scope=scope) if scope["type"] == "http" else Headers()
        chunked, length = "transfer-encoding" in headers, headers.get("content-length")
        unread = chunked or int(length or 0) > 0

        async def reading() -> Message:
            nonlocal unread
            message = await receive()
            unread = unread and message.get("more_body", False)
            return message

        async def sending(message: Message) -> None:
            if unread and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["connection"] = "close"
            elif unread and not message.get("more_body"):
                await send({**message, "more_body": True})
                with suppress(TimeoutError):
                    async with asyncio.timeout(MOMENT):
                        left = self.limit
                        while unread and left > 0:
                            left -= len((await reading()).get("body", b""))
                message = {"type": "http.response.body"}
            await send(message)

        if chunked and length is not None:
            said = "headers: found Content-Length and Transfer-Encoding; expected one of them"
            app = JSONResponse({"errors": [said]}, 400)
        await app(scope, reading, sending)


class Protocol(H11Protocol):
    """HTTP whose clients have as long to send the head of a request as between two of them."""

    head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def _watch(self) -> None:
        """Time the head that is awaited; what came of it gives it no more time."""
        answered = self.cycle is None or self.cycle.response_complete
        if answered and not self.head:
            self.head = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        elif not answered and self.head:
            self.head.cancel()
            self.head = None


ARRIVAL = 30.0  # seconds that a body may take to arrive
SLOW = 1.0  # seconds after which it gives its place to another
AGAIN = {"Retry-After": "1"}  # seconds
REASONS = (
    "how many of the columns that moved an answer most to name: reason_1, and reason_1_effect, "
    "by how much"
)
REFUSALS = {
    400: "The body is not JSON, or explain no number",
    408: "The body did not arrive in time",
    413: "The body is too large, or has too many rows to explain",
    415: "The Content-Type is not application/json",
    422: "A row is not as declared; a line for each mistake",
    503: "Too many requests wait, or the server stops",
}


class Routes:
    """What may be asked of a service.

    Args:
        limit: bytes of a body.
        most: requests to /predict that are read, checked, or wait at a time.
    """

    def __init__(self, service: Service, limit: int, most: int) -> None:
        self.service, self.limit, self.most = service, limit, most
        self.places, self.queue = asyncio.Semaphore(most), Queue(service.predict)
        self.arriving: dict[asyncio.Timeout, str] = {}  # whose bodies, the oldest first
        self.md5 = hashlib.md5(service.model.content, usedforsecurity=False).hexdigest()

    async def predict(
        self, request: Request, explain: Annotated[int, Query(ge=0, description=REASONS)] = 0
    ) -> Response:
        """Answer rows as `commands.predict` does: all, or none where one fails a check."""
        kind = request.headers.get("content-type", "")
        if kind.partition(";")[0].strip().lower() != "application/json":
            said = f"Content-Type: found {quoted(kind)}; expected application/json"
            raise HTTPException(415, said)
        if self.places.locked():
            self._make_place(request["client"][0])
        async with self.places:
            with measures.WAITING.track_inprogress(), measures.SECONDS.time():
                try:
                    return JSONResponse(await self._answer(request, explain))
                except asyncio.CancelledError:  # its client went away, or the server stops
                    raise HTTPException(503, "the server stops", AGAIN) from None

    def _make_place(self, client: str) -> None:
        """End a body that is slow, or of a client that has more of them than this one."""
        bodies, now = Counter(self.arriving.values()), asyncio.get_running_loop().time()
        most = max(bodies, key=bodies.__getitem__, default="")
        for timeout, whose in self.arriving.items():
            slow = (timeout.when() or now) < now + ARRIVAL - SLOW
            if whose == most and (slow or bodies[most] > bodies[client] + 1):
                del self.arriving[timeout]
                if not timeout.expired():
                    timeout.reschedule(now)
                return
        said = f"{self.most} requests wait already; try again in a moment"
        raise HTTPException(503, said, AGAIN)

    async def _answer(self, request: Request, explain: int) -> dict[str, Any]:
        service = self.service
        if explain and not service.reasons:
            raise HTTPException(400, "explain: the model holds no summary of its training rows")
        batch = await asyncio.to_thread(service.check, await self._body(request))
        rows, most = len(batch.features), service.explained
        if explain and rows > most:
            raise HTTPException(413, f"explain: found {rows:,} rows; expected {most:,} at most")
        reasons = min(explain, service.reasons.columns if service.reasons else 0)
        predicted = await self.queue.ask(batch.features, reasons, request.is_disconnected)
        return service.answer(batch, predicted)

    async def _body(self, request: Request) -> bytes:
        """The body, if it is small enough and in time."""
        body, timeout = bytearray(), asyncio.timeout(ARRIVAL)
        self.arriving[timeout] = request["client"][0]
        try:
            async with timeout:
                async for part in request.stream():
                    body += part
                    if len(body) > self.limit:
                        raise HTTPException(413, f"the body: found more than {self.limit:,} bytes")
        except ClientDisconnect:
            raise HTTPException(400, "the client went away before the body was there") from None
        except TimeoutError:
            said = f"the body took over {ARRIVAL:g} seconds, or was slow while others waited"
            raise HTTPException(408, said) from None
        finally:
            self.arriving.pop(timeout, None)
        return bytes(body)

    async def index(self, request: Request) -> dict[str, str]:
        """Return what each path of the server is for."""
        paths = {"GET /schema": "The OpenAPI document of this server"}
        for path, operations in request.app.openapi()["paths"].items():
            for method, operation in operations.items():
                paths[f"{method.upper()} {path}"] = operation["summary"]
        return paths

    async def health(self) -> dict[str, Any]:
        """That it answers, and with what."""
        file, trained_on = self.service.model.path.name, self.service.model.metadata.trained_on
        provenance = trained_on and trained_on.model_dump(include={"rows", "md5", "packages"})
        model = {"file": file, "md5": self.md5, "trained_on": provenance}
        return {"status": "ok", "model": model}

    async def metrics(self) -> Response:
        """Counts and times in the text format of Prometheus."""
        return Response(generate_latest(measures.REGISTRY), media_type=CONTENT_TYPE_LATEST)


async def refuse(_: Request, error: Exception) -> Response:
    """Why a request is not answered, a line for each mistake."""
    status, said, headers = 422, str(error), None
    match error:
        case AnyHTTPException():
            status, said, headers = error.status_code, error.detail, error.headers
        case RequestValidationError():
            found = quoted(str(error.errors()[0]["input"]))
            status, said = 400, f"explain: found {found}; expected a number of columns"
        case NotRowsError():
            status = 400
    return JSONResponse({"errors": bounded(said).split("\n")}, status, headers)


def application(service: Service, limit: int, most: int, hosts: Sequence[str]) -> FastAPI:
    """The routes of a service, see `Routes`, and the OpenAPI document of its table.

    Args:
        hosts: that a request may name, or `*.` and a domain, or `*`.

    Raises:
        UserError: see `answers_model`.
    """
    routes, schema = Routes(service, limit, most), service.schema

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        work = asyncio.create_task(routes.queue.work())
        yield
        work.cancel()

    refused = (AnyHTTPException, RequestValidationError, UserError)
    app = FastAPI(
        title=f"Predictions of {schema.target}",
        version="1",
        openapi_url="/schema",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        middleware=[
            Middleware(Closing, limit),
            Middleware(TrustedHostMiddleware, hosts, www_redirect=False),
            Middleware(measures.Counted),
        ],
        exception_handlers=dict.fromkeys(refused, refuse),
    )
    body = body_schema(schema, service.policies)
    models = body.pop("$defs")
    content = {"application/json": {"schema": body}}
    app.post(
        "/predict",
        summary=f"Predict {schema.target} of rows",
        response_model=answers_model(schema, intervals=service.model.intervals is not None),
        responses={code: {"model": Errors, "description": said} for code, said in REFUSALS.items()},
        openapi_extra={"requestBody": {"required": True, "content": content}},
    )(routes.predict)
    app.get("/health", summary="The model's file, MD5 and training rows")(routes.health)
    summary = "Numbers of requests, rows and errors for Prometheus"
    app.get("/metrics", summary=summary, response_class=PlainTextResponse)(routes.metrics)
    app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)(routes.index)
    app.head("/health", include_in_schema=False)(routes.health)
    app.head("/metrics", include_in_schema=False)(routes.metrics)
    app.openapi()["components"]["schemas"] |= models  # those of a body that FastAPI does not read
    return app
