"""The parts of a table: of the size asked for, in order, or in another one."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keras_tabular.core.errors import UserError
from keras_tabular.prediction.inputs import row_columns
from keras_tabular.table.parquet import FILE_SUBSET, FOLD_KEY, part_paths
from tests.helpers import build_schema


def test_a_folder_without_parts_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no Parquet parts here; run `dvc repro`"):
        part_paths(tmp_path)


def test_rows_that_split_wrote_are_rows_of_the_table(tmp_path: Path) -> None:
    """As advice asks for them: `keras-tabular drift data/split/test/part-00000.parquet`."""
    schema = build_schema("binary")
    columns = {name: [0.5] for name in (*schema.features, schema.target)}
    for file, more in (("own", [FOLD_KEY, FILE_SUBSET]), ("other", ["x9"])):
        table = pa.table(columns | {name: [1.0] for name in more})
        pq.write_table(table, tmp_path / f"{file}.parquet")
    assert row_columns(tmp_path / "own.parquet", schema) == list(columns)
    with pytest.raises(UserError, match="neither in columns nor in ignore: x9"):
        row_columns(tmp_path / "other.parquet", schema)
