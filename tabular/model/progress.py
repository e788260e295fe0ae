"""How far a work of minutes is: a bar at a terminal, a line now and then in a log."""

import sys
import time

from tqdm import tqdm

from tabular.model.backend import keras

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
        self._shown, self._lines = time.monotonic(), done * LINES // total

    def update(self, done: int, values: dict[str, str]) -> None:
        """Show that so much is `done`, and these values."""
        if not self._bar.disable:
            self._bar.set_postfix(values, refresh=False)
            self._bar.update(done - self._bar.n)
        elif (
            done * LINES // self._total > self._lines and time.monotonic() - self._shown >= SECONDS
        ):
            self._shown, self._lines = time.monotonic(), done * LINES // self._total
            shown = ", ".join(f"{name} {value}" for name, value in values.items())
            print(f"{self._unit} {done} of {self._total}: {shown}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()


class Progress(keras.callbacks.Callback):
    """Shows the epoch, its losses and the time left.

    Args:
        epochs: of one member.
        members: networks that train one after the other, all with this callback.
    """

    def __init__(self, epochs: int, members: int = 1) -> None:
        super().__init__()
        self._epochs, self._total, self._member = epochs, epochs * members, -1
        self._bar = Bar(self._total, "epoch")

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._member += 1

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        losses = {name: f"{value:.4f}" for name, value in (logs or {}).items() if "loss" in name}
        self._bar.update(self._member * self._epochs + epoch + 1, losses)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if (self._member + 1) * self._epochs == self._total:
            self._bar.close()
