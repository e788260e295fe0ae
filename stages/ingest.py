"""Convert the table to Parquet files with the declared types, and describe columns."""

from itertools import repeat

from keras_tabular.config.params import load_settings
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_write, write_json
from keras_tabular.table import rows, source
from keras_tabular.table.parquet import regroup_rows, write_parts
from keras_tabular.table.profile import describe_table
from stages import path_parser, run


def main(arguments: list[str] | None = None) -> None:
    args = path_parser(
        __doc__,
        ingested="folder for the Parquet files",
        profile="JSON file for the profile",
    ).parse_args(arguments)
    schema, params = load_settings("ingest")

    files = source.source_files(schema.source, schema.test_files)
    with atomic_write(args.ingested) as folder:
        parts = regroup_rows(
            rows.parse_files(files, schema),
            repeat(params.ingest.rows_per_file),
        )
        if not write_parts(folder, parts):
            raise UserError(f"{schema.source}: expected rows, got only a header")
        profile = describe_table(folder, schema)
    write_json(args.profile, profile)


if __name__ == "__main__":
    run(main)
