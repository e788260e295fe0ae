"""The page of a model for people: an HTML file, and what it shows of the model."""

import re
from base64 import b64encode
from datetime import UTC, datetime, tzinfo
from hashlib import sha256
from pathlib import Path
from typing import Any

from keras_tabular.config.schema import EPOCHS, ISO, Column
from keras_tabular.model.metadata import training_rows
from keras_tabular.model.predict import Predictor
from keras_tabular.serve.rows import JsonSchema
from keras_tabular.table.cells import time_zone

ISO_TIME = "%Y-%m-%dT%H:%M:%S"
SIMPLE_FORMAT = re.compile(r"([^%]|%[YmdHMS])+")  # that the page can write
HTML = Path(__file__).with_name("page.html").read_text("utf-8")
INLINE_TEXTS = re.findall(r"(?s)<(?:script|style)>(.*?)</(?:script|style)>", HTML)
HASHES = [b64encode(sha256(text.encode()).digest()) for text in INLINE_TEXTS]
# A browser runs and applies only what has one of these hashes, and asks only this
# server.
SOURCES = " ".join(f"'sha256-{digest.decode()}'" for digest in HASHES)
POLICY = (
    f"default-src 'none'; script-src {SOURCES}; style-src {SOURCES}; connect-src"
    " 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors"
    " 'none'"
)
HEADERS = {"Content-Security-Policy": POLICY, "Vary": "Accept"}


def describe_model(predictor: Predictor, notice: str) -> JsonSchema:
    """Describe a model for its page: `x-model` in the OpenAPI document.

    Args:
        predictor: The model.
        notice: What the owner of the model wants its users to read.

    Returns:
        The target and how it is predicted, and each column that the model reads: its
        keys in the schema, and its values in the training rows.

    Raises:
        UserError: The model's file has no summary of the training rows.
    """
    schema = predictor.schema
    metadata = predictor.model.metadata
    trained_on = training_rows(predictor.model.path, metadata)
    columns = {}
    for name, column in schema.features.items():
        summary = trained_on.summaries[name]
        ends = summary.edges[:1] + summary.edges[-1:]
        columns[name] = {
            **column.model_dump(mode="json", exclude_defaults=True),
            "range": [_as_cell(end, column) for end in ends],
            "training": [_as_cell(value, column) for value in summary.background],
            "frequent": summary.categories,
            "others": summary.counts[len(summary.categories)],
            "share": trained_on.attribution[name],
        }
    return {
        "notice": notice,
        "target": schema.target,
        "classes": schema.classes,
        "threshold": metadata.threshold,
        "time": schema.time,
        "columns": columns,
        "coverage": metadata.intervals and metadata.intervals.coverage,
    }


def _as_cell(value: Any, column: Column) -> Any:
    """Write a time in the column's format, or in ISO 8601 if the page converts it."""
    if column.kind != "datetime" or value is None:
        return value
    column_format = column.formats[0]
    zone: tzinfo = UTC
    if column.timezone and column_format not in EPOCHS:
        zone = time_zone(column.timezone)
    if column_format in (ISO, *EPOCHS) or SIMPLE_FORMAT.fullmatch(column_format):
        column_format = ISO_TIME
    return datetime.fromtimestamp(value, zone).strftime(column_format)
