"""Write a Markdown comment on a pull request: gate, scores, changes, and a rerun."""

from argparse import ArgumentParser
from pathlib import Path

from keras_tabular.cli.verify import describe_machine, rerun
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import write_text
from keras_tabular.report.page import render
from keras_tabular.runs.comparison import Comparison, read_verdict
from keras_tabular.runs.run import LOCK, METRICS, WORKSPACE, Run, git

# A rerun reads the tables again, and compares the results.
COMPARED = (f":!{LOCK}", f":!{METRICS}", ":(exclude,glob)data/**/*.dvc")
# Files that run although no changed line may name them, such as a module at the root
# that takes the place of an installed one.
HIDDEN_CODE = (
    ":/*dvc.yaml",
    ":/*.whl",
    ":/*requirements*.txt",
    ":/.github",
    ":(glob)*.py*",
    ":(glob)*.so",
    ":(glob)*/__init__.*",
)


def main(parser: ArgumentParser) -> None:
    parser.add_argument("base", help="the revision to compare with, such as main")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default="pr.md",
        help="the Markdown file to write",
    )
    args = parser.parse_args()
    run = Run(WORKSPACE)
    base = Run(args.base)
    head = Run("HEAD")
    comparison = Comparison(run, base)
    verdict = read_verdict(run, base)
    if verdict is None:
        raise UserError(
            "metrics/gate.json: the gate has no verdict. Run `dvc repro` first",
        )
    changes = f"{base.sha}...{head.sha}"
    diff = ("diff", "--name-only", "--no-renames", "-z", changes, "--")
    changed_files = rerun(head.sha)
    machine = describe_machine(head)
    text = render(
        "pull_request.md",
        comparison,
        verdict,
        commit=head.label,
        code=git(*diff, ":/", *COMPARED).split("\0")[:-1],
        hidden_code=git(*diff, *HIDDEN_CODE).split("\0")[:-1],
        changed_files=changed_files,
        machine=machine,
    )
    write_text(args.output, text)
    print(f"{args.output}: gate {verdict.status}")
    if changed_files:
        raise UserError(
            "The committed results are not reproducible:"
            f" {', '.join(changed_files)} differ{machine}",
        )
