"""What a server records: counters for Prometheus, and the log of answers."""

import asyncio
import fcntl
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from keras_tabular.config.schema import Schema
from keras_tabular.core.errors import UserError
from keras_tabular.model.metadata import ModelMetadata

Row = Mapping[str, Any]
MAX_SECONDS = 1.0  # that an answer waits for its lines
MAX_WAITING_ROWS = 50_000  # in memory, while the disk does not respond
REGISTRY = CollectorRegistry()
OPTIONS: Any = {"registry": REGISTRY, "namespace": "tabular"}
REQUESTS = Counter(
    "requests",
    "Answers of /predict, by status",
    ["path", "status"],
    **OPTIONS,
)
SECONDS = Histogram("predict_seconds", "Time of requests to /predict", **OPTIONS)
WAITING = Gauge("predict_waiting", "Requests to /predict without an answer", **OPTIONS)
ROWS = Counter("rows", "Predicted rows", **OPTIONS)
FAILED = Counter(
    "failed_cells",
    "Cells that fail a check",
    ["column", "check"],
    **OPTIONS,
)
UNKNOWN = Counter(
    "unknown_categories",
    "Rows with a new category",
    ["column"],
    **OPTIONS,
)
PREDICTED = Counter("predicted", "Predicted rows, by class", ["class"], **OPTIONS)
MODEL_INFO = Gauge(
    "model_info",
    "1 for the model that is served",
    ["file", "md5", "version"],
    **OPTIONS,
)
LOST = Counter("log_lost_lines", "Lines of --log that could not be written", **OPTIONS)


def prediction_metric(schema: Schema, metadata: ModelMetadata) -> Callable[[Any], None]:
    """Return a function that adds the prediction of a row to a metric."""
    if not schema.classes:
        # The ends of the buckets are ten equal steps of the range of the target in the
        # training rows, and the median prediction of each tenth of these rows, for a
        # target that is skewed.
        ensemble = metadata.ensemble
        low, high = ensemble.target_range if ensemble else (0.0, 0.0)
        ends = [*np.linspace(low, high, 11)]
        if metadata.intervals:
            ends += metadata.intervals.at
        histogram = Histogram(
            "predicted_value",
            "Predicted values",
            # With the digits of a float32.
            buckets=sorted({float(f"{end:.7g}") for end in ends}),
            **OPTIONS,
        )
        return histogram.observe
    counters = {}
    for value in schema.classes:
        label = str(value)
        if isinstance(value, bool):
            label = label.lower()
        counters[value] = PREDICTED.labels(label)
    return lambda value: counters[value].inc()


class AnswerLog:
    """Appends the rows and the answers of requests to a file for each day.

    The file is `FOLDER/YYYY-MM-DD.jsonl`, by UTC day. An answer is sent after its lines
    are written, so that they are in the file even if the server is killed. If they
    cannot be written, or not within `MAX_SECONDS`, it is sent all the same.

    Attributes:
        state: The folder, why the last lines could not be written, which is None if
            they were, and the number of lines that were lost since the start.
    """

    def __init__(self, folder: Path, model: Row) -> None:
        """Create the folder if it does not exist, to be read only by the server's user.

        Args:
            folder: The folder for the files.
            model: Version and hash of the model, which each line contains.

        Raises:
            UserError: Files in the folder cannot be written.
        """
        self.state: dict[str, Any] = {
            "folder": str(folder),
            "error": None,
            "lost_lines": 0,
        }
        self._folder = folder
        self._model = model
        self._waiting = list[tuple[Row, Row]]()
        self._lock = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._append(_now(), b"")
        except OSError as error:
            raise UserError(
                f"--log {folder}: cannot be written: {error.strerror}",
            ) from None

    async def write(self, rows: Sequence[Row], answers: Sequence[Row]) -> None:
        """Write the lines of a request, and wait for them unless the last ones failed.

        The lines of all waiting requests are written together.
        """
        if len(self._waiting) >= MAX_WAITING_ROWS:
            self._report_failure("the disk does not respond", len(rows))
            return
        self._waiting += zip(rows, answers, strict=True)
        self._next = self._next or asyncio.create_task(self._write_waiting())
        if self.state["error"] is None:
            done, _ = await asyncio.wait([self._next], timeout=MAX_SECONDS)
            if not done:
                self._report_failure("the disk does not respond", 0)

    async def _write_waiting(self) -> None:
        async with self._lock:
            rows = self._waiting
            self._waiting = []
            self._next = None
            try:
                await asyncio.to_thread(self._write_rows, rows)
            except Exception as error:  # an answer is sent in any case
                reason = getattr(error, "strerror", None) or str(error)
                self._report_failure(reason, len(rows))
                return
        if self.state["error"]:
            self.state["error"] = None
            print(
                f"--log {self._folder}: is written again; {self.state['lost_lines']}"
                " lines were lost since the start",
                file=sys.stderr,
            )

    def _write_rows(self, rows: list[tuple[Row, Row]]) -> None:
        time = _now()
        lines = ""
        for row, answer in rows:
            line = {"time": time, "model": self._model, "inputs": row, "answer": answer}
            lines += json.dumps(line, ensure_ascii=False) + "\n"
        self._append(time, lines.encode())

    def _append(self, time: str, content: bytes) -> None:
        """Append lines to the file of a day, or nothing if they do not fit.

        The file is opened again each time: the day may have ended, or the folder was
        replaced. The lock lets several servers write to the same file.
        """
        with (self._folder / f"{time[:10]}.jsonl").open("ab+", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = file.seek(0, os.SEEK_END)
            if size > 0:
                last_byte = os.pread(file.fileno(), 1, size - 1)
                if last_byte != b"\n":  # a server was killed
                    content = b"\n" + content
            try:
                while content:
                    content = content[file.write(content) :]
            except OSError:
                file.truncate(size)
                raise

    def _report_failure(self, error: str, lost: int) -> None:
        if not self.state["error"]:
            print(
                f"warn: --log {self._folder}: cannot be written: {error}. Answers are"
                " still sent. /health and /metrics count the lines that are lost.",
                file=sys.stderr,
            )
        self.state["error"] = error
        self.state["lost_lines"] += lost
        LOST.inc(lost)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
