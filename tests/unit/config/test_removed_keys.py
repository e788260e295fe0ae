"""Keys of earlier versions are named with what to do, or removed if they have their default."""

import subprocess
import sys
from pathlib import Path

import pytest

from keras_tabular.config.params import load_params
from keras_tabular.config.removed_keys import REMOVED_KEYS
from keras_tabular.core.errors import UserError
from keras_tabular.projects.upgrade import remove_default_keys
from tests.helpers import PROJECT, build_schema

# Lines of version 0.5 with comments of an owner; an upgrade removes those that begin with -.
LINES = """\
 train:
   ignore: []                    # columns
-  # What only grows is read
-  # if it helps: auto.
-  growing: auto
   # Mine.
   normalization: standard
 evaluate:
-  # A temperature above 1 is more cautious.
-  temperature: "auto"
   slices: {}
   # Mine, about the groups.
-  groups: []
 gate:
   beat_baselines: [constant]  # the rules: {groups: {}}
-  groups: {}  # none
""".splitlines(keepends=True)


def test_default_values_are_removed_with_the_comments_of_the_library(tmp_path: Path) -> None:
    path, changed = tmp_path / "params.yaml", "".join(x[1:] for x in LINES if x[0] != "-")
    path.write_text("".join(line[1:] for line in LINES))
    library = "".join(line[1:] for line in LINES if "# Mine" not in line)
    assert remove_default_keys(path, library) == ({path: changed}, [])
    path.write_text(changed)
    assert remove_default_keys(path, library) == ({}, [])


def test_other_values_are_named_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(
        "train: {seed: 1, growing: keep}\nevaluate:\n  temperature: 1.5\n  groups:\n    - sex\n"
        "  threshold: {precision: 0.9, confidence: 0.95}\ngate:\n  groups: {error: 0.1}\n"
        "drift:\n  groups: 1\n"
    )
    files, messages = remove_default_keys(path, "")
    assert files == {}
    numbers = {"growing": 1, "temperature": 3, "evaluate.groups": 4, "confidence": 6, "gate": 8}
    for (name, number), message in zip(numbers.items(), messages, strict=True):
        assert message.startswith(f"{path}, line {number}: ")
        assert name in message
        assert "version 0.6 has no such key. Delete it." in message


@pytest.mark.parametrize("key", REMOVED_KEYS)
def test_a_stage_says_what_to_do_without_a_removed_key(key: str, tmp_path: Path) -> None:
    section, _, name = key.partition(".")
    text = (PROJECT / "params.yaml").read_text()
    if "threshold." in name:
        text = text.replace("threshold: 0.5", "threshold: {recall: 0.9, confidence: 0.95}")
    else:
        text = text.replace(f"\n{section}:\n", f"\n{section}:\n  {name}: 1\n")
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load_params("train", schema=build_schema("binary"), path=path)
    problem = f"{path}: {key}: version 0.6 has no such key. Delete it. {REMOVED_KEYS[key].advice}"
    assert str(error.value) == problem


def test_the_table_needs_no_package() -> None:
    python = (sys.executable, "-S", "-c", "import keras_tabular.config.removed_keys")
    subprocess.run(python, cwd=PROJECT, check=True)
