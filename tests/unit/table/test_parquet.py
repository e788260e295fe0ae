"""The parts of a table: of the size asked for, in order, or in another one."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tabular.core.errors import UserError
from tabular.prediction.inputs import row_columns
from tabular.split.placement import Placed, positions, shuffle
from tabular.table.parquet import FILE_SUBSET, FOLD_KEY, part_paths
from tests.helpers import schema_of


def test_a_folder_without_parts_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no Parquet parts here; run `dvc repro`"):
        part_paths(tmp_path)


def test_rows_that_split_wrote_are_rows_of_the_table(tmp_path: Path) -> None:
    """As advice asks for them: `python -m commands.drift data/split/test/part-00000.parquet`."""
    schema = schema_of("binary")
    columns = {name: [0.5] for name in (*schema.features, schema.target)}
    for file, more in (("own", [FOLD_KEY, FILE_SUBSET]), ("other", ["x9"])):
        table = pa.table(columns | {name: [1.0] for name in more})
        pq.write_table(table, tmp_path / f"{file}.parquet")
    assert row_columns(tmp_path / "own.parquet", schema) == list(columns)
    with pytest.raises(UserError, match="neither in columns nor in ignore: x9"):
        row_columns(tmp_path / "other.parquet", schema)


def test_shuffled_parts_are_the_rows_of_take(tmp_path: Path) -> None:
    table = pa.table({"a": np.arange(100), "b": [str(i) for i in range(100)]})
    order = np.random.default_rng(0).permutation(100)[:90].astype(np.int32)
    every = np.concatenate([order, np.setdiff1d(np.arange(100), order)]).astype(np.int32)
    ends, written, where = [40, 40, 90, 100], dict[int, pa.Table](), positions(every)

    def read(start: int) -> Placed:
        rows = table[start : start + 33]
        keys = where[start : start + 33]
        return Placed(rows, np.searchsorted(ends, keys, side="right").astype(np.uint32), keys)

    shuffle([0, 33, 66, 99], read, 4, tmp_path, written.__setitem__)
    out = [written[number] for number in range(4)]
    assert [len(part) for part in out] == [40, 0, 50, 10]
    assert pa.concat_tables(out).combine_chunks() == table.take(pa.array(every)).combine_chunks()
