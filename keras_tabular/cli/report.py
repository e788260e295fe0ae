"""Write an HTML page about a run: is it better, where is it weak, and what changed?"""

import json
from argparse import ArgumentParser
from pathlib import Path

from keras_tabular.config.schema import load_schema
from keras_tabular.core.files import atomic_write
from keras_tabular.core.nested import flatten
from keras_tabular.experiments.comparison import Comparison
from keras_tabular.experiments.gate import compare_with_base, make_base
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
    """Compare a run with another one.

    Returns:
        The comparison, why it is with this run or with none, and the page.
    """
    this = Run(rev or WORKSPACE)
    evaluation, verdict = this.require_evaluation(), this.verdict
    other = Run(base) if base else last_run(this)
    if not this.sha:
        load_schema()  # it may be invalid
    note = "" if base else "This is the last commit that has other results."
    if other is None:
        note = "There is no commit with other results to compare with."
    elif this.sha == other.sha:
        other, note = None, "Both revisions are the same, so there is nothing to compare."
    elif reason := mismatch(this, other):
        other, note = None, f"{NOT_COMPARED}: {reason}."
    if verdict and other:
        limits = dict(flatten(this.params.get("gate", {}).get("worse_than_last", {})))
        verdict = compare_with_base(verdict, evaluation, make_base(this, other), limits)
    comparison = Comparison(this, other, verdict)
    file = this.metrics / "errors.json"  # it is not in git
    errors = json.loads(this.read(file) or cached_output(file, this.lock) or "{}")
    return comparison, note, render("page.html", comparison, note=note, errors=errors)
