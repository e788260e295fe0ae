"""How far a work of minutes is: a bar at a terminal, a line now and then in a log."""

import sys
import time
from threading import Lock

from tqdm import tqdm

LINES = 10  # of a whole work in a log, at most, after the first
SECONDS = 10.0  # until the first of them, and between two at least; a short work writes none


class Bar:
    """Shows on stderr how much is done, what was done last, and at a terminal the time left.

    Args:
        total: how much there is to do.
        done: how much of it was done before.
    """

    def __init__(self, total: float, done: float = 0) -> None:
        self._total = total
        self._bar = tqdm(
            total=total,
            initial=done,
            leave=False,
            disable=not sys.stderr.isatty(),
            bar_format="{percentage:3.0f}% |{bar}| {elapsed} of about {remaining} more{postfix}",
        )
        self._shown, self._done, self._lock = time.monotonic(), done, Lock()
        self._lines = -1  # the tenth of the work in which the last line was written

    def advance(self, by: float, last: str) -> None:
        """Show that so much more is done, and what was `last`; from any thread."""
        with self._lock:
            self._done += by
            tenth = int(self._done * LINES / self._total)
            if not self._bar.disable:
                self._bar.set_postfix_str(last, refresh=False)
                self._bar.update(by)
            elif tenth > self._lines and time.monotonic() - self._shown >= SECONDS:
                self._shown, self._lines = time.monotonic(), tenth
                print(f"{self._done / self._total:.0%}: {last}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()
