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


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("base", nargs="?", help="the revision to compare with; else the last with other results")
    add("rev", nargs="?", help="the revision to report; else the workspace")
    add("-o", "--output", type=Path, default="report.html", help="the page to write")
    args = parser.parse_args()
    this, base, note = choose_runs(args.base, args.rev)
    this.require_evaluation()
    if not this.sha:
        load_schema()  # it may be invalid
    reason = mismatch(this, base) if base else ""
    if reason:
        base, note = None, f"Not compared: {reason}."
    labels = [run.label for run in (this, base) if run]
    file = this.metrics / "errors.json"  # it is not in git
    errors = this.read(file) or cached_output(file, this.lock)
    errors = json.loads(errors or "{}")
    html = render("page.html", Comparison(this, base), note=note, errors=errors)
    with atomic_write(args.output) as file:
        file.write_text(html, encoding="utf-8")
    print(f"{args.output}: {' compared with '.join(labels)}")
    if reason:
        print(note)


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
