"""The columns and formats of new rows; tests/pipeline/test_predict.py has more."""

import gzip
import io
import os
from pathlib import Path
from threading import Thread

import pandas as pd
import pyarrow as pa
import pytest

from keras_tabular.core.errors import UserError
from keras_tabular.prediction.inputs import check_skipped_lines, open_rows, row_columns
from keras_tabular.table.cells import as_texts
from tests.helpers import build_schema, read_checked_rows


def test_whole_numbers_in_a_column_of_floats_are_written_as_integers() -> None:
    values = pa.array([123456789012.0, -0.0, 1e6, 1e300, 0.5, None, float("nan")])
    texts = ["123456789012", "0", "1000000", "1e+300", "0.5", "", ""]
    assert as_texts(values).to_pylist() == texts


def test_a_wrong_header_is_an_error(tmp_path: Path) -> None:
    for name, message in (("n.csv", "line 1: .*once: x"), ("n.parquet", "cannot be read as a Pa")):
        (tmp_path / name).write_text("x,x\n")
        with pytest.raises(UserError, match=f"{name}.* {message}"):
            row_columns(tmp_path / name, build_schema("binary"))


def test_numbers_of_parquet_and_json_do_not_need_the_format_of_a_csv(tmp_path: Path) -> None:
    schema = build_schema("binary", price={"kind": "real", "format": "1.234,5 €"})
    (tmp_path / "n.csv").write_text('price\n"1.234,50 €"\n"7,25"\n')
    pd.DataFrame({"price": [1234.5, 7.25]}).to_parquet(tmp_path / "n.parquet")
    (tmp_path / "n.jsonl").write_text('{"price": "1.234,5"}\n{"price": 7.25}\n')
    pd.DataFrame({"price": ["1.234,5 €", "7.25"]}).to_parquet(tmp_path / "texts.parquet")
    seconds = {"n.csv": 7.25, "n.parquet": 7.25, "n.jsonl": 7.25, "texts.parquet": None}
    for name, second in seconds.items():
        (batch,) = read_checked_rows(tmp_path / name, schema, ["price"])
        assert batch.features["price"].to_pylist() == [1234.5, second]
    assert "written as 1.234,5 €" in str(batch.failures[0])


ROWS = b"a,b\n1,2\n"


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (ROWS, ""),
        (gzip.compress(ROWS, mtime=0), ".gz"),
        (b'{"a": 1, "b": 2}\n', ".jsonl"),
        (b"", ""),
    ],
)
def test_the_copy_of_stdin_has_the_suffix_of_its_format(
    content: bytes, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    with open_rows(Path("-"), build_schema("binary")) as file:
        assert (file.suffix, file.read_bytes()) == (suffix, content)


def test_a_message_about_rows_from_a_pipe_names_the_pipe(tmp_path: Path) -> None:
    def read_rows(path: Path) -> None:
        with open_rows(path, build_schema("binary")) as file:
            assert file.read_bytes() == ROWS
            raise UserError(f"{file}, line 2")

    os.mkfifo(pipe := tmp_path / "pipe")
    Thread(target=pipe.write_bytes, args=(ROWS,)).start()
    for path, message in ((pipe, f"^{pipe}, line 2$"), (tmp_path, "Is a directory")):
        with pytest.raises(UserError, match=message):
            read_rows(path)


def test_a_row_of_a_new_file_is_never_left_out_as_a_total(tmp_path: Path) -> None:
    """The table of the training had a total in its last line."""
    columns = {"region": {"kind": "category"}, "x": {"kind": "real"}}
    schema = build_schema("binary", **columns).model_copy(update={"skip_lines": (-1,)})
    file = tmp_path / "new.csv"
    file.write_text("region,x\nNorth,1\nSouth,2\nTotal,\n")
    check_skipped_lines(file, schema)
    file.write_text("region,x\nNorth,1\nSouth,2\n")
    with pytest.raises(
        UserError, match=r"new\.csv, line 3: skip_lines .* 'South 2', perhaps a row"
    ):
        check_skipped_lines(file, schema)
