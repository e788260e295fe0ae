"""Labels that come later than the predictions, and the rows of a file to which they belong."""

from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Validate
from keras_tabular.core.errors import UserError, quote
from keras_tabular.table.checks import declared_checks
from keras_tabular.table.rows import check_rows, raise_failures, text_columns
from keras_tabular.table.source import check_columns, read_rows, row_locator


class Labels(NamedTuple):
    """The labels of the rows of a file.

    Attributes:
        values: The target and, if the labels have them, the weight and the group.
        positions: Position in `values` of the label of each row that has one, by the row's number.
        warnings: How many rows have no label, and why.
    """

    values: pa.Table
    positions: dict[int, int]
    warnings: list[str]


def find_labels(file: Path, labels: Path, key: str, schema: Schema, policies: Validate) -> Labels:
    """Find the labels of the rows of a file by a column that both files have.

    Keys are compared as texts. A row with a missing target has no label. If several rows have the
    same key, the last one gets the label. The memory grows with the number of labels alone.

    Args:
        file: A file of rows, or the folder of a log of answers.
        labels: A file with the columns `key` and target, and any others.
        key: Name of the column.
        policies: The section `validate` of params.yaml.

    Raises:
        UserError: A column is missing, a label is not valid, a key has two labels, or no row has a
            label.
    """
    names = check_columns(labels, schema, [key, schema.target], allow_others=True)
    roles = schema.target, schema.weight, schema.group
    columns = {name: schema.columns[name] for name in names if name in roles}
    checks, line = declared_checks(schema, policies), row_locator([labels], schema)
    parts, label_rows = [], dict[str, int]()
    for raw in read_rows(labels, schema, [*{key, *columns}]):
        texts, values, failures = check_rows(raw, columns, checks)
        parts.append(values)
        unlabelled = {f.row for f in failures if (f.column, f.check) == (schema.target, "missing")}
        keys = {r: t for r, t in enumerate(texts[key].to_pylist()) if t and r not in unlabelled}
        errors = [f for f in failures if f.row in keys and f.policy != "warn"]
        raise_failures(errors, raw.first, line)
        for row, text in keys.items():
            if label_rows.setdefault(text, raw.first + row) != raw.first + row:
                problem = f"column {key}: expected one label for each key, got another for"
                raise UserError(f"{line(raw.first + row)}, {problem} {quote(text)}")

    check_columns(file, schema, [*schema.features, key])
    rows, labelled, last_rows = 0, 0, dict[str, int]()
    for raw in read_rows(file, schema, [key]):
        for row, text in enumerate(text_columns(raw, {})[key].to_pylist(), start=raw.first):
            if text in label_rows:
                labelled += 1
                last_rows[text] = row
        rows += len(raw.cells)
    if not last_rows:
        raise UserError(f"{labels}: the texts in column {key} are not those of any row of {file}")
    counts = {
        "have no label": rows - labelled,
        f"are left out, because a later row has the same {key}": labelled - len(last_rows),
    }
    warnings = [f"{count:,} of {rows:,} rows {why}" for why, count in counts.items() if count]
    positions = {row: label_rows[text] for text, row in last_rows.items()}
    return Labels(pa.concat_tables(parts), positions, warnings)
