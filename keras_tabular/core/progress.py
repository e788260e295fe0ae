"""Progress of a long work, as a line on stderr: what is done, and how long the rest will take."""

import shutil
import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from time import monotonic

SECONDS_BETWEEN_LOG_LINES = 10.0  # shorter work writes none
CLEAR_ROW = "\r\x1b[K"  # of a terminal
Report = Callable[[float, str], None] | None
REPORT: ContextVar[Report] = ContextVar("REPORT", default=None)


def report_progress(amount: float, last: str) -> None:
    """Advance the `Progress` of this thread or process, or of the one that waits for its result."""
    if report := REPORT.get():
        report(amount, last)


class Progress:
    """Progress of a long work on stderr, round by round, as `report_progress` reports it.

    A terminal shows a line that changes, and is removed at the end. Elsewhere, a line is written
    every ten seconds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_terminal = sys.stderr.isatty()
        self._start = self._written = monotonic()

    def __enter__(self) -> "Progress":
        REPORT.set(self.advance)
        return self

    def __exit__(self, *_: object) -> None:
        REPORT.set(None)
        if self._is_terminal:
            print(CLEAR_ROW, end="", file=sys.stderr, flush=True)

    def start_round(self, title: str, total: float, parts: int) -> None:
        """Begin a round.

        Args:
            total: Amount of work of the round.
            parts: Number of consecutive parts of the round that take about equally long; 1 if this
                is not known.
        """
        self._title, self._total, self._part = title, total, total / parts
        self._points = [(monotonic(), 0.0)]  # times, and the amount of work done until then

    def advance(self, amount: float, last: str) -> None:
        """Add to the amount of work done, and show what was done last; from any thread."""
        with self._lock:
            now, done = monotonic(), self._points[-1][1] + amount
            self._points.append((now, done))
            if now - self._written < (0.1 if self._is_terminal else SECONDS_BETWEEN_LOG_LINES):
                return
            self._written = now
            share, remaining = done / self._total, self._remaining_seconds()
            more = "" if remaining is None else f", about {remaining:.0f} s left"
            line = f"{now - self._start:.0f} s; {self._title}: {share:.0%}{more}; {last}"
            if self._is_terminal:
                line = CLEAR_ROW + line[: shutil.get_terminal_size().columns - 1]
            end = "" if self._is_terminal else "\n"
            print(line, end=end, file=sys.stderr, flush=True)

    def _remaining_seconds(self) -> float | None:
        """Estimate the remaining time of the round from the time of its last part.

        It is not known before the second part: in the first one, functions are compiled.
        """
        now, done = self._points[-1]
        before = [point for point in self._points if point[1] <= done - self._part]
        if not before or before[-1][1] < self._part:
            return None
        time, done_before = before[-1]
        return (self._total - done) * (now - time) / (done - done_before)
