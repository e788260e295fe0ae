"""Tests of the page and the comment: formats, and data that must stay text."""

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from keras_tabular.report import page, pictures
from keras_tabular.report.pictures import Picture, draw_roc
from keras_tabular.report.vega import Spec, svg
from tests.pages import Page

HOSTILE = '<b>&"'


def draw(picture: Callable[[Any], Picture | None], label: str, **point: Any) -> Spec:
    """Draw a picture of a run with this label and one point of plot data."""
    run = SimpleNamespace(label=label, read_points=lambda _: [point])
    drawn = picture(SimpleNamespace(run=run, base=None))
    assert drawn
    return drawn.spec


def test_names_in_the_data_stay_text() -> None:
    importance = {"column": HOSTILE, "rise": 1, "low": 0.5, "high": 2}
    macros: Any = page.TEMPLATES.get_template("macros.html").module
    for html in (
        macros.table(["Column", HOSTILE], [[HOSTILE, HOSTILE]]),
        svg(draw(pictures.importance_picture, HOSTILE, **importance), "a"),
        page.render_markdown(f"{HOSTILE} <script>alert(1)</script> ![]({HOSTILE})"),
    ):
        parsed = Page(str(html))
        assert HOSTILE in parsed.text
        assert not {"b", "script", "img"} & set(parsed.tags)


def test_a_column_may_have_a_name_that_every_object_of_javascript_has() -> None:
    for name in ("constructor", "toString", "__proto__", "valueOf"):
        point = {"column": name, "rise": 1, "low": 0.5, "high": 2}
        picture = draw(pictures.importance_picture, "a", **point)
        assert name in Page(str(svg(picture, "a"))).text


def test_pictures_have_unique_ids_that_repeat() -> None:
    spec = draw(draw_roc, "a", **{"false positive rate": 0, "true positive rate": 1})
    first, second = (svg(spec, prefix) for prefix in ("b", "c"))
    ids = [{*re.findall(r' id="(.*?)"', picture)} for picture in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert {*re.findall(r"url\(#(.*?)\)", first)} <= ids[0]
    assert svg(spec, "b") == first  # whatever was drawn in between


def test_years_on_an_axis_have_no_comma() -> None:
    effect = {
        "kind": "integer",
        "column": "Year",
        "values": [1990.0, 2000.0, 2020.0],
    }
    effect |= {key: [0.1, 0.2, 0.3] for key in ("effect", "low", "high")}
    picture = svg(pictures.draw_effect(effect, (0, 1)), "a")
    assert ">2000<" in picture
    assert ">2,000<" not in picture


def test_data_card_has_to_mention_the_table() -> None:
    run: Any = SimpleNamespace(
        source="t.csv",
        read=lambda _: "# Title\n\n`t.csv`\n\n## Limits\n",
    )
    assert page.data_card(run) == "<p><code>t.csv</code></p>\n<h3>Limits</h3>\n"
    run.source = "other.csv"
    assert "does not mention <code>other.csv</code> yet" in page.data_card(run)
