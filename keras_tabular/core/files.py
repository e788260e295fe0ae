"""Files that are written completely or not at all, and the numbers in them."""

import csv
import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

from keras_tabular.core.errors import UserError

# Points of a plot: nobody can see more, and they would make git large.
MAX_POINTS = 1000
# Significant digits of a number, with which a float32 is read back unchanged.
DIGITS = 9
# Numbers of the errors if the disk is full, or a limit is reached.
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path for a file or folder, and rename it to `path` at the end.

    If the block raises, `path` stays as it was, and what was written is removed. What a
    killed process has left is removed by the next write to `path`. Under Linux, several
    processes may write the same path.

    Raises:
        UserError: The path cannot be written, or a file was written and `path` is a
            folder. Other errors of the block are raised as they are.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for file in path.parent.glob(f".{path.name}.*.partial"):
            *_, process_id, _ = file.name.split(".")
            has_ended = not Path("/proc", process_id).exists()
            if has_ended or file == partial:
                remove(file)
        yield partial
        # What a worker that was killed has left.
        for file in list(partial.rglob(".*.partial")):
            remove(file)
        if partial.is_dir() and path.exists():
            remove(path)
        partial.replace(path)
    except OSError as error:
        if not _is_about(error, path, partial):
            raise
        reason = os.strerror(error.errno) if error.errno else error
        raise UserError(f"{path}: cannot be written: {reason}") from None
    finally:
        with suppress(OSError):
            remove(partial)


def _is_about(error: OSError, path: Path, partial: Path) -> bool:
    """Return whether an error concerns the output, its temporary path or a folder."""
    # The error of a failed write has no file name, nor have the errors of Arrow.
    if error.filename is None:
        return error.errno in NO_SPACE or str(partial) in str(error)
    file = Path(str(error.filename))
    is_output = file.is_relative_to(path)
    is_temporary = file.is_relative_to(partial)
    is_folder_of_output = path.is_relative_to(file)
    return is_output or is_temporary or is_folder_of_output


def md5_hash(content: bytes) -> str:
    """Return the hash by which DVC knows a file with this content."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path for a file, and rename it to `path` at the end.

    Several workers may write the same file. Use it in a folder that `atomic_write`
    yields, which removes the files that a killed worker has left.
    """
    partial = path.with_name(f".{uuid4().hex}.partial")
    yield partial
    partial.replace(path)


def link(source: Path, path: Path) -> None:
    """Create a hard link to a file, or a copy if the file system has no hard links."""
    try:
        os.link(source, path)
    except OSError:
        shutil.copyfile(source, path)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write `value` with sorted keys and numbers of 9 significant digits.

    Raises:
        ValueError: A number is NaN or infinite. The message names its key.
    """
    rounded = _rounded(value, f"{path}:")
    text = json.dumps(rounded, sort_keys=True, indent=2, ensure_ascii=False)
    write_text(path, text + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, with `atomic_write`. A script can be executed."""
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")
        if text.startswith("#!"):
            partial.chmod(0o755)


def _rounded(value: Any, key: str) -> Any:
    """Return a value with rounded numbers; `key` is its place in messages."""
    if isinstance(value, dict):
        return {
            str(name): _rounded(inner, f"{key} {name}") for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_rounded(inner, f"{key} {index}") for index, inner in enumerate(value)]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{key}: expected a finite number, got {value}")
        return float(f"{value:.{DIGITS}g}") + 0.0  # turns -0.0 into 0.0
    return value


def write_points(
    path: Path,
    columns: Mapping[str, Any],
    max_points: int = MAX_POINTS,
) -> None:
    """Write the points of a plot as CSV, with numbers of 9 significant digits.

    Args:
        columns: Sequences of the same length, by the name of their column. NaN becomes
            an empty cell.
        max_points: Maximum number of rows. If there are more, the first, the last and
            evenly spaced rows between them are written.
    """
    first_column, *_ = columns.values()
    n_rows = len(first_column)
    n_points = min(n_rows, max_points)
    n_steps = max(n_points - 1, 1)
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for point in range(n_points):
        row = round(point * (n_rows - 1) / n_steps)
        writer.writerow([_format_cell(column[row]) for column in columns.values()])
    write_text(path, text.getvalue())


def _format_cell(value: Any) -> str:
    if not isinstance(value, float):  # NumPy's float64 is a float
        return str(value)
    return "" if math.isnan(value) else f"{value + 0.0:.{DIGITS}g}"
