"""Write one HTML page on a run: is it better, where is it weak, what drives it, what changed."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from tabular.config.params import PARAMS
from tabular.config.schema import SCHEMA, load_schema
from tabular.core.errors import UserError
from tabular.core.files import atomic_write
from tabular.core.process import run
from tabular.report.page import model_card, render
from tabular.runs.comparison import compare
from tabular.runs.rerun import output_at
from tabular.runs.run import (
    FILES,
    LOCK,
    WORKSPACE,
    Revision,
    Run,
    changed,
    commit_before,
    commit_of,
    mismatch,
    outputs,
    resolve,
)


def choose(base: str | None, rev: str | None) -> tuple[Revision, Revision | None, str]:
    """The revision to report, the one to compare it with if any, and why that one."""
    this = resolve(rev) if rev else WORKSPACE
    if base:
        other = resolve(base)
        if other.commit == this.commit:
            return this, None, "Both revisions are the same one, so there is nothing to compare."
        return this, other, ""
    if changed(*FILES.values(), LOCK, PARAMS, SCHEMA):
        if commit_of(this) is None:
            return this, None, "There is no commit yet to compare with."
        return this, resolve("HEAD"), ""
    before = commit_before(FILES["metrics"])
    why = "The workspace has the results of the last commit"
    if before is None:
        return this, None, f"{why}, and git knows no other results to compare with."
    return this, resolve(before), f"{why}, so it is compared with the results before them."


def load_errors(this: Run) -> dict[str, Any]:
    """The test rows of the largest errors; empty where DVC does not have them here."""
    path = this.files["errors"]
    md5 = outputs(this.load(LOCK)).get(str(path), {}).get("md5")
    content = output_at(this.revision, path, md5)
    return json.loads(content) if content else {}


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("base", nargs="?", help="the revision to compare with; else the last commit")
    add("rev", nargs="?", help="the revision to report; else the workspace")
    add("-o", "--output", type=Path, default="report.html", help="the page to write")
    args = parser.parse_args()
    revision, other, note = choose(args.base, args.rev)
    this, base = Run(revision), Run(other) if other else None
    this.require_evaluation()
    if revision == WORKSPACE:
        load_schema()  # which says what is wrong with it
    elif not this.schema:
        raise UserError(f"{SCHEMA}: {this.label} has none; name a revision that has one")
    if base and (reason := mismatch(this, base)):
        base, note = None, f"Not compared: {reason}."
    revisions = [run.revision for run in (this, base) if run]
    text = render(
        "page.html",
        compare(this, base),
        note=note,
        errors=load_errors(this),
        card=model_card(this),
    )
    with atomic_write(args.output) as file:
        file.write_text(text, encoding="utf-8")
    print(f"{args.output}: {' compared with '.join(r.label for r in revisions)}")
    if other and not base:
        print(note)


if __name__ == "__main__":
    run(main)
