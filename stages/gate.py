"""Check the scores against the rules of `gate` in params.yaml: a verdict with reasons."""

import sys
from argparse import ArgumentParser
from pathlib import Path

from keras_tabular.config.params import load_params
from keras_tabular.config.schema import load_schema
from keras_tabular.core.files import write_json
from keras_tabular.experiments.gate import base_of, evaluate_gate, last_committed
from keras_tabular.experiments.run import WORKSPACE, Run, resolve
from keras_tabular.experiments.verdict import format_checks
from stages import run


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("base", nargs="?", help="the revision to compare with")
    parser.add_argument("--metrics", type=Path, required=True, help="folder of the scores")
    parser.add_argument("--verdict", type=Path, help="JSON file to write the verdict to")
    parser.add_argument("--fail", action="store_true", help="exit with 1 when the run fails")
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("gate", "split", "train", schema=schema)

    files = ("metrics", "scores", "networks")
    this = Run(WORKSPACE, {n: args.metrics / f"{n}.json" for n in files})
    evaluation = this.require_evaluation()
    base = base_of(this, Run(resolve(args.base), this.files)) if args.base else last_committed(this)
    verdict = evaluate_gate(evaluation, base, params, schema, this.networks)
    if args.verdict:
        write_json(args.verdict, verdict.to_json())
    for name, reason in format_checks(verdict.checks):
        print(f"{name}: {reason}")
    for warning in verdict.warnings:
        print(f"warn: {warning}")
    for step in verdict.next_steps:
        print(f"next: {step}")
    print(f"Gate: {verdict.verdict}: {verdict.reason}")
    if args.fail and verdict.verdict == "fail":
        sys.exit(1)


if __name__ == "__main__":
    run(main)
