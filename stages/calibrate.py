"""Choose the threshold or the intervals, and add them to the model's file."""

from keras_tabular.config.params import load_settings
from keras_tabular.core.files import atomic_write
from keras_tabular.evaluation.calibration import calibrate
from keras_tabular.network.record import TrainingRecord, replace_metadata
from keras_tabular.table.out_of_fold import OutOfFold
from stages import path_parser, run


def main(arguments: list[str] | None = None) -> None:
    args = path_parser(
        __doc__,
        trained="the .keras file that train wrote",
        train="folder of the training rows",
        oof="folder of the out-of-fold predictions",
        model="the .keras file to write",
    ).parse_args(arguments)
    schema, params = load_settings("drift", "evaluate", "validate")

    record = TrainingRecord.from_file(args.trained, args.trained.read_bytes())
    metadata = calibrate(record, OutOfFold.read(args.oof), args.train, schema, params)
    if schema.learning_task.has_threshold:
        print(
            f"A probability of {metadata.threshold:g} or more counts as"
            f" {schema.positive}",
        )

    with atomic_write(args.model) as file:
        replace_metadata(args.trained, file, metadata)


if __name__ == "__main__":
    run(main)
