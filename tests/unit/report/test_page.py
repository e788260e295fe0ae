"""What a page and a comment insert is text: of the data, of parameters and of commits."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from tabular.report.charts import for_paper, svg
from tabular.report.formats import number, parameter
from tabular.report.model_card import markdown, packages, split_card
from tabular.report.page import TEMPLATES, header, row

HOSTILE = '<b>&"'


class Page(HTMLParser):
    """The text of a page and its elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags = "", list[str]()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def spec_of(name: str) -> dict[str, Any]:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": [{"rev": name, "column": name, "n": 1}]},
        "mark": {"type": "bar", "clip": True},
        "title": name,
        "width": 300,
        "params": [{"name": "values", "bind": {"input": "checkbox"}}],
        "encoding": {
            "x": {"field": "n", "type": "quantitative", "title": f"{name} " * 20},
            "y": {"field": "column", "type": "nominal"},
            "color": {"field": "rev", "type": "nominal"},
        },
    }


def test_names_in_the_data_are_text() -> None:
    macros: Any = TEMPLATES.get_template("macros.html").module
    for html in (
        macros.table(["Column", HOSTILE], [[HOSTILE, HOSTILE]]),
        svg(spec_of(HOSTILE), 0),
        markdown(f"{HOSTILE} <script>alert(1)</script> ![]({HOSTILE})"),
    ):
        page = Page(str(html))
        assert HOSTILE in page.text
        assert not {"b", "script", "img"} & set(page.tags)


def test_a_cell_of_markdown_ends_where_it_ends() -> None:
    assert row(["a|b", "<b>\nc", 3]) == "| a\\|b | &lt;b> c | 3 |"
    assert header(["A", "B"]) == "| A | B |\n| --- | --- |"


def test_pictures_have_ids_of_their_own() -> None:
    ids = [set(re.findall(r' id="(.*?)"', svg(spec_of("a"), index))) for index in (0, 1)]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_a_plot_on_paper_is_narrow_and_shows_what_a_click_would() -> None:
    spec = spec_of("a")
    drawn = for_paper(spec)
    assert "title" not in drawn
    assert drawn["params"][0]["value"] is True
    assert drawn["width"] == 350
    assert all(len(line) <= 32 for line in drawn["encoding"]["x"]["title"])
    assert spec == spec_of("a")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"), (0.12345, "0.1235"), (-0.5, "−0.5000"), (12345.67, "12,346"), (12.0, "12.000"),
        (1234, "1,234"), ("a word", "a word"),
    ],
)  # fmt: skip
def test_numbers(value: Any, said: str) -> None:
    assert number(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "–"), ("silu", "silu"), (500000, "500000"), (True, "true"), ([16, 8], "[16, 8]")],
)
def test_parameters_are_written_as_in_their_file(value: Any, said: str) -> None:
    assert parameter(value) == said


def test_the_data_card_has_three_parts() -> None:
    text = "# Title\n\nAbout.\n\n## Columns\n\nx\n\n## Intended use\n\nUse.\n\n## Limits\n\nFew.\n"
    about, use, limits = split_card(text)
    assert about.split() == ["About.", "**Columns**", "x"]
    assert (use.strip(), limits.strip()) == ("Use.", "Few.")
    assert split_card("") == ("", "", "")


def test_the_packages_that_the_project_names() -> None:
    pyproject = '[project]\ndependencies = ["dvc[s3]", "numpy>=2"]\n'
    locked = "dvc[s3,ssh]==3.1 \\\n    --hash=sha256:0\nkeras==3.0\nnumpy==2.0\nother==1\n"
    assert packages(pyproject, locked) == [("dvc", "3.1"), ("keras", "3.0"), ("numpy", "2.0")]
    assert packages("", "") == []
