"""How far a work of minutes is: a bar at a terminal, a line now and then in a log."""

import sys
import time
from threading import Lock

from tqdm import tqdm

LINES = 10  # of a whole work in a log, at most
SECONDS = 10.0  # between two of them, at least; a short work writes none


class Bar:
    """Shows on stderr what is done, a few values and the time left.

    Args:
        total: how much there is to do.
        unit: of what, in one word.
        done: how much of it was done before.
    """

    def __init__(self, total: int, unit: str, done: int = 0) -> None:
        self._total, self._unit = total, unit
        self._bar = tqdm(
            total=total, initial=done, unit=unit, leave=False, disable=not sys.stderr.isatty()
        )
        self._shown, self._done, self._lock = time.monotonic(), done, Lock()

    def advance(self, by: int, values: dict[str, str]) -> None:
        """Show that so much more is done, and these values; from any thread."""
        with self._lock:
            lines = self._done * LINES // self._total
            self._done += by
            if not self._bar.disable:
                self._bar.set_postfix(values, refresh=False)
                self._bar.update(by)
            elif (
                self._done * LINES // self._total > lines
                and time.monotonic() - self._shown >= SECONDS
            ):
                self._shown = time.monotonic()
                shown = ", ".join(f"{name} {value}" for name, value in values.items())
                print(f"{self._unit} {self._done} of {self._total}: {shown}", file=sys.stderr)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()
