"""Tables in Parquet files that the stages have written."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keras_tabular.core.errors import UserError
from keras_tabular.prediction.inputs import row_columns
from keras_tabular.table.parquet import FILE_SUBSET, FOLD_KEY
from tests.helpers import build_schema


def test_a_part_of_the_split_can_be_predicted(tmp_path: Path) -> None:
    schema = build_schema("binary")
    columns = {name: [0.5] for name in (*schema.features, schema.target)}
    for file, additional in (("own", [FOLD_KEY, FILE_SUBSET]), ("other", ["x9"])):
        table = pa.table(columns | {name: [1.0] for name in additional})
        pq.write_table(table, tmp_path / f"{file}.parquet")
    assert row_columns(tmp_path / "own.parquet", schema) == list(columns)
    with pytest.raises(UserError, match="neither in columns nor in ignore: x9"):
        row_columns(tmp_path / "other.parquet", schema)
