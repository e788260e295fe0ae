"""Write an HTML page about a run: is it better, where is it weak, and what changed?"""

import json
from argparse import ArgumentParser
from pathlib import Path

from keras_tabular.config.schema import SCHEMA, load_schema
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_write
from keras_tabular.experiments import run as runs
from keras_tabular.experiments.comparison import compare
from keras_tabular.experiments.rerun import cached_output
from keras_tabular.experiments.run import WORKSPACE, Revision, Run, resolve
from keras_tabular.report.page import data_card, render


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("base", nargs="?", help="the revision to compare with; else the last with other results")
    add("rev", nargs="?", help="the revision to report; else the workspace")
    add("-o", "--output", type=Path, default="report.html", help="the page to write")
    args = parser.parse_args()
    revision, base_revision, note = choose_revisions(args.base, args.rev)
    this, base = Run(revision), Run(base_revision) if base_revision else None
    this.require_evaluation()
    if revision == WORKSPACE:
        load_schema()  # it may be invalid
    elif not this.schema:
        raise UserError(f"{SCHEMA}: {this.label} has none; name a revision that has one")
    if base and (reason := runs.mismatch(this, base)):
        base, note = None, f"Not compared: {reason}."
    labels = [run.label for run in (this, base) if run]
    file = this.metrics / "errors.json"  # it is not in git
    errors = this.read(file) or cached_output(file, this.lock)
    html = render(
        "page.html",
        compare(this, base),
        note=note,
        errors=json.loads(errors or b"{}"),
        card=data_card(this),
    )
    with atomic_write(args.output) as file:
        file.write_text(html, encoding="utf-8")
    print(f"{args.output}: {' compared with '.join(labels)}")
    if base_revision and not base:
        print(note)


def choose_revisions(base: str | None, rev: str | None) -> tuple[Revision, Revision | None, str]:
    """Return the revision to report, the one to compare with if there is one, and the reason."""
    this = resolve(rev) if rev else WORKSPACE
    if base is None:
        commit = runs.commit_before(runs.METRICS / "metrics.json")
        if commit is None:
            return this, None, "There is no commit with other results to compare with."
        return this, resolve(commit), "This is the last commit that has other results."
    if resolve(base).commit == this.commit:
        return this, None, "Both revisions are the same, so there is nothing to compare."
    return this, resolve(base), ""
