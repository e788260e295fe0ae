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

# As version 0.5 wrote them; an owner has added lines of comment.
OLD = """\
train:
  ignore: []                    # columns
  # What only grows is read
  # if it helps: auto.
  growing: auto
  # Mine.
  normalization: standard

evaluate:
  threshold: 0.5
  # A temperature above 1 is more cautious.
  temperature: auto
  slices: {}
  # Mine, about the groups.
  groups: []

gate:
  beat_baselines: [constant]  # the rules: {groups: {}}
  groups: {}  # none
"""
NEW = """\
train:
  ignore: []                    # columns
  # Mine.
  normalization: standard

evaluate:
  threshold: 0.5
  slices: {}
  # Mine, about the groups.

gate:
  beat_baselines: [constant]  # the rules: {groups: {}}
"""


def test_default_values_are_removed_with_the_comments_of_the_library(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(OLD)
    library = OLD.replace("  # Mine.\n", "").replace("  # Mine, about the groups.\n", "")
    assert remove_default_keys(path, library) == ({path: NEW}, [])
    path.write_text(NEW)
    assert remove_default_keys(path, library) == ({}, [])


def test_other_values_are_named_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    lines = ["train: {seed: 1, growing: keep}", "evaluate:", "  temperature: 1.5", "  groups:"]
    lines += ["    - sex", "  threshold: {precision: 0.9, confidence: 0.95}", "gate:"]
    lines += ["  groups: {error_difference: 0.1}", "drift:", "  groups: 1"]
    path.write_text("\n".join(lines))
    files, messages = remove_default_keys(path, "")
    assert files == {}
    expected = zip((1, 3, 4, 6, 8), ("train.growing", "evaluate.temperature", "evaluate.groups",
        "evaluate.threshold.confidence", "gate.groups"), strict=True)  # fmt: skip
    assert messages == [
        f"{path}, line {number}: {key}: version 0.6 has no such key. Delete it. "
        f"{REMOVED_KEYS[key].advice}"
        for number, key in expected
    ]


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
