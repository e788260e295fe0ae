"""The stage `validate` of dvc.yaml."""

from pathlib import Path

from custom import CHECKS
from keras_tabular.config.params import load_params
from keras_tabular.config.schema import load_schema
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_write, write_json
from keras_tabular.table.checks import build_report, check_table, describe_failures, rows_to_locate
from keras_tabular.table.parquet import part_paths
from keras_tabular.table.rows import describe_origins, set_aside
from stages import run


def main(ingested: Path, validated: Path, rejected: Path, report: Path) -> None:
    """Check every row against the declared columns; a check with the policy error ends the run.

    Args:
        ingested: Folder of Parquet parts to check.
        validated: Folder for the checked parts.
        rejected: Folder for the rows set aside.
        report: JSON file for the verdict of every check.
    """
    schema = load_schema()
    params = load_params("validate", schema=schema)

    paths = part_paths(ingested)
    rows, checks = check_table(paths, schema, params.validate, CHECKS)
    write_json(report, build_report(rows, checks))
    lines = describe_origins(paths, rows_to_locate(checks))
    messages = describe_failures(rows, checks, lines)
    for policy in ("drop", "warn"):
        for message in messages[policy]:
            print(f"{policy}: {message}")
    if messages["error"]:
        raise UserError("\n".join(["The table does not pass its checks.", *messages["error"]]))
    with atomic_write(validated) as valid_folder, atomic_write(rejected) as rejects_folder:
        set_aside(paths, checks, lines, valid_folder, rejects_folder)


if __name__ == "__main__":
    run(main)
