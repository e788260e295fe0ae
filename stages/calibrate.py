"""The stage `calibrate` of dvc.yaml."""

from pathlib import Path

from keras_tabular.config.params import load_params
from keras_tabular.config.schema import load_schema
from keras_tabular.core.files import atomic_write
from keras_tabular.evaluation.calibration import calibrate
from keras_tabular.table.out_of_fold import OutOfFold
from keras_tabular.training.record import TrainingRecord, replace_metadata
from stages import run


def main(trained: Path, train: Path, oof: Path, model: Path) -> None:
    """Choose the threshold or the intervals, and add them to the model's file.

    Args:
        trained: The .keras file that train wrote.
        train: Folder of the training rows.
        oof: Folder of the out-of-fold predictions.
        model: The .keras file to write.
    """
    schema = load_schema()
    params = load_params("drift", "evaluate", "validate", schema=schema)

    record = TrainingRecord.from_file(trained, trained.read_bytes())
    metadata = calibrate(record, OutOfFold.read(oof), train, schema, params)
    if schema.learning_task.has_threshold:
        print(f"A probability of {metadata.threshold:g} or more counts as {schema.positive}")

    with atomic_write(model) as file:
        replace_metadata(trained, file, metadata)


if __name__ == "__main__":
    run(main)
