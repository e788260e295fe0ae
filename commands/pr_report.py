"""Write what a pull request changes, in Markdown: verdict, scores, parameters, a rerun."""

from argparse import ArgumentParser
from pathlib import Path

from tabular.config.params import load_params
from tabular.config.schema import load_schema
from tabular.core.errors import UserError
from tabular.core.files import atomic_write
from tabular.core.metrics import TASKS
from tabular.core.process import run
from tabular.report.column_pictures import importance
from tabular.report.page import render
from tabular.report.pictures import score_interval_pictures, score_pictures
from tabular.report.vega import png
from tabular.runs.comparison import Comparison, compare
from tabular.runs.gate import base_of, evaluate_gate
from tabular.runs.rerun import rerun
from tabular.runs.run import WORKSPACE, Run, mismatch, resolve

MARKER = "<!-- pr-report -->"  # by which CI finds the comment that it wrote before


def write_pictures(comparison: Comparison, folder: Path) -> dict[str, str]:
    """Write three pictures as PNG beside the report: their paths by title.

    The scores beside the baselines', the first one of the test rows, and the columns' importance.
    """
    if folder.exists() and any(path.suffix != ".png" for path in folder.iterdir()):
        raise UserError(f"{folder}: holds other files than plots; name another folder")
    shown = [
        *score_interval_pictures(comparison)[:1],
        *score_pictures(comparison)[:1],
        importance(comparison),
    ]
    paths = {}
    with atomic_write(folder) as partial:
        partial.mkdir(parents=True)
        for picture in filter(None, shown):
            name = "".join(c if c.isalnum() else "-" for c in picture.title.lower()) + ".png"
            (partial / name).write_bytes(png(picture.spec))
            paths[picture.title] = f"{folder.name}/{name}"
    return paths


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("base", help="the revision to compare the workspace with, such as main")
    add("-o", "--output", type=Path, default="pr.md", help="the Markdown to write")
    add("--plots", type=Path, default="pr", help="folder for the plots")
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("gate", "split", "train", schema=schema)

    this, base = Run(WORKSPACE), Run(resolve(args.base))
    evaluation, reason = this.require_evaluation(), mismatch(this, base)
    verdict = evaluate_gate(evaluation, base_of(this, base), params, schema, this.networks)
    comparison = compare(this, None if reason else base, verdict)
    task, head = TASKS[schema.task], resolve("HEAD")
    text = render(
        "pull_request.md",
        comparison,
        marker=MARKER,
        summary_keys={*evaluation.primary_metrics, task.main, task.second, "loss"},
        uncommitted=this.uncommitted,
        not_compared=reason,
        pictures=write_pictures(comparison, args.plots),
        commit=head.label,
        changed_files=rerun(head.commit),
    )
    with atomic_write(args.output) as file:
        file.write_text(text, encoding="utf-8")
    print(f"{args.output}: gate {verdict.verdict}; the plots are in {args.plots}/")


if __name__ == "__main__":
    run(main)
