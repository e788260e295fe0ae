"""Log the answers of a server: a JSON line for each predicted row, in a file for each day."""

import asyncio
import fcntl
import json
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from keras_tabular.core.errors import UserError
from keras_tabular.serving import measures

Row = Mapping[str, Any]
MAX_SECONDS = 1.0  # that an answer waits for its lines
MAX_WAITING_ROWS = 50_000  # in memory, while the disk does not respond


class AnswerLog:
    """Appends the rows and the answers of requests to `FOLDER/YYYY-MM-DD.jsonl`, by UTC day.

    An answer is sent after its lines are written, so that they are in the file even if the server
    is killed. If they cannot be written, or not within `MAX_SECONDS`, it is sent all the same.

    Attributes:
        state: The folder, why the last lines could not be written, which is None if they were, and
            the number of lines that were lost since the start.
    """

    def __init__(self, folder: Path) -> None:
        """Create the folder if it does not exist; only the user of the server can then read it.

        Raises:
            UserError: Files in the folder cannot be written.
        """
        self.state: dict[str, Any] = {"folder": str(folder), "error": None, "lost_lines": 0}
        self._folder, self._thread, self._waiting_rows = folder, ThreadPoolExecutor(1), 0
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._append(_now(), b"")
        except OSError as error:
            raise UserError(f"--log {folder}: cannot be written: {error.strerror}") from None

    async def write(self, model: Row, rows: Sequence[Row], answers: Sequence[Row]) -> None:
        """Write the lines of a request, and wait for that unless the last lines failed."""
        if self._waiting_rows >= MAX_WAITING_ROWS:
            self._report_failure("the disk does not respond", len(rows))
            return
        self._waiting_rows += len(rows)
        loop = asyncio.get_running_loop()
        writing = loop.run_in_executor(self._thread, self._write, model, rows, answers)
        writing.add_done_callback(lambda _: self._finish(writing, len(rows)))
        if self.state["error"] is None:
            done, _ = await asyncio.wait([writing], timeout=MAX_SECONDS)
            if not done:
                self._report_failure("the disk does not respond", 0)

    def _write(self, model: Row, rows: Sequence[Row], answers: Sequence[Row]) -> None:
        time, lines = _now(), []
        for row, answer in zip(rows, answers, strict=True):
            line = {"time": time, "model": model, "inputs": row, "answer": answer}
            lines.append(json.dumps(line, ensure_ascii=False) + "\n")
        # A lone surrogate, which is not valid in UTF-8, becomes its escape sequence in JSON.
        self._append(time, "".join(lines).encode(errors="backslashreplace"))

    def _append(self, time: str, content: bytes) -> None:
        """Append lines to the file of a day, or nothing if they do not fit.

        The file is opened again each time: the day may have ended, or the folder was replaced. The
        lock lets several servers write to the same file.
        """
        path = self._folder / f"{time[:10]}.jsonl"
        with path.open("ab+", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = file.seek(0, os.SEEK_END)
            if size and os.pread(file.fileno(), 1, size - 1) != b"\n":  # a server was killed
                content = b"\n" + content
            try:
                while content:
                    content = content[file.write(content) :]
            except OSError:
                file.truncate(size)
                raise

    def _finish(self, writing: asyncio.Future[None], rows: int) -> None:
        self._waiting_rows -= rows
        if error := writing.exception():
            self._report_failure(getattr(error, "strerror", None) or str(error), rows)
        elif self.state["error"]:
            self.state["error"] = None
            lost = f"{self.state['lost_lines']} lines were lost since the start"
            print(f"--log {self._folder}: is written again; {lost}", file=sys.stderr)

    def _report_failure(self, error: str, lost: int) -> None:
        if not self.state["error"]:
            advice = "Answers are still sent. /health and /metrics count the lines that are lost."
            message = f"warn: --log {self._folder}: cannot be written: {error}. {advice}"
            print(message, file=sys.stderr)
        self.state |= {"error": error, "lost_lines": self.state["lost_lines"] + lost}
        measures.LOST.inc(lost)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
