"""What a page and a comment insert is text: of the data, of parameters and of commits."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from markupsafe import Markup

from tabular.report.charts import importance, png, roc, spark, svg
from tabular.report.formats import headline, number, parameter, scored
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


def importance_of(names: list[str]) -> dict[str, Any]:
    """The picture of the importance of some columns, of a run that has the name of the first."""
    rows = [
        {"column": name, "rise": 1.0, "low": 0.5, "high": 2.0, "of": names[0]} for name in names
    ]
    return importance(rows, names[:1])


def test_names_in_the_data_are_text() -> None:
    macros: Any = TEMPLATES.get_template("macros.html").module
    for html in (
        macros.table(["Column", HOSTILE], [[HOSTILE, HOSTILE]]),
        svg(importance_of([HOSTILE]), "a"),
        spark({"train": [1, 2], "test": [2, 1]}) + Markup.escape(HOSTILE),
        markdown(f"{HOSTILE} <script>alert(1)</script> ![]({HOSTILE})"),
    ):
        page = Page(str(html))
        assert HOSTILE in page.text
        assert not {"b", "script", "img"} & set(page.tags)


def test_a_cell_of_markdown_ends_where_it_ends() -> None:
    assert row(["a|b", "<b>\nc", 3]) == "| a\\|b | &lt;b> c | 3 |"
    assert header(["A", "B"]) == "| A | B |\n| --- | --- |"


def test_pictures_have_ids_of_their_own() -> None:
    row = {"false positive rate": 0, "true positive rate": 1, "of": "a", "n": 0}
    ids = [
        set(re.findall(r' id="(.*?)"', svg(roc([row], ["a"], 1), name))) for name in ("one", "two")
    ]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_a_long_name_is_never_cut() -> None:
    name = "a_column_whose_name_says_in_full_what_it_holds_and_in_which_unit_it_was_measured"
    drawn = Page(str(svg(importance_of([name]), "a"))).text
    assert name in re.sub(r"\s", "", drawn)
    assert "…" not in drawn


def test_pictures_have_two_colours_that_a_page_may_change_and_paper_has_them_too() -> None:
    spec = importance_of(["a"])
    assert "var(--this)" in svg(spec, "a")
    assert png(spec).startswith(b"\x89PNG")


def test_a_verdict_is_a_few_words() -> None:
    check = {"rule": "beat_baselines ridge", "score": "test.mae", "verdict": "level"}
    gate = {"verdict": "level", "against": "ridge", "reason": "so", "checks": [check]}
    assert headline(gate) == "Level with ridge regression"
    assert headline(gate | {"verdict": "fail"}) == "Worse than ridge regression"
    assert headline(gate | {"verdict": "pass"}) == "Better than ridge regression"
    others = [check | {"rule": f"beat_baselines {name}"} for name in ("mean", "gradient_boosting")]
    every = gate | {"verdict": "pass", "checks": [check, *others]}
    assert headline(every) == "Better than all baselines"
    limit = {"rule": "lowest test.r2", "verdict": "fail"}
    assert headline(gate | {"verdict": "fail", "checks": [check, limit]}) == "Misses a limit"
    assert headline(gate | {"verdict": "pass", "against": None}) == "Holds its limits"
    assert headline({"verdict": "pass", "checks": []}) == "Passes its gate"  # of an older run
    assert headline({}) == "No verdict"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"), (0.12345, "0.1235"), (-0.5, "−0.5000"), (12345.67, "12,346"), (12.0, "12.000"),
        (1234, "1,234"), ("a word", "a word"),
    ],
)  # fmt: skip
def test_numbers(value: Any, said: str) -> None:
    assert number(value) == said


def test_a_score_has_the_digits_of_its_interval_and_an_undefined_one_a_dash() -> None:
    assert scored(0.72047, (0.66, 0.77)) == "0.72"
    assert scored(-0.0123, (-0.04, 0.02)) == "−0.012"
    assert scored(0.72047, None) == "0.7205"
    assert scored(None, (0.66, 0.77)) == "–"


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
