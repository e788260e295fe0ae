"""Files written whole or not at all, with numbers in one form."""

import csv
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from keras_tabular.core.errors import UserError

MAX_POINTS = 1000  # of a plot; more cannot be seen and would fill git


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write a file or folder to, and rename it to `path` at the end.

    When the block raises, `path` stays as it was and what was written beside it is removed; after
    a kill the next write to `path` removes it.

    Raises:
        UserError: The path cannot be written, or a file was written and `path` is a folder.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        yield partial
        for left in list(partial.rglob(".*.partial")):  # of a worker that was killed
            _remove(left)
        if path.is_dir() and not partial.is_dir():
            raise UserError(f"{path}: found a folder; expected the name of a file to write")
        if partial.is_dir() and path.exists():
            _remove(path)
        partial.replace(path)
    except BrokenPipeError:
        raise
    except OSError as error:
        folder = next(parent for parent in path.absolute().parents if parent.is_dir())
        free = f"{shutil.disk_usage(folder).free / 2**20:,.1f} MiB are free in {folder}"
        why = os.strerror(error.errno) if error.errno else error
        raise UserError(f"{path}: cannot be written: {why}; {free}") from None
    finally:
        with suppress(OSError):
            _remove(partial)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a path to write a file to that is then renamed to `path`.

    Several workers may write the same file. It lies in a folder that `atomic_write` yields, which
    removes the files that a killed worker left.
    """
    partial = path.with_name(f".{uuid4().hex}.partial")
    yield partial
    partial.replace(path)


def link(source: Path, path: Path) -> None:
    """Give a file a second name, or copy it where the file system has no such links."""
    try:
        os.link(source, path)
    except OSError:
        shutil.copyfile(source, path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write `value` with sorted keys, two spaces of indent and numbers rounded to 6 decimals.

    Raises:
        ValueError: A number is NaN or infinite; the message names its key.
    """
    text = json.dumps(_rounded(value, ""), indent=2, sort_keys=True, ensure_ascii=False)
    with atomic_write(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def write_points(path: Path, columns: Mapping[str, Any], points: int = MAX_POINTS) -> None:
    """Write sequences of one length as CSV, numbers with 6 decimals, at most `points` of the rows.

    If there are more rows, the first, the last and evenly spaced rows between them are written. NaN
    is left empty.
    """
    rows = len(next(iter(columns.values())))
    gaps = max(min(rows, points) - 1, 1)
    picked = [round(n * (rows - 1) / gaps) for n in range(min(rows, points))]
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in picked:
            writer.writerow([_as_text(column[row]) for column in columns.values()])


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
