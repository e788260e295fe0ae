"""Write what a pull request changes, in Markdown: verdict, scores, parameters, plots, a rerun."""

from argparse import ArgumentParser
from pathlib import Path

from tabular.errors import UserError
from tabular.files import atomic_write
from tabular.params.loading import load_params
from tabular.process import run
from tabular.report.charts import labels_in, png
from tabular.report.page import render
from tabular.runs.comparison import compare
from tabular.runs.dvc import plot_specs
from tabular.runs.gate import base_of, evaluate_gate
from tabular.runs.git import WORKSPACE, Revision, changed, resolve
from tabular.runs.rerun import rerun
from tabular.runs.run import FILES, Run, mismatch
from tabular.schema import load_schema

MARKER = "<!-- pr-report -->"  # by which CI finds the comment that it wrote before


def write_plots(revisions: list[Revision], folder: Path) -> dict[str, str]:
    """Write every plot as a PNG beside the report: their paths by title."""
    if folder.exists() and any(path.suffix != ".png" for path in folder.iterdir()):
        raise UserError(f"{folder}: holds other files than plots; name another folder")
    paths = {}
    with atomic_write(folder) as partial:
        partial.mkdir(parents=True)
        for title, spec in plot_specs(revisions).items():
            if revisions[0].label in labels_in(spec):
                name = "".join(c if c.isalnum() else "-" for c in title.lower()) + ".png"
                (partial / name).write_bytes(png(spec))
                paths[title] = f"{folder.name}/{name}"
    return paths


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("base", help="the revision to compare the workspace with, such as main")
    add("-o", "--output", type=Path, default="pr.md", help="the Markdown to write")
    add("--plots", type=Path, default="pr", help="folder for the plots")
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("gate", schema=schema)

    this, base = Run(WORKSPACE), Run(resolve(args.base))
    this.require_scores()
    reason = mismatch(this, base)
    gate = evaluate_gate(this.scores, base_of(this, base), params.gate, schema.task)
    revisions = [run.revision for run in ([this] if reason else [this, base])]
    head = resolve("HEAD")
    text = render(
        "pull_request.md",
        compare(this, None if reason else base),
        marker=MARKER,
        gate=gate,
        uncommitted=changed("."),
        not_compared=reason,
        pictures=write_plots(revisions, args.plots),
        commit=head.label,
        # The verdict depends on the history.
        difference=rerun(head.commit, ignored=(str(FILES["gate"]),)),
    )
    with atomic_write(args.output) as file:
        file.write_text(text, encoding="utf-8")
    print(f"{args.output}: gate {gate['verdict']}; the plots are in {args.plots}/")


if __name__ == "__main__":
    run(main)
