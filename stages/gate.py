"""Check the scores against the rules of `gate` in params.yaml, and give a verdict."""

from keras_tabular.config.params import load_settings
from keras_tabular.core.files import write_json
from keras_tabular.evaluation.records import read_scores
from keras_tabular.gate.rules import evaluate_gate
from stages import path_parser, run


def main(arguments: list[str] | None = None) -> None:
    args = path_parser(
        __doc__,
        metrics="folder of the scores",
        verdict="JSON file to write the verdict to",
    ).parse_args(arguments)
    schema, params = load_settings("gate")
    verdict = evaluate_gate(
        read_scores(args.metrics),
        params.gate,
        schema.learning_task,
    )
    write_json(args.verdict, verdict.model_dump(exclude_none=True))
    print(*verdict.lines(), sep="\n")


if __name__ == "__main__":
    run(main)
