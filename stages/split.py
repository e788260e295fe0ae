"""Rows into train, validation and test, exactly as scikit-learn's `train_test_split` draws them."""

import math
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tabular.errors import UserError
from tabular.files import atomic_write
from tabular.params.loading import load_params
from tabular.params.split import Split
from tabular.process import run
from tabular.schema import load_schema
from tabular.table.arrays import labels
from tabular.table.parquet import count_rows, prefetch, read_parts, write_part
from tabular.table.shuffle import shuffle


def draw(rows: int, split: Split, classes: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The rows of each share, in the order in which `train_test_split` gives them; int32.

    The test rows are drawn from the whole table, the validation rows from what is left, both with
    `split.seed` and, where `classes` of shape (rows,) are given, with equal shares of each class.

    Raises:
        UserError: a share gets no row, or a class is too rare to stratify.
    """

    def cut(rows: np.ndarray, size: float) -> list[np.ndarray]:
        if classes is not None:
            from sklearn.model_selection import train_test_split

            stratify = classes[rows]
            return train_test_split(
                rows, test_size=size, random_state=split.seed, stratify=stratify
            )
        # What train_test_split does; its import takes longer than to split a million rows.
        drawn = np.random.RandomState(split.seed).permutation(rows)
        tests = math.ceil(size * len(rows))
        if tests >= len(rows):
            raise ValueError("no row would be left to train with")
        return [drawn[tests:], drawn[:tests]]

    try:
        train, test = cut(np.arange(rows, dtype=np.int32), split.test_size)
        validation = train[:0]
        if split.validation_size:
            train, validation = cut(train, split.validation_size)
    except ValueError as error:
        raise UserError(
            f"cannot split {rows} rows with test_size {split.test_size}, validation_size "
            f"{split.validation_size} and stratify {split.stratify} (split in params.yaml): {error}"
        ) from None
    return {"train": train, "validation": validation, "test": test}


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("validated", type=Path, help="folder of Parquet parts to split")
    parser.add_argument("split", type=Path, help="folder for the tables train, validation and test")
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("ingest", "split", schema=schema)

    classes = None
    if params.split.stratify:
        targets = list(read_parts(args.validated, [schema.target]))
        for part in targets:
            labels(part, schema)  # raises where a row has none
        classes = np.concatenate([part[0].to_numpy() for part in targets])
    shares = draw(sum(count_rows(args.validated)), params.split, classes)

    size = params.ingest.rows_per_part
    files: list[tuple[str, int]] = []
    ends: list[int] = []
    for name, rows in shares.items():
        first = ends[-1] if ends else 0
        lengths = range(size, len(rows) + size, size) if len(rows) else [0]
        ends += [first + min(length, len(rows)) for length in lengths]
        files += [(name, number) for number in range(len(lengths))]

    order = np.concatenate(list(shares.values()))
    with atomic_write(args.split) as folder:
        folder.mkdir()
        with TemporaryDirectory(dir=folder) as scratch:
            parts = shuffle(read_parts(args.validated), order, ends, Path(scratch))
            for (name, number), part in zip(files, prefetch(parts), strict=True):
                write_part(folder / name, number, part)


if __name__ == "__main__":
    run(main)
