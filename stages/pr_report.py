"""What a pull request changes, in Markdown: verdict, scores, parameters, plots, repetition."""

from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory

from dvc.repo import Repo

from stages.lib.gate import judge, run_at
from stages.lib.history import git
from stages.lib.markdown import cell, param_table, score_table
from stages.lib.params import PARAMS, load_params
from stages.lib.pictures import labels_in, png
from stages.lib.repetition import first_difference, rerun
from stages.lib.revisions import (
    Revision,
    load_at,
    open_repo,
    params_of,
    plot_specs,
    resolve,
)
from stages.lib.stage import UserError, run, whole

MARKER = "<!-- pr-report -->"  # by which CI finds the comment that it wrote before


def write_plots(repo: Repo, revisions: list[Revision], folder: Path) -> list[str]:
    """Every plot as a PNG beside the report: a line of Markdown each."""
    if folder.exists() and any(path.suffix != ".png" for path in folder.iterdir()):
        raise UserError(f"{folder}: holds other files than plots; name another folder")
    with whole(folder) as partial:
        partial.mkdir(parents=True)
        lines = []
        for title, spec in plot_specs(repo, revisions).items():
            if revisions[0].label not in labels_in(spec):
                continue
            name = "".join(c if c.isalnum() else "-" for c in title.lower()) + ".png"
            (partial / name).write_bytes(png(spec))
            lines.append(f'<img alt="{cell(title)}" src="{folder.name}/{name}" width="32%">')
    return lines


def repetition(repo: Repo, history: str) -> str:
    """The pipeline run again in a clone of the last commit, in a sentence."""
    commit = resolve(repo, "HEAD").commit
    with TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        rerun(Path(repo.root_dir), commit, Path(repo.cache.local.path).parent.parent, clone)
        found = first_difference(clone, ignored=(history,))
    here = f"a rerun of {commit[:7]} in a fresh clone"
    if found is None:
        return f"Yes: {here} gave the same bytes of every output."
    return f"**No**: in {here} {found.path} ({found.stage}) differs first: {found.words}."


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("base", help="the revision to compare the workspace with, such as main")
    parser.add_argument("--out", type=Path, default=Path("pr.md"), help="the Markdown to write")
    parser.add_argument("--plots", type=Path, default=Path("pr"), help="folder for the plots")
    parser.add_argument("--metrics", type=Path, default=Path("metrics/metrics.json"))
    parser.add_argument("--gate", default="metrics/gate.json", help="depends on the git history")
    args = parser.parse_args()
    params = load_params()

    repo = open_repo()
    this, base = resolve(repo, "workspace"), resolve(repo, args.base)
    metrics = load_at(repo, this, str(args.metrics))
    if not metrics:
        raise UserError(f"{args.metrics}: there are no scores to report; run `dvc repro` first")
    last = run_at(base.commit, args.metrics, PARAMS, params.data)
    verdict = judge(metrics, last, params.evaluate.gate, params.data)
    old, new = (params_of(load_at(repo, revision, "dvc.lock")) for revision in (base, this))
    same_table = bool(last.metrics)
    lines = [
        MARKER,
        f"## Gate: {verdict['verdict']}",
        "Of files that are not committed yet." if git("status", "--porcelain") else None,
        "\n".join(f"- {check['verdict']}: {cell(check['reason'])}" for check in verdict["checks"]),
        "### Scores",
        None if same_table else f"Not compared: {cell(last.name)}.",
        score_table(metrics, last.metrics, base.label),
        "### Parameters changed" if same_table else None,
        param_table(old, new, base.label) if same_table else None,
        "### Plots",
        "\n".join(write_plots(repo, [this, base] if same_table else [this], args.plots)),
        "### Do the committed results repeat?",
        repetition(repo, args.gate),
    ]
    with whole(args.out) as file:
        file.write_text("\n\n".join(filter(None, lines)) + "\n", encoding="utf-8")
    print(f"{args.out}: gate {verdict['verdict']}; the plots are in {args.plots}/")


if __name__ == "__main__":
    run(main)
