"""Write a page about a run: is it better, where are its errors larger, what changed?"""

import json
from argparse import ArgumentParser
from pathlib import Path

from keras_tabular.config.schema import load_schema
from keras_tabular.core.files import write_text
from keras_tabular.report.page import render
from keras_tabular.runs.comparison import Comparison, read_verdict
from keras_tabular.runs.run import WORKSPACE, Run, base_run


def main(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "base",
        nargs="?",
        help="the revision to compare with; else gate.base",
    )
    add(
        "rev",
        nargs="?",
        help="the revision to report; else the workspace",
    )
    add(
        "-o",
        "--output",
        type=Path,
        default="report.html",
        help="the page to write",
    )
    args = parser.parse_args()
    this = Run(args.rev or WORKSPACE)
    other = Run(args.base) if args.base else base_run(this, this.gate.base)
    if not this.sha:
        load_schema()  # it may be invalid
    note = ""
    if other is None:
        missing = this.gate.base
        if missing == "last":
            missing = "commit with other results"
        note = f"There is no {missing} to compare with."
    elif this.sha == other.sha:
        other = None
        note = "Both revisions are the same, so there is nothing to compare."
    elif not args.base and this.gate.base == "last":
        note = "This is the last commit that has other results."
    comparison = Comparison(this, other)
    if comparison.not_compared:
        note = f"Not compared: {comparison.not_compared}."
    file = this.metrics / "errors.json"  # it is not in git
    errors = json.loads(this.read(file) or this.cached_output(file) or "{}")
    page = render(
        "page.html",
        comparison,
        read_verdict(this, other),
        note=note,
        errors=errors,
    )
    write_text(args.output, page)
    labels = [run.label for run in (this, comparison.base) if run]
    print(f"{args.output}: {' compared with '.join(labels)}")
    if comparison.not_compared:
        print(note)
