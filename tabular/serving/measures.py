"""Counters and times of a server in the form that Prometheus reads."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)  # seconds
REGISTRY = CollectorRegistry()
OPTIONS: Any = {"registry": REGISTRY, "namespace": "tabular"}
REQUESTS = Counter("requests", "Requests by path and status", ["path", "status"], **OPTIONS)
SECONDS = Histogram("predict_seconds", "Time of requests to /predict", buckets=BUCKETS, **OPTIONS)
WAITING = Gauge("predict_waiting", "Requests to /predict without an answer", **OPTIONS)
ROWS = Counter("rows", "Rows with an answer", **OPTIONS)
FAILED = Counter("failed_cells", "Cells that fail a check", ["column", "check"], **OPTIONS)
UNKNOWN = Counter(
    "unknown_categories", "Rows whose category the model does not know", ["column"], **OPTIONS
)


class RequestCounter:
    """Middleware that counts requests by path and status.

    Starlette's own base class for middleware would make small requests a sixth slower.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 500  # of an unexpected error

        async def note_status(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, note_status)
        finally:
            if "endpoint" in scope:  # other paths may have any name
                REQUESTS.labels(scope["path"], status).inc()
