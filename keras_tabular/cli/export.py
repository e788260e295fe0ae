"""Export a model as a TensorFlow SavedModel, for example for TensorFlow Serving."""

from argparse import ArgumentParser
from pathlib import Path

from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_write
from keras_tabular.experiments.rerun import read_model
from keras_tabular.prediction.inputs import MODEL

SIGNATURE = "predict_rows"


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("folder", type=Path, help="the new folder to write; TensorFlow Serving expects NAME/1, "
        "NAME/2 and so on for the versions of a model")  # fmt: skip
    add("--model", metavar="FILE", type=Path, default=MODEL,
        help="the model, a .keras file; default: %(default)s")  # fmt: skip
    args = parser.parse_args()
    if args.folder.exists():
        raise UserError(f"{args.folder}: this folder exists already. Name a new one.")
    content = read_model(args.model)

    from keras_tabular.model_file.saved_model import export_model, load_model

    model = load_model(args.model, content)
    with atomic_write(args.folder) as folder:
        inputs = export_model(model, folder, SIGNATURE)
    print(f"{args.folder}: the signature {SIGNATURE} has an input for each column")
    for column, name in inputs.items():
        if name != column:
            print(f"{column}: its input is named {name}")
