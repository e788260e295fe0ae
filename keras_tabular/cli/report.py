"""Write an HTML page about a run: is it better, where is it weak, and what changed?"""

import json
from argparse import ArgumentParser
from pathlib import Path

from keras_tabular.config.schema import load_schema
from keras_tabular.core.files import atomic_write
from keras_tabular.experiments.comparison import Comparison
from keras_tabular.experiments.rerun import cached_output
from keras_tabular.experiments.run import WORKSPACE, Run, last_run, mismatch
from keras_tabular.report.page import render

NOT_COMPARED = "Not compared"


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("base", nargs="?", help="the revision to compare with; else the last with other results")
    add("rev", nargs="?", help="the revision to report; else the workspace")
    add("-o", "--output", type=Path, default="report.html", help="the page to write")
    args = parser.parse_args()
    comparison, note, html = build_report(args.base, args.rev)
    with atomic_write(args.output) as file:
        file.write_text(html, encoding="utf-8")
    labels = [run.label for run in (comparison.run, comparison.base) if run]
    print(f"{args.output}: {' compared with '.join(labels)}")
    if note.startswith(NOT_COMPARED):
        print(note)


def build_report(base: str | None, rev: str | None) -> tuple[Comparison, str, str]:
    """Compare a run with another one, and return the comparison, its reason and the page."""
    this, other, note = choose_runs(base, rev)
    this.require_evaluation()
    if not this.sha:
        load_schema()  # it may be invalid
    if other and (reason := mismatch(this, other)):
        other, note = None, f"{NOT_COMPARED}: {reason}."
    comparison = Comparison(this, other)
    file = this.metrics / "errors.json"  # it is not in git
    errors = json.loads(this.read(file) or cached_output(file, this.lock) or "{}")
    return comparison, note, render("page.html", comparison, note=note, errors=errors)


def choose_runs(base: str | None, rev: str | None) -> tuple[Run, Run | None, str]:
    """Return the run to report, the one to compare with if there is one, and the reason."""
    this = Run(rev or WORKSPACE)
    if base:
        other = Run(base)
        if other.sha == this.sha:
            return this, None, "Both revisions are the same, so there is nothing to compare."
        return this, other, ""
    if last := last_run():
        return this, last, "This is the last commit that has other results."
    return this, None, "There is no commit with other results to compare with."
