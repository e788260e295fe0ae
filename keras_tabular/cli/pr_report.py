"""Write a Markdown comment on a pull request: the gate, scores, changes, and a rerun."""

from argparse import ArgumentParser
from pathlib import Path

from keras_tabular.core.errors import UserError
from keras_tabular.core.files import write_text
from keras_tabular.experiments.comparison import Comparison
from keras_tabular.experiments.rerun import rerun
from keras_tabular.experiments.run import WORKSPACE, Run
from keras_tabular.report.page import render


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("base", help="the revision to compare with, such as main")
    add("-o", "--output", type=Path, default="pr.md", help="the Markdown file to write")
    args = parser.parse_args()
    comparison, head = Comparison(Run(WORKSPACE), Run(args.base)), Run("HEAD")
    if comparison.verdict is None:
        raise UserError("metrics/gate.json: the gate has no verdict. Run `dvc repro` first")
    changed_files = rerun(head.sha)
    text = render("pull_request.md", comparison, commit=head.label, changed_files=changed_files)
    write_text(args.output, text)
    print(f"{args.output}: gate {comparison.verdict.status}")
