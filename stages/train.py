"""Train networks on the training rows, and save their weighted mean as one model."""

import shutil
from pathlib import Path

from keras_tabular.config.params import load_settings
from keras_tabular.core.files import atomic_write
from stages import inputs, path_parser, run


def main(arguments: list[str] | None = None) -> None:
    parser = path_parser(
        __doc__,
        split="folder of the tables train and validation",
        model="the .keras file to write",
        oof="folder for the out-of-fold predictions",
        metrics="folder for networks.json and curves",
    )
    parser.add_argument(
        "--state",
        type=Path,
        required=True,
        help="folder for checkpoints",
    )
    args = parser.parse_args(arguments)
    schema, params = load_settings("train")

    # TensorFlow starts after the parameters are checked.
    from keras_tabular.training import ensemble
    from keras_tabular.training.checkpoint import Checkpoints, identity
    from keras_tabular.training.train import train_model
    from network import build

    tables = [args.split / name for name in ("train", "validation")]
    key = identity([schema, params.train], tables, build)
    trained = train_model(
        tables,
        schema,
        params.train,
        build,
        scratch=args.state,
        checkpoints=Checkpoints(args.state, key),
        show_progress=True,
    )
    setup, weighted = trained.setup, trained.weighted
    ensemble.write_description(args.metrics, setup, trained.snapshots, weighted)
    with atomic_write(args.model) as file:
        ensemble.write_model(trained.model.plain, file, trained.record)
    with atomic_write(args.oof) as folder:
        trained.write_out_of_fold(folder)
    inputs.check()  # before the checkpoints are removed
    shutil.rmtree(args.state, ignore_errors=True)
    print(f"Trained networks: {weighted.summary()}")


if __name__ == "__main__":
    run(main)
