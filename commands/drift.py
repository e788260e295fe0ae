"""Whether new rows still look like the training rows: what moved, a verdict, a page."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np

from tabular.core.engine import ordered_map
from tabular.core.errors import UserError, align_columns, listed
from tabular.core.files import atomic_write, write_json
from tabular.core.process import run
from tabular.model.metadata import metadata_of
from tabular.prediction.drift import Counts, TrainingRows, find_drift
from tabular.prediction.inputs import (
    load_schema_and_params,
    parse_model_and_rows,
    row_columns,
    seekable_file,
)
from tabular.runs.rerun import last_output
from tabular.table.checks import declared_checks
from tabular.table.groups import mean_group_size, number_groups
from tabular.table.rows import check_piece
from tabular.table.source import ROWS, Piece, pieces

SHOWN = 20  # columns


def lines_of(found: dict[str, Any]) -> list[list[str]]:
    """A header, and a line for each of the first columns."""
    lines = [["column", "importance", "distance", "by chance", "moved", "besides"]]
    for name, of in list(found["columns"].items())[:SHOWN]:
        besides = [
            f"{what} {of[key]['new']:.1%} (training {of[key]['train']:.1%})"
            for key, what in (
                ("missing", "missing"),
                ("unknown", "unknown category"),
                ("outside", "out of range"),
            )
            if of.get(key, {}).get("new")
        ]
        if of.get("unknown_values"):
            besides[-1] += f": {listed(of['unknown_values'])}"
        if of["failed_checks"]:
            besides.append(f"{of['failed_checks']:,} cells not as declared")
        moved = "yes" if of["moved"] else "no"
        numbers = [f"{of['importance']:.1%}", f"{of['distance']:.3f}", f"{of['by_chance']:.3f}"]
        lines.append([name, *numbers, moved, ", ".join(besides)])
    return lines


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("-o", "--output", type=Path, default="drift.html", help="the page to write")
    add("--json", type=Path, help="a JSON file for all of it")
    args = parse_model_and_rows(parser, "*")
    for path in filter(None, [args.output, args.json]):
        if path.resolve() in (args.rows.resolve(), args.model.resolve()):
            parser.error(f"{path}: named twice; expected another file to write to")
    content = last_output(args.model)
    if content is None:
        raise UserError(f"{args.model}: no model here; run `dvc repro` to train one")
    schema, params = load_schema_and_params(args.model, content, "validate", "drift")
    trained = TrainingRows.read(args.model, metadata_of(args.model, content), schema)
    with seekable_file(args.rows) as file:
        names = row_columns(file, schema)
        checks, counts = declared_checks(schema, params.validate), None

        def count(piece: Piece) -> Counts:
            group = [schema.group] if schema.group in names else []
            return Counts.of(check_piece(piece, schema, names, checks, group), trained, schema)

        for of_piece in ordered_map(count, pieces(file, schema, names, ROWS)):
            counts = counts.merge(of_piece) if counts else of_piece
    if not counts or not counts.rows:
        raise UserError(f"{args.rows}: found no row; expected one at least")
    groups = number_groups(np.concatenate(counts.groups), declared=schema.group in names)
    found = find_drift(trained, counts, params.drift, mean_group_size(groups))
    name = "stdin" if str(args.rows) == "-" else args.rows.name
    print(f"{counts.rows:,} rows of {name} beside {trained.rows:,} training rows")
    print(align_columns(lines_of(found)))
    if (more := len(found["columns"]) - SHOWN) > 0:
        print(f"and {more:,} columns that matter less; {args.output} has all")
    if args.json:
        write_json(args.json, found)

    from tabular.report.page import drift_page  # which takes a second

    with atomic_write(args.output) as page:
        page.write_text(drift_page(found, name, schema), encoding="utf-8")
    print(f"Drift: {found['verdict']}: {found['reason']}")
    if found["verdict"] == "fail" and params.drift.policy == "error":
        sys.exit(1)


if __name__ == "__main__":
    run(main)
