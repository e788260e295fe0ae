"""The HTTP application of a model: its routes, the limits of a request and its OpenAPI document."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect

from tabular.core.errors import UserError, bounded, quoted
from tabular.serving import measures
from tabular.serving.rows import NotRowsError, answer_schema, list_schema, request_schema
from tabular.serving.service import Service

EXPLAIN = "Number of columns to name that moved a prediction most, as reason_1, reason_1_effect, …"


class Routes:
    """The handlers of the requests to a service.

    Args:
        max_body: Bytes of a body.
    """

    def __init__(self, service: Service, max_body: int) -> None:
        self.service, self.max_body = service, max_body
        self.md5 = hashlib.md5(service.model.content, usedforsecurity=False).hexdigest()

    async def predict(
        self, request: Request, explain: Annotated[int, Query(ge=0, description=EXPLAIN)] = 0
    ) -> Response:
        """Answer all rows of a request, or none of them where one fails a check."""
        content_type = request.headers.get("content-type", "")
        if content_type.partition(";")[0].strip().lower() != "application/json":
            message = f"Content-Type: found {quoted(content_type)}; expected application/json"
            raise HTTPException(415, message)
        with measures.WAITING.track_inprogress(), measures.SECONDS.time():
            body = await self._read_body(request)
            batch = await asyncio.to_thread(self.service.check, body)
            rows, max_rows = len(batch.features), self.service.max_explained_rows
            if explain and not max_rows:
                raise HTTPException(400, "explain: the model holds no summary of its training rows")
            if explain and rows > max_rows:
                message = f"explain: found {rows:,} rows; expected at most {max_rows:,}"
                raise HTTPException(413, message)
            return JSONResponse(await self.service.answer(batch, explain))

    async def _read_body(self, request: Request) -> bytes:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > self.max_body:
                raise HTTPException(413, f"the body: found more than {self.max_body:,} bytes")
        return bytes(body)

    async def index(self, request: Request) -> dict[str, str]:
        """Return the purpose of each path of the server."""
        paths = {"GET /schema": "The OpenAPI document of this server"}
        for path, operations in request.app.openapi()["paths"].items():
            for method, operation in operations.items():
                paths[f"{method.upper()} {path}"] = operation["summary"]
        return paths

    async def health(self) -> dict[str, Any]:
        """Return that the server is ready, and which model it has."""
        file, trained_on = self.service.model.path.name, self.service.model.metadata.trained_on
        provenance = trained_on and trained_on.model_dump(include={"rows", "md5", "packages"})
        model = {"file": file, "md5": self.md5, "trained_on": provenance}
        return {"status": "ok", "model": model}

    async def metrics(self) -> Response:
        """Return counters and times in the text format of Prometheus."""
        return Response(generate_latest(measures.REGISTRY), media_type=CONTENT_TYPE_LATEST)


async def explain_refusal(_: Request, error: Exception) -> Response:
    """Return why a request has no answer, a line for each mistake."""
    status, message = 422, str(error)
    if isinstance(error, StarletteHTTPException):
        status, message = error.status_code, error.detail
    elif isinstance(error, NotRowsError | ClientDisconnect):
        status = 400
    elif isinstance(error, RequestValidationError):
        message = f"explain: {error.errors()[0]['msg']}"
    return JSONResponse({"errors": bounded(message).split("\n")}, status)


def application(service: Service, max_body: int, hosts: Sequence[str]) -> FastAPI:
    """Build the application with the OpenAPI document of the model's table.

    Args:
        max_body: Bytes of a body.
        hosts: Names of the server that a request may use; `*.` and a domain, or `*`, allow more.

    Raises:
        UserError: A column of `ignore` has the name of another column of the output.
    """
    routes, schema = Routes(service, max_body), service.schema
    refusals = (StarletteHTTPException, RequestValidationError, ClientDisconnect, UserError)
    app = FastAPI(
        title=f"Predictions of {schema.target}",
        version="1",
        openapi_url="/schema",
        docs_url=None,
        redoc_url=None,
        middleware=[
            Middleware(TrustedHostMiddleware, hosts, www_redirect=False),
            Middleware(measures.RequestCounter),
        ],
        exception_handlers=dict.fromkeys(refusals, explain_refusal),
    )
    answer = answer_schema(schema, intervals=service.model.metadata.intervals is not None)
    errors = {"type": "object", "properties": {"errors": list_schema({"type": "string"})}}
    refusal = "Nothing is predicted; the answer has a line for each mistake"
    body = {"required": True} | json_content(request_schema(schema, service.policies))
    app.post(
        "/predict",
        summary=f"Predict {schema.target} of rows",
        responses={
            200: {"description": "Predictions"} | json_content(answer),
            "4XX": {"description": refusal} | json_content(errors),
        },
        openapi_extra={"requestBody": body},
    )(routes.predict)
    app.get("/health", summary="The model's file, MD5 and training rows")(routes.health)
    summary = "Numbers of requests, rows and errors for Prometheus"
    app.get("/metrics", summary=summary, response_class=PlainTextResponse)(routes.metrics)
    app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)(routes.index)
    app.head("/health", include_in_schema=False)(routes.health)
    return app


def json_content(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the part of an OpenAPI document that describes JSON of a schema."""
    return {"content": {"application/json": {"schema": schema}}}
