"""One HTML page on a run: the verdict, scores, plots, data, network and model card."""

import re
import tomllib
from argparse import ArgumentParser, Namespace
from pathlib import Path

from dvc.repo import Repo

from stages.lib import comparison, data_report, drawing, model_card, pictures
from stages.lib.markup import render
from stages.lib.revisions import (
    Revision,
    choose,
    open_repo,
    plot_specs,
    read_at,
    read_out,
    read_run,
)
from stages.lib.stage import UserError, run, whole


def read_card(repo: Repo, revision: Revision, paths: Namespace) -> model_card.Card:
    """What the model card shows beside the run: the data card and the locked packages."""
    texts = {
        path: (read_at(repo, revision, path) or b"").decode("utf-8", "replace")
        for path in (paths.data_card, "pyproject.toml", "requirements.txt")
    }
    declared = tomllib.loads(texts["pyproject.toml"]).get("project", {}).get("dependencies", [])
    names = {re.split(r"[^\w.-]", name)[0] for name in declared} | {"keras"}
    locked = re.findall(r"^([\w.-]+)(?:\[.*\])?==(\S+)", texts["requirements.txt"], re.MULTILINE)
    return model_card.Card(
        data=texts[paths.data_card],
        model=paths.model,
        packages={name: version for name, version in locked if name in names},
    )


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rev",
        action="append",
        default=[],
        help="compare the workspace with this branch, commit or experiment instead of the last "
        "commit; given twice, compare the second one with the first",
    )
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="the page to write")
    parser.add_argument("--metrics", default="metrics/metrics.json", help="the scores")
    parser.add_argument("--gate", default="metrics/gate.json", help="the verdict on them")
    parser.add_argument("--profile", default="metrics/profile.json", help="ingest's profile")
    parser.add_argument("--validation", default="metrics/validation.json", help="its checks")
    parser.add_argument("--model", default="models/model.keras", help="the model to draw")
    parser.add_argument("--data-card", default="data/README.md", help="what the data is")
    args = parser.parse_args()

    repo = open_repo()
    paths = {name: getattr(args, name) for name in ("metrics", "gate", "profile", "validation")}
    revisions, note = choose(repo, args.rev, paths)
    this, *others = [read_run(repo, revision, paths) for revision in revisions]
    if not this.metrics:
        raise UserError(
            f"{args.metrics}: {this.label} has no scores to report; run `dvc repro` first"
        )
    other = others[0] if others else None
    if other and (other.source, other.target) != (this.source, this.target):
        note = f"Not compared with {other.label}, which predicts {other.target} of {other.source}."
        other, revisions = None, revisions[:1]
    text = render(
        f"{this.target}: {' and '.join(r.label for r in revisions)}",
        [
            comparison.heading(this, other, note),
            comparison.verdict(this),
            comparison.score_section(this, other),
            comparison.param_section(this, other),
            pictures.plot_section(
                plot_specs(repo, revisions), this.label, other.label if other else None
            ),
            data_report.data_section(this, other),
            drawing.network_section(
                read_out(repo, revisions[0], args.model, this.lock),
                f"{args.model} of this run is not here; `dvc checkout` or `dvc pull` gets it.",
            ),
            model_card.card_section(this, read_card(repo, revisions[0], args)),
        ],
    )
    with whole(args.out) as file:
        file.write_text(text, encoding="utf-8")
    print(f"{args.out}: {' compared with '.join(r.label for r in revisions)}")


if __name__ == "__main__":
    run(main)
