"""Counters and times of a server, in the format of Prometheus."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()
OPTIONS: Any = {"registry": REGISTRY, "namespace": "tabular"}
REQUESTS = Counter(
    "requests", "Answered requests to /predict, by status", ["path", "status"], **OPTIONS
)
SECONDS = Histogram("predict_seconds", "Time of requests to /predict", **OPTIONS)
WAITING = Gauge("predict_waiting", "Requests to /predict without an answer", **OPTIONS)
ROWS = Counter("rows", "Predicted rows", **OPTIONS)
FAILED = Counter("failed_cells", "Cells that fail a check", ["column", "check"], **OPTIONS)
UNKNOWN = Counter(
    "unknown_categories", "Rows whose category the model does not know", ["column"], **OPTIONS
)
