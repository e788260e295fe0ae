"""What every stage does at its edges: report a mistake, write whole outputs, write numbers."""

import csv
import json
import math
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

MAX_POINTS = 1000  # of a plot; more cannot be seen and would fill git


class UserError(Exception):
    """A mistake that its maker can mend; says where, what was found, what is allowed."""


def run(main: Callable[[], None]) -> None:
    """Call `main`; end with exit code 1 and one message on stderr when it raises `UserError`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored
        signal.signal(signal.SIGINT, _interrupt)
        signal.signal(signal.SIGALRM, _interrupt)
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")


def _interrupt(_: int, frame: FrameType | None) -> None:
    """Ctrl-C; a moment later where Python is in a `__del__`, which would drop the exception."""
    while frame:
        if frame.f_code.co_name == "__del__":
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            return
        frame = frame.f_back
    raise KeyboardInterrupt


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write a file or folder to, and rename it to `path` at the end.

    When the block raises, `path` stays as it was and what was written beside it is removed.
    """
    partial = path.with_name(f".{path.name}.partial")
    _remove(partial)
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        if path.is_dir():
            _remove(path)
        partial.replace(path)
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write `value` with sorted keys, two spaces of indent and numbers rounded to 6 decimals.

    Raises:
        ValueError: a number is NaN or infinite; the message names its key.
    """
    text = json.dumps(_rounded(value, ""), indent=2, sort_keys=True, ensure_ascii=False)
    with whole(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def write_points(path: Path, columns: Mapping[str, Any], points: int = MAX_POINTS) -> None:
    """Write sequences of one length as CSV, numbers with 6 decimals, at most `points` of the rows.

    Of more rows it is the first, the last, and some evenly picked between them. NaN is left empty.
    """
    rows = len(next(iter(columns.values())))
    gaps = max(min(rows, points) - 1, 1)
    picked = [round(n * (rows - 1) / gaps) for n in range(min(rows, points))]
    with whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in picked:
            values = [column[row] for column in columns.values()]
            writer.writerow([_as_text(value) for value in values])


def _as_text(value: Any) -> str:
    if not isinstance(value, float):  # which numpy's float64 is
        return str(value)
    return "" if math.isnan(value) else f"{value + 0.0:.6f}"


def _rounded(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {str(k): _rounded(v, f"{key}.{k}".lstrip(".")) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v, f"{key}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{key} is {value}; only finite numbers are written")
        return round(value, 6) + 0.0  # no negative zero
    return value
