"""The check of language finds wrong names, docstrings and links."""

from pathlib import Path

import pytest

from docs.check_language import check_code, check_links, main


@pytest.mark.parametrize(
    ("source", "problems"),
    [
        ("found = 1", ["1: the name 'found' does not say what"]),
        ("[1 for _kept in ()]", ["1: the name '_kept' does not say what"]),
        ('"""Of both."""', ["1: the docstring begins with a vague word: Of"]),
        (
            'class A:\n    """A sentence\n    on two lines."""',
            ["2: the first line of the docstring"],
        ),
        ('class Failure:\n    """A cell."""\n    found: str\n\nprint(found)', []),
    ],
)
def test_a_vague_name_or_docstring_has_a_message(source: str, problems: list[str]) -> None:
    assert [message[: len(problems[0])] for message in check_code(source)] == problems


def test_a_link_to_no_file_or_heading_has_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/other.md").write_text("# The `first`, and more\n\n```sh\n# A comment\n```\n")
    page = tmp_path / "README.md"
    page.write_text(
        "# Title\n[a](docs/other.md) [b](https://a.b) [c](#title)\n"
        "[d](docs/other.md#the-first-and-more)\n![e](none.png)\n[f](docs/other.md#a-comment)\n"
    )
    problems = ["4: no such file: none.png", "5: no such heading: docs/other.md#a-comment"]
    assert [*check_links(page)] == problems
    assert main(tmp_path) == 1
    assert capsys.readouterr().out == "".join(f"README.md:{problem}\n" for problem in problems)
