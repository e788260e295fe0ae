"""What a page and a comment insert is text: of the data, of parameters and of commits."""

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from markupsafe import Markup

from keras_tabular.experiments.comparison import ChangedValue
from keras_tabular.experiments.run import FILES
from keras_tabular.report.column_pictures import draw_effect, importance, spark
from keras_tabular.report.formats import differences, format_score, number, parameter, with_code
from keras_tabular.report.page import TEMPLATES, data_card, header, markdown, row
from keras_tabular.report.pictures import Picture, roc
from keras_tabular.report.vega import Spec, svg
from tests.pages import Page

HOSTILE = '<b>&"'


def drawn(picture: Callable[[Any], Picture | None], label: str, points: str) -> Spec:
    """A picture of a run with these points."""
    run = SimpleNamespace(label=label, files=FILES, text=lambda _: points)
    found = picture(SimpleNamespace(run=run, base=None, scores={"test": {}}))
    assert found
    return found.spec


def importance_of(name: str) -> Spec:
    """The picture of the importance of a column, of a run that has the same name."""
    quoted = name.replace('"', '""')
    return drawn(importance, name, f'column,rise,low,high\n"{quoted}",1,0.5,2\n')


def test_names_in_the_data_are_text() -> None:
    macros: Any = TEMPLATES.get_template("macros.html").module
    for html in (
        macros.table(["Column", HOSTILE], [[HOSTILE, HOSTILE]]),
        svg(importance_of(HOSTILE), "a"),
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
    spec = drawn(roc, "a", "false positive rate,true positive rate\n0,1\n")
    one, two = (svg(spec, name) for name in ("b", "c"))
    ids = [{*re.findall(r' id="(.*?)"', picture)} for picture in (one, two)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert {*re.findall(r"url\(#(.*?)\)", one)} <= ids[0]
    assert svg(spec, "b") == one  # whatever was drawn in between


def test_a_picture_cuts_no_name_and_has_two_colours_that_a_page_may_change() -> None:
    name = "a_column_whose_name_says_in_full_what_it_holds_and_in_which_unit_it_was_measured"
    picture = str(svg(importance_of(name), "a"))
    assert name in re.sub(r"\s", "", Page(picture).text)
    assert "…" not in Page(picture).text
    assert "var(--this)" in picture


def test_numbers_scores_and_parameters_as_texts() -> None:
    texts: dict[Any, str] = {
        **{None: "–", True: "true", "a word": "a word", 0.123456: "0.12346", -0.5: "−0.5"},
        **{12345.67: "12,346", 12.0: "12", 2024: "2024", 12345678.25: "12,345,678"},
        **{1e300: "1e+300"},
    }
    assert {value: number(value) for value in texts} == texts
    assert [format_score(-0.0123), format_score(None, 0.5)] == ["−0.0123", "–"]
    assert differences([ChangedValue("column.Year.max", 2024.0, 2023.0)]) == "Year, max 2023 → 2024"
    parameters = [parameter(value) for value in (None, "silu", 500000, True, [16, 8])]
    assert parameters == ["–", "silu", "500000", "true", "[16, 8]"]


def test_what_to_paste_is_code_and_all_else_is_text() -> None:
    said = "a < b: `dvc exp run -S 'evaluate.threshold={best: f1}'`"
    page = Page(str(with_code(said)))
    assert page.text.strip() == said.replace("`", "")
    assert "code" in page.tags


def test_years_on_an_axis_have_no_comma() -> None:
    effect = {"kind": "integer", "column": "Year", "values": [1990.0, 2000.0, 2020.0]}
    effect |= {key: [0.1, 0.2, 0.3] for key in ("effect", "low", "high")}
    assert ">2000<" in svg(draw_effect(effect, (0, 1)), "a")
    assert ">2,000<" not in svg(draw_effect(effect, (0, 1)), "a")


def test_the_data_card_is_that_of_the_table() -> None:
    run: Any = SimpleNamespace(source="t.csv", text=lambda _: "# Title\n\n`t.csv`\n\n## Limits\n")
    assert data_card(run) == "<p><code>t.csv</code></p>\n<h3>Limits</h3>\n"
    run.source = "other.csv"
    assert "does not mention <code>other.csv</code> yet" in data_card(run)
