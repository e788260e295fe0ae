"""Train networks on the training rows, and save their weighted mean as one model."""

import shutil
import sys
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
    from keras_tabular.training import ensemble, rounds
    from keras_tabular.training.checkpoint import Checkpoints, identity
    from keras_tabular.training.setup import Setup
    from network import build

    tables = [args.split / name for name in ("train", "validation")]
    setup = Setup(tables, schema, params.train, build)
    key = identity([schema, params.train], tables, build)
    checkpoints = Checkpoints(args.state, key)
    print(f"Training networks on {setup.summary()}", file=sys.stderr)
    snapshots = rounds.fit(setup, checkpoints=checkpoints, show_progress=True)
    weighted = ensemble.weigh_snapshots(setup, snapshots)
    ensemble.write_description(args.metrics, setup, snapshots, weighted)
    model = ensemble.build_model(setup, snapshots, weighted.weights)
    record = ensemble.build_record(setup, snapshots, weighted.weights, model)
    with atomic_write(args.model) as file:
        ensemble.write_model(model.plain, file, record)
    oof = rounds.predict_out_of_fold(setup, weighted, args.state)
    with atomic_write(args.oof) as folder:
        oof.write(folder, [len(part) for part in setup.folds])
    inputs.check()  # before the checkpoints are removed
    shutil.rmtree(args.state, ignore_errors=True)
    print(f"Trained networks: {weighted.summary()}")


if __name__ == "__main__":
    run(main)
