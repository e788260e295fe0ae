"""What travels in a `.keras` file beside the model: one JSON file that Keras leaves alone."""

import hashlib
import json
import zipfile
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

from tabular.config.schema import Schema
from tabular.config.typed_yaml import SectionT, check
from tabular.core.errors import UserError
from tabular.table.parquet import count_rows, part_paths

# Of this project, and of the models that it writes: those of a later minor one it does not read.
VERSION = "0.4.0"
METADATA = "tabular.json"
REPRODUCIBLE_MACHINES = ("x86_64", "AMD64", "aarch64")  # shown to give the same bytes
BLOCK = 2**20  # bytes that are read at a time
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip can hold
MAX_JSON = 2**28  # bytes of a description


def model_metadata(schema: Schema) -> dict[str, Any]:
    """What the outputs mean: of which column, and of which classes in which order."""
    return {"task": schema.task, "target": schema.target, "classes": list(schema.classes)}


def provenance(train: Path) -> dict[str, Any]:
    """The training rows, by the MD5 of their parts, and the packages that read and trained on them.

    The commit is not there: it would have to hold its own model. `git log -S` with the model's MD5
    in dvc.lock finds it.
    """
    digest = hashlib.md5(usedforsecurity=False)
    for path in part_paths(train):
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    packages = {name: version(name) for name in ("keras", "tensorflow", "pyarrow", "numpy")}
    return {"rows": sum(count_rows(train)), "md5": digest.hexdigest(), "packages": packages}


def read_metadata(content: bytes) -> dict[str, Any]:
    """What stands beside the model in the content of a file; empty for one from elsewhere.

    Raises:
        ValueError: the zip holds more than a model does, or something else.
    """
    with zipfile.ZipFile(BytesIO(content)) as file:
        unpacked = sum(entry.file_size for entry in file.infolist())
        if unpacked > 2 * len(content) + MAX_JSON:  # Keras stores weights as they are
            raise ValueError(f"it unpacks from {len(content)} to {unpacked} bytes")
        if METADATA not in file.namelist():
            return {}
        metadata = json.loads(file.read(METADATA))
    if not isinstance(metadata, dict):
        raise ValueError(f"{METADATA} holds no mapping")
    threshold = metadata.get("threshold", 0.5)
    if not isinstance(threshold, float) or not 0 <= threshold <= 2:
        raise ValueError(f"{METADATA}: threshold: found {threshold!r}; expected a probability")
    written = str(metadata.get("version", VERSION))
    if [*map(int, written.split(".")[:2])] > [*map(int, VERSION.split(".")[:2])]:
        raise ValueError(
            f"it was written by version {written}, and this is {VERSION}; read it with that one"
        )
    return metadata


def metadata_of(path: Path, content: bytes) -> dict[str, Any]:
    """See `read_metadata`, of the file at `path`.

    Raises:
        UserError: it is no model's file.
    """
    try:
        return read_metadata(content)
    except Exception as error:  # a file can be wrong in any way
        raise UserError(f"{path}: not a .keras file of this project: {error}") from None


def known_categories(path: Path, metadata: dict[str, Any], schema: Schema) -> dict[str, list[str]]:
    """The categories that the model knows, of each column that has some.

    Raises:
        UserError: the file says something else.
    """
    found = metadata.get("categories", {})
    right = isinstance(found, dict) and all(
        name in schema.features
        and schema.columns[name].feature_type == "category"
        and isinstance(known, list)
        and all(isinstance(value, str) for value in known)
        for name, known in found.items()
    )
    if not right:
        raise UserError(f"{path}: categories are not as `dvc repro` writes them")
    return found


def declared(path: Path, metadata: dict[str, Any], key: str, section: type[SectionT]) -> SectionT:
    """What a model's file says of its table (`schema`) or of failed checks (`validate`).

    Raises:
        UserError: it says nothing, or something else.
    """
    if key not in metadata:
        raise UserError(
            f"{path}: does not hold its {key}, so there is no predicting without "
            "data/schema.yaml and params.yaml; run where they are"
        )
    return check(metadata[key], section, path)


def add_metadata(source: Path, target: Path, more: dict[str, Any]) -> None:
    """Write the model in `source` to `target`, with `more` beside it.

    Raises:
        UserError: there is no model.
    """
    if not source.is_file():
        raise UserError(f"{source}: no model here; run `dvc repro` to train one")
    metadata = read_metadata(source.read_bytes()) | more
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if name != METADATA:
                new.writestr(zipfile.ZipInfo(name, EPOCH), old.read(name))
        write_metadata(new, metadata)


def write_metadata(file: zipfile.ZipFile, metadata: dict[str, Any]) -> None:
    file.writestr(zipfile.ZipInfo(METADATA, EPOCH), json.dumps(metadata, indent=1))
