"""Counters and times of a server, in the format of Prometheus."""

from collections.abc import Callable
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from keras_tabular.config.schema import Schema
from keras_tabular.model_file.metadata import ModelMetadata

REGISTRY = CollectorRegistry()
OPTIONS: Any = {"registry": REGISTRY, "namespace": "tabular"}
REQUESTS = Counter("requests", "Answers of /predict, by status", ["path", "status"], **OPTIONS)
SECONDS = Histogram("predict_seconds", "Time of requests to /predict", **OPTIONS)
WAITING = Gauge("predict_waiting", "Requests to /predict without an answer", **OPTIONS)
ROWS = Counter("rows", "Predicted rows", **OPTIONS)
FAILED = Counter("failed_cells", "Cells that fail a check", ["column", "check"], **OPTIONS)
UNKNOWN = Counter("unknown_categories", "Rows with a new category", ["column"], **OPTIONS)
PREDICTED = Counter("predicted", "Predicted rows, by class", ["class"], **OPTIONS)
MODEL = Gauge("model_info", "1 for the model that is served", ["file", "md5", "version"], **OPTIONS)
LOST = Counter("log_lost_lines", "Lines of --log that could not be written", **OPTIONS)


def prediction_metric(schema: Schema, metadata: ModelMetadata) -> Callable[[Any], None]:
    """Return a function that adds the prediction of a row to a metric.

    The buckets of a regression end at ten equal steps of the range of the target in the training
    rows, and at the median prediction of each tenth of these rows, for a target that is skewed.
    """
    if schema.classes:
        names = {v: str(v).lower() if isinstance(v, bool) else v for v in schema.classes}
        counters = {value: PREDICTED.labels(name) for value, name in names.items()}
        return lambda value: counters[value].inc()
    low, high = metadata.ensemble.target_range if metadata.ensemble else (0.0, 0.0)
    ends = [*np.linspace(low, high, 11), *(metadata.intervals.at if metadata.intervals else ())]
    buckets = sorted({float(f"{end:.7g}") for end in ends})  # the digits of a float32
    return Histogram("predicted_value", "Predicted values", buckets=buckets, **OPTIONS).observe
