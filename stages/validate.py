"""Check every row against the schema; a check with the policy error ends the run."""

from custom import CHECKS
from keras_tabular.config.params import load_settings
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_write, write_json
from keras_tabular.table.checks import (
    build_report,
    check_table,
    describe_failures,
    rows_to_locate,
)
from keras_tabular.table.parquet import part_paths
from keras_tabular.table.rows import describe_origins, set_aside
from stages import path_parser, run


def main(arguments: list[str] | None = None) -> None:
    args = path_parser(
        __doc__,
        ingested="folder of Parquet files to check",
        validated="folder for the checked files",
        rejected="folder for the rows set aside",
        report="JSON file for the verdict of every check",
    ).parse_args(arguments)
    schema, params = load_settings("validate")

    paths = part_paths(args.ingested)
    n_rows, checks = check_table(paths, schema, params.validate, CHECKS)
    write_json(args.report, build_report(n_rows, checks))
    places = describe_origins(paths, rows_to_locate(checks))
    messages = describe_failures(n_rows, checks, places)
    for policy in ("drop", "warn"):
        for message in messages[policy]:
            print(f"{policy}: {message}")
    if messages["error"]:
        problems = ["The table does not pass its checks.", *messages["error"]]
        raise UserError("\n".join(problems))
    with (
        atomic_write(args.validated) as validated,
        atomic_write(args.rejected) as rejected,
    ):
        set_aside(paths, checks, places, validated, rejected)


if __name__ == "__main__":
    run(main)
