"""What Prometheus reads of a server."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)  # seconds
REGISTRY = CollectorRegistry()
OWN: Any = {"registry": REGISTRY, "namespace": "tabular"}
REQUESTS = Counter("requests", "Requests by path and status", ["path", "status"], **OWN)
SECONDS = Histogram("predict_seconds", "Of requests to /predict", buckets=BUCKETS, **OWN)
WAITING = Gauge("predict_waiting", "Requests that wait", **OWN)
ROWS = Counter("rows", "Rows that got an answer", **OWN)
FAILED = Counter("failed_cells", "Cells that fail a check", ["column", "check"], **OWN)
UNKNOWN = Counter(
    "unknown_categories", "Rows whose category the model does not know", ["column"], **OWN
)


class Counted:
    """An application of whose paths each request is counted."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 500  # of an error that nothing expects

        async def watched(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            if "endpoint" in scope:
                REQUESTS.labels(scope["path"], status).inc()
