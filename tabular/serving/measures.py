"""Counters and times of a server in the form that Prometheus reads."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)  # seconds
REGISTRY = CollectorRegistry()
OPTIONS: Any = {"registry": REGISTRY, "namespace": "tabular"}
REQUESTS = Counter("requests", "Requests to /predict by status", ["path", "status"], **OPTIONS)
SECONDS = Histogram("predict_seconds", "Time of requests to /predict", buckets=BUCKETS, **OPTIONS)
WAITING = Gauge("predict_waiting", "Requests to /predict without an answer", **OPTIONS)
ROWS = Counter("rows", "Rows with an answer", **OPTIONS)
FAILED = Counter("failed_cells", "Cells that fail a check", ["column", "check"], **OPTIONS)
UNKNOWN = Counter(
    "unknown_categories", "Rows whose category the model does not know", ["column"], **OPTIONS
)
