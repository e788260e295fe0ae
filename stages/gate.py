"""Check the scores against the rules of `gate` in params.yaml, and give a verdict with reasons.

The stage writes the verdict that follows from its inputs. Without `--verdict`, as in `make gate`,
the scores are also compared with those of `gate.base`, by default the last commit with others.
"""

import sys
from argparse import ArgumentParser
from pathlib import Path

from keras_tabular.config.params import load_params
from keras_tabular.config.schema import load_schema
from keras_tabular.core.files import write_json
from keras_tabular.experiments.gate import compare_with_base, evaluate_gate
from keras_tabular.experiments.run import WORKSPACE, Run, base_run
from stages import run


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("base", nargs="?", help="the revision to compare with")
    parser.add_argument("--metrics", type=Path, required=True, help="folder of the scores")
    parser.add_argument("--verdict", type=Path, help="JSON file to write the verdict to")
    parser.add_argument("--fail-on", choices=("fail", "undecided"), help="exit with 1 then")
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("gate", "split", "train", schema=schema)

    this = Run(WORKSPACE, args.metrics)
    verdict = evaluate_gate(this.require_evaluation(), params, schema, this.networks)
    if args.verdict:
        write_json(args.verdict, verdict.model_dump(exclude_none=True))
    else:
        base = Run(args.base, args.metrics) if args.base else base_run(this, params.gate.base)
        verdict = compare_with_base(verdict, this, base, params.gate)
    for check in verdict.checks:
        print(f"{check.status}: {check.reason}")
    for warning in verdict.warnings:
        print(f"warn: {warning}")
    for step in verdict.next_steps:
        print(f"next: {step}")
    print(f"Gate: {verdict.status}. {verdict.headline}. {verdict.reason}.")
    if args.fail_on and verdict.status in ("fail", args.fail_on):
        sys.exit(1)


if __name__ == "__main__":
    run(main)
