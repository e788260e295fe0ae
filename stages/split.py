"""The stage `split` of dvc.yaml."""

from pathlib import Path

from keras_tabular.config.params import load_params
from keras_tabular.config.schema import load_schema
from keras_tabular.core.files import atomic_write
from keras_tabular.table import splits
from stages import run


def main(validated: Path, split: Path) -> None:
    """Split the rows into train, validation and test, by a random draw or by a rule.

    Args:
        validated: Folder of the table to split.
        split: Folder for the tables train, validation and test.
    """
    schema = load_schema()
    params = load_params("ingest", "split", schema=schema)

    for warning in splits.unused_declarations(params.split, schema):
        print(f"warn: {warning}")
    first_equal, message = splits.find_equal_rows(validated, params.split, schema)
    if message:
        print(message)
    assignment = splits.assign_rows(validated, params.split, schema, first_equal)
    with atomic_write(split) as folder:
        splits.write_subsets(validated, assignment, params.ingest.rows_per_part, folder)


if __name__ == "__main__":
    run(main)
