"""Write a CSV like the Pima diabetes table with any number of rows."""

from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

CHUNK_ROWS = 250_000
# Mean, standard deviation, lowest and highest value, decimals, and the share of rows
# with 0, which means "not measured"; approximately as in the real table.
COLUMNS = {
    "Pregnancies": (3.8, 3.4, 0, 17, 0, 0.0),
    "Glucose": (122, 31, 44, 199, 0, 0.0065),
    "BloodPressure": (72, 12, 24, 122, 0, 0.0456),
    "SkinThickness": (29, 10, 7, 99, 0, 0.2956),
    "Insulin": (156, 119, 14, 846, 0, 0.487),
    "BMI": (32.5, 6.9, 18.2, 67.1, 1, 0.0143),
    "DiabetesPedigreeFunction": (0.472, 0.331, 0.078, 2.42, 3, 0.0),
    "Age": (33, 12, 21, 81, 0, 0.0),
}


def draw_rows(rows: int, rng: np.random.Generator) -> pa.Table:
    """Draw eight features, and a target that depends on glucose and BMI."""
    columns = {}
    for name, (mean, deviation, low, high, decimals, missing) in COLUMNS.items():
        values = np.clip(rng.normal(mean, deviation, rows), low, high).round(decimals)
        values[rng.random(rows) < missing] = 0
        columns[name] = values if decimals else values.astype(np.int64)
    risk = (columns["Glucose"] - 122) / 31 + (columns["BMI"] - 32.5) / 14 - 0.75
    columns["Outcome"] = (risk + rng.logistic(size=rows) > 0).astype(np.int64)
    return pa.table(columns)


def write_diabetes(path: Path, rows: int) -> None:
    """Write rows as a CSV with a header, with one chunk in memory at a time."""
    schema = draw_rows(0, np.random.default_rng(0)).schema
    options = pa_csv.WriteOptions(quoting_style="none", quoting_header="none")
    with pa_csv.CSVWriter(path, schema, write_options=options) as writer:
        for first in range(0, rows, CHUNK_ROWS):
            rng = np.random.default_rng([0, first])
            writer.write_table(draw_rows(min(CHUNK_ROWS, rows - first), rng))


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, help="the CSV file to write")
    parser.add_argument("rows", type=int, help="the number of rows")
    args = parser.parse_args()
    write_diabetes(args.path, args.rows)


if __name__ == "__main__":
    main()
