"""A column of a Parquet file is what Arrow casts it to, or is refused by name and type."""

import re
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tabular.config.schema import KINDS, Kind
from tabular.core.errors import UserError
from tabular.inference.schema import infer_schema
from tabular.prediction.inputs import row_columns
from tabular.table.cells import ARROW_TYPES, kinds_of
from tests.helpers import checked_rows, read_table, schema_of

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
ZONES = (None, "UTC", "Asia/Tokyo", "Mars/Olympus")
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)
NUMBERS = (
    *(pa.int8(), pa.int64(), pa.uint8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()),
    *(pa.decimal32(9, 0), pa.decimal64(18, 9), pa.decimal128(38, 2), pa.decimal256(76, 0)),
)
MOMENTS = tuple(pa.timestamp(unit, zone) for unit in PER_SECOND for zone in ZONES)
OTHERS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.null(): st.none(),
    pa.bool_(): st.booleans(),
    **dict.fromkeys((pa.string(), pa.large_string(), pa.string_view()), TEXT),
    **dict.fromkeys((pa.binary(), pa.large_binary(), pa.binary_view()), st.binary(max_size=3)),
    **dict.fromkeys((pa.date32(), pa.date64()), st.dates()),
    **dict.fromkeys((pa.time32("s"), pa.time64("ns")), st.integers(0, 86_399)),
    pa.duration("ms"): st.integers(-(2**60), 2**60),
    pa.binary(16): st.binary(min_size=16, max_size=16),
    pa.uuid(): st.uuids(),
    pa.json_(): st.just('{"a": 1}'),
    pa.list_(pa.int64()): st.lists(st.integers(0, 9), max_size=2),
    pa.struct({"a": pa.int64()}): st.fixed_dictionaries({"a": st.integers(0, 9)}),
    pa.map_(pa.string(), pa.int64()): st.dictionaries(TEXT, st.integers(0, 9), max_size=2),
}


def value_of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    """Values of an Arrow type, moments as they are stored."""
    if pa.types.is_floating(kind):
        return st.one_of(st.floats(width=kind.bit_width), st.integers(0, 9).map(float))
    if pa.types.is_decimal(kind):
        largest, last = 10**kind.precision - 1, 10**kind.scale
        digits = st.one_of(st.integers(-largest, largest), st.integers(0, 9).map(last.__mul__))
        return digits.map(lambda n: Decimal(f"{n}E-{kind.scale}"))
    if pa.types.is_integer(kind):
        of = np.iinfo(kind.to_pandas_dtype())
        return st.one_of(st.integers(int(of.min), int(of.max)), st.integers(0, 1))
    return st.integers(-2 * 10**9, 7 * 10**9).map(lambda s: s * PER_SECOND[kind.unit])


@st.composite
def columns(draw: st.DrawFn) -> pa.Array:
    """Some values of one Arrow type, perhaps behind a dictionary."""
    kind = draw(st.sampled_from([*NUMBERS, *MOMENTS, *OTHERS]))
    one = OTHERS[kind] if kind in OTHERS else value_of(kind)
    values = draw(st.lists(st.one_of(st.none(), one), min_size=1, max_size=4))
    if kind in MOMENTS:
        return pa.array(values, pa.int64()).view(kind)
    made = pa.array(values, kind)
    encoded = pa.types.is_string(kind) and made.null_count == 0 and draw(st.booleans())
    return made.dictionary_encode() if encoded else made


def cast(values: pa.Array, kind: Kind) -> pa.Array:
    """What Arrow makes of values for a kind; moments in UTC, an empty text and NaN as gaps."""
    if isinstance(values, pa.DictionaryArray):
        values = values.dictionary_decode()
    found = values.type
    if values.null_count == len(values):
        return pa.nulls(len(values), ARROW_TYPES[kind])
    if pa.types.is_timestamp(found):
        values = values.cast(pa.timestamp(found.unit, "UTC" if found.tz else None))
    if pa.types.is_floating(found):
        values = pc.if_else(pc.is_nan(values), None, values)
        values = values if kind in ("category", "text") else values.cast(pa.float64())
    if pa.types.is_decimal(found) and kind == "real":  # which Arrow does not round to the nearest
        return pa.array([v if v is None else float(v) for v in values.to_pylist()], pa.float64())
    if pa.types.is_decimal(found) and kind in ("integer", "boolean"):
        # A zero of 32 bits would be "out of bounds".
        values = values.cast(pa.decimal256(76, found.scale)).cast(pa.int64())
    if pa.types.is_duration(found) and kind == "real":
        values = values.cast(pa.int64())
    if kind in ("category", "text"):
        values = values.cast(pa.string())
        values = pc.if_else(pc.equal(values, ""), None, values)
    return values.cast(ARROW_TYPES[kind], safe=kind == "integer")


def holds_texts(kind: pa.DataType) -> bool:
    """Whether a type is of texts: what they mean is in test_cells."""
    return bool(re.search("string|binary|json", str(kind)))


def is_wrong(column: pa.Array, kind: Kind) -> bool:
    """Whether a value is none of a kind, or may be none: a number as a boolean or a date."""
    if kind in ("boolean", "datetime") or holds_texts(column.type):
        return True
    try:
        found = cast(column, kind)
    except pa.ArrowInvalid:
        return True
    return kind == "real" and not pc.all(pc.is_finite(found)).as_py()


@settings(max_examples=300)
@given(columns(), st.sampled_from(KINDS))
@example(pa.array([0.1, None, 16777216.0], pa.float32()), "real")
@example(pa.array([Decimal(0), Decimal(10) ** 20], pa.decimal128(38, 9)), "integer")
@example(pa.array([10**9 * 10**9], pa.int64()).view(pa.timestamp("ns", "Mars/Olympus")), "datetime")
@example(pa.array([2**62], pa.int64()).view(pa.timestamp("ms")), "datetime")
@example(pa.array([True, False]), "real")
@example(pa.array([b"\xff"]), "category")
@example(pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers()), "text")
@example(pa.array(["a"]).dictionary_encode(), "category")
def test_a_value_is_what_arrow_casts_it_to_or_its_column_is_refused(
    column: pa.Array, kind: Kind
) -> None:
    schema = schema_of("regression", x={"kind": kind, "nullable": True})
    refused = ""
    with TemporaryDirectory() as folder:
        file = Path(folder, "t.parquet")
        pq.write_table(pa.table({"x": column, "y": [0.5] * len(column)}), file)
        column = pq.read_table(file)["x"].combine_chunks()
        try:
            found = pa.concat_tables(read_table(file, schema))["x"].combine_chunks()
        except UserError as error:
            refused = str(error)
    unfit = f"column x: found {column.type}, declared {kind}; "
    assert (unfit in refused) == (kind not in kinds_of(column.type))
    if refused:
        no_text = f"column x: found {column.type} which is no text"
        assert unfit in refused or no_text in refused or is_wrong(column, kind), refused
        return
    texts = kind in ("category", "text")
    if holds_texts(column.type) and not texts:
        return
    if pa.types.is_floating(column.type) and texts:
        numbers = [t and float(column.type.to_pandas_dtype()(t)) for t in found.to_pylist()]
        found, kind = pa.array(numbers, pa.float64()), "real"
    assert found.equals(cast(column, kind))


NO_CELLS = "which no kind of column holds"
LIST, UUID = pa.array([[1], [2], [1]]), pa.array([uuid4() for _ in range(3)], pa.uuid())


def test_columns_that_are_no_cells_are_left_out_of_a_schema_with_their_type(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    table = {"tags": LIST, "id": UUID, "x": [0.5, 1.5, 1.0], "y": [0, 1, 1]}
    pq.write_table(pa.table(table), file)
    written = infer_schema(file, "y", 9).text
    assert f"- tags # list<element: int64>, {NO_CELLS}\n" in written
    assert f"- id # extension<arrow.uuid>, {NO_CELLS}\n" in written
    with pytest.raises(UserError, match=f"--target: found column tags of list.*, {NO_CELLS}"):
        infer_schema(file, "tags", 9)
    schema = schema_of("binary").model_copy(update={"ignore": ("tags", "id")})
    (table,) = read_table(file, schema)
    (batch,) = checked_rows(file, schema, row_columns(file, schema))
    assert table["x"].to_pylist() == batch.features["x"].to_pylist() == [0.5, 1.5, 1.0]


@pytest.mark.parametrize(
    ("values", "can"),
    [
        (pa.array([1], pa.time32("ms")), "time32[ms], declared real; it can be category, text"),
        (LIST[:1], f"list<element: int64>, declared real; {NO_CELLS}; leave it out of columns"),
    ],
)
def test_what_a_type_can_be_is_told(values: pa.Array, can: str, tmp_path: Path) -> None:
    file, schema = tmp_path / "t.parquet", schema_of("binary", at={"kind": "real"})
    pq.write_table(pa.table({"at": values, "y": [0]}), file)
    with pytest.raises(UserError) as of_ingest:
        list(read_table(file, schema))
    with pytest.raises(UserError) as of_predict:
        row_columns(file, schema)
    said = f"{file}: column at: found {can}, in data/schema.yaml"
    assert str(of_ingest.value) == str(of_predict.value) == said


def test_a_name_that_is_there_twice_is_told(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([0, 1])] * 3, ["x", "x", "y"])
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"t\.parquet: found 'x' more than once$"):
        infer_schema(tmp_path / "t.parquet", "y", 9)
