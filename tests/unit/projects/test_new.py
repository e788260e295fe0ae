"""Names and paths of a new project may contain any characters."""

from pathlib import Path

import pytest

from keras_tabular.projects import new
from tests.helpers import PROJECT


def test_names_are_quoted_in_the_pages_of_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, names = PROJECT / "keras_tabular/projects/files", ("README.md", "data/README.md")
    files = {name: (folder / name).read_text() for name in names}
    monkeypatch.setattr(new, "get_wheel", lambda folder: folder)
    monkeypatch.setattr(new, "read_project_files", lambda wheel: files)
    new.write_files(tmp_path, "data/raw/my table.csv", 'a|b\'s "c"')
    page = (tmp_path / "README.md").read_text()
    assert "keras-tabular drift 'data/raw/my table.csv'\n" in page
    assert r"""rows['a|b\'s "c"']""" in page
    assert r"""| a\|b's "c" |""" in (tmp_path / "data/README.md").read_text()
