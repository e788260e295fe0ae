"""What every stage does at its edges: report a mistake, write whole outputs, write numbers."""

import json
import math
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class UserError(Exception):
    """A mistake that its maker can mend; says where, what was found, what is allowed."""


def run(main: Callable[[], None]) -> None:
    """Call `main`; end with exit code 1 and one message on stderr when it raises `UserError`."""
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")


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
