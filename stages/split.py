"""Split the rows into train, validation and test, by a random draw or by a rule."""

from keras_tabular.config.params import load_settings
from keras_tabular.core.files import atomic_write
from keras_tabular.table import splits
from stages import path_parser, run


def main(arguments: list[str] | None = None) -> None:
    args = path_parser(
        __doc__,
        validated="folder of the table to split",
        split="folder for the tables train, validation and test",
    ).parse_args(arguments)
    schema, params = load_settings("ingest", "split")

    for warning in splits.unused_declarations(params.split, schema):
        print(f"warn: {warning}")
    first_equal, message = splits.find_duplicates(args.validated, params.split, schema)
    if message:
        print(message)
    assignment = splits.assign_rows(args.validated, params.split, schema, first_equal)
    with atomic_write(args.split) as folder:
        splits.write_subsets(
            args.validated,
            assignment,
            params.ingest.rows_per_file,
            folder,
        )


if __name__ == "__main__":
    run(main)
