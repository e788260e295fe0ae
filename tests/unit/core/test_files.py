"""Files are written completely or not at all, with rounded numbers."""

import errno
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_write, write_json
from tests.helpers import PROJECT


def test_json_is_sorted_rounded_and_finite(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"b": 1 / 3, "a": {"c": -1e-9}})
    expected = '{\n  "a": {\n    "c": 0.0\n  },\n  "b": 0.333333\n}\n'
    assert (tmp_path / "m.json").read_text() == expected
    with pytest.raises(ValueError, match=r"m\.json: a c: expected a finite number, got nan"):
        write_json(tmp_path / "m.json", {"a": {"c": float("nan")}})
    assert (tmp_path / "m.json").read_text() == expected


def test_the_output_does_not_change_if_the_block_fails(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").touch()
    (tmp_path / ".out.4194305.partial").touch()  # left by a process that was killed

    with pytest.raises(RuntimeError), atomic_write(out) as partial:  # noqa: PT012
        partial.mkdir()
        raise RuntimeError
    with pytest.raises(UserError, match="Is a directory"), atomic_write(out) as partial:
        partial.touch()  # a file cannot replace a folder
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old"]
    with atomic_write(out) as partial:
        partial.mkdir()
        (partial / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "new"]


def test_two_processes_may_write_the_same_path(tmp_path: Path) -> None:
    """If only DVC is killed, its stage goes on while the next `dvc repro` runs the stage again."""
    out, module = tmp_path / "out", "keras_tabular.core.files"
    write = f"from pathlib import Path; import {module} as f; f.write_text(Path({str(out)!r}), 'b')"
    with atomic_write(out) as partial:
        partial.write_text("a")
        subprocess.run([sys.executable, "-c", write], cwd=PROJECT, check=True)
        assert out.read_text() == "b"
        with partial.open("a") as file:
            file.write("a")
    assert out.read_text() == "aa"
    assert list(tmp_path.iterdir()) == [out]


def test_only_errors_about_the_output_itself_say_that_it_cannot_be_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(FileNotFoundError, match="other"), atomic_write(out):
        (tmp_path / "other").read_text()
    with pytest.raises(ConnectionError, match="timeout"), atomic_write(out):
        raise ConnectionError("timeout")

    (tmp_path / "file").touch()
    cannot_write = pytest.raises(UserError, match=r"out: cannot be written: ")
    with cannot_write, atomic_write(out) as partial:
        pq.write_table(pa.table({"x": [1]}), partial / "none/a.parquet")  # an error of Arrow
    with cannot_write, atomic_write(out):
        raise OSError(errno.ENOSPC, "Error writing bytes to file")
    with cannot_write, atomic_write(out) as partial:
        (partial / "none/a").touch()
    with cannot_write, atomic_write(tmp_path / "file/out") as partial:
        partial.touch()
