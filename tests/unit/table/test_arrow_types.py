"""Columns of a Parquet file are read as their declared kind, or refused."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from keras_tabular.config.schema import Kind, Schema
from keras_tabular.config.typed_yaml import parse_section
from keras_tabular.core.errors import UserError
from keras_tabular.prediction.inputs import row_columns
from keras_tabular.schema_inference.schema import infer_schema
from tests.helpers import build_schema, read_checked_rows, read_table

DAY, INVALID = datetime(2024, 5, 31), "invalid"
ONE_VALUE: list[tuple[pa.Array, Kind, Any]] = [
    (pa.array([2**63 - 1]), "integer", 2**63 - 1),
    (pa.array([7.0]), "integer", 7),
    (pa.array([0.5], pa.float32()), "real", 0.5),
    (pa.array([float("nan")]), "real", None),
    (pa.array([Decimal("0.10")]), "real", 0.1),
    (pa.array([Decimal("7.00")]), "integer", 7),
    (pa.array([1]), "boolean", True),
    (pa.array([""]), "category", None),
    (pa.array(["a"]).dictionary_encode(), "category", "a"),
    (pa.array(["a"], pa.large_string()), "text", "a"),
    (pa.array([7]), "category", "7"),
    (pa.array([DAY.date()]), "datetime", DAY.replace(tzinfo=UTC)),
    (pa.array([DAY], pa.timestamp("ns")), "datetime", DAY.replace(tzinfo=UTC)),
    (pa.array([DAY], pa.timestamp("ms", "Asia/Tokyo")), "datetime", DAY.replace(tzinfo=UTC)),
    (pa.nulls(1), "real", None),
    (pa.array([1.5]), "integer", INVALID),
    (pa.array([2**63], pa.uint64()), "integer", INVALID),
    (pa.array([float("inf")]), "real", INVALID),
    (pa.array([7]), "boolean", INVALID),
    (pa.array([b"\xff"]), "category", INVALID),
    (pa.array([7]), "datetime", INVALID),
]


@pytest.mark.parametrize(
    ("column", "kind", "value"), ONE_VALUE, ids=[f"{c.type} {kind}" for c, kind, _ in ONE_VALUE]
)
def test_a_value_of_a_column_type_is_read_as_the_declared_kind_or_refused(
    column: pa.Array, kind: Kind, value: Any, tmp_path: Path
) -> None:
    schema = build_schema("regression", x={"kind": kind, "nullable": True})
    file = tmp_path / "t.parquet"
    pq.write_table(pa.table({"x": column, "y": [0.5]}), file)
    if value == INVALID:
        with pytest.raises(UserError, match=r"column x: expected .*, got "):
            [*read_table(file, schema)]
    else:
        (table,) = read_table(file, schema)
        assert table["x"].to_pylist() == [value]


@pytest.mark.parametrize(
    ("first", "second", "kind", "value"),
    [
        ([1, 2, 1], ["3", "1", "2"], "integer", 3),
        ([1, 2, 1], [0.5, 1.5, 1.0], "real", 0.5),
        ([1, 2, 1], ["a", "b", "a"], "category", "a"),
        ([1, 2, 1], [{"a": 1}] * 3, None, "expected int64 .*, got struct"),
        ([{"a": 1}] * 3, [1, 2, 1], None, "expected struct.*, got int64"),
    ],
)
def test_a_column_may_have_another_type_in_each_file_if_a_kind_can_hold_both(
    first: list[Any], second: list[Any], kind: Kind | None, value: Any, tmp_path: Path
) -> None:
    files = tmp_path / "1.parquet", tmp_path / "2.parquet"
    for file, column in zip(files, (first, second), strict=True):
        pq.write_table(pa.table({"x": column, "w": [1, 2, 3], "y": [0, 1, 1]}), file)
    if kind is None:
        with pytest.raises(UserError, match=rf"2\.parquet, column x: {value}"):
            infer_schema(tmp_path, "y", 9)
        return
    schema = parse_section(yaml.safe_load(infer_schema(tmp_path, "y", 9).text), Schema, "s.yaml")
    assert schema.columns["x"].kind == kind
    (table,) = read_table(files[1], schema)
    assert table["x"].to_pylist()[0] == value


def test_columns_that_no_kind_can_hold_are_ignored_by_the_inferred_schema(tmp_path: Path) -> None:
    file, ids = tmp_path / "t.parquet", pa.array([uuid4() for _ in range(3)], pa.uuid())
    columns = {"tags": [[1], [2], [1]], "id": ids, "x": [0.5, 1.5, 1.0], "y": [0, 1, 1]}
    pq.write_table(pa.table(columns), file)
    schema = parse_section(yaml.safe_load(infer_schema(file, "y", 9).text), Schema, "s.yaml")
    assert schema.ignore == ("tags", "id")
    (table,) = read_table(file, schema)
    (batch,) = read_checked_rows(file, schema, row_columns(file, schema))
    assert table["x"].to_pylist() == batch.features["x"].to_pylist() == [0.5, 1.5, 1.0]
