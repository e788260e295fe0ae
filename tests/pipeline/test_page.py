"""The page of a server: what people see and do in a browser.

The answers come from a stub in page.js, which has columns of all kinds, and can be slow
or stop. The tests in test_serve.py visit the pages of models.
"""

from pathlib import Path
from typing import Any

import pytest

from keras_tabular.serve import page
from tests.pages import VIEWS, PageOfModel, check_texts, set_view, take_screenshot
from tests.servers import serve_in_thread

PAGE = Path(page.__file__).with_name("page.html").as_uri()
SIZE = 'size "in" <b>m</b>'
IMAGE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def opened(browser: Any) -> PageOfModel:
    """The page of a model whose columns and categories look like HTML."""
    return PageOfModel(browser, PAGE, "tests.startStub(tests.allKinds)")


@pytest.fixture
def small(browser: Any) -> PageOfModel:
    """The page of a model with one column."""
    return PageOfModel(browser, PAGE, "tests.startStub(tests.one)")


def test_names_and_values_are_shown_as_text(opened: PageOfModel) -> None:
    names = (
        "return [...document.querySelectorAll('label[for]')].map(label =>"
        " label.textContent)"
    )
    assert opened.run(names) == opened.run("return Object.keys(stub.columns)")
    opened.run("opened = 'colour'; schedule(0)")
    opened.wait()
    assert IMAGE in opened.text("curve")
    assert IMAGE in opened.text("json")
    assert opened.run("return document.images.length") == 0


def test_unusual_and_missing_values_are_marked(opened: PageOfModel) -> None:
    """The request has the values in the format of their column."""
    opened.enter("it's a count", "100")
    opened.enter("shop", "shop 99")
    opened.field(SIZE, "missing.click()")
    opened.wait()
    hint = opened.field("it's a count", "hint.textContent")
    assert hint == "Outside of the training rows: 0 to 16"
    row = {
        SIZE: None,
        "it's a count": 100,
        "flag": True,
        "colour": IMAGE,
        "shop": "shop 99",
    }
    row |= {"day": "09.01.2023", "time": "2023-01-08T09:00", "note": None}
    assert opened.row == row
    assert {
        "path": f"{opened.run('return base')}predict?trial=true&explain=8",
        "rows": [row],
    } in (opened.run("return stub.requests"))
    opened.field(SIZE, "missing.click()")
    opened.wait()
    assert opened.row[SIZE] == opened.field(SIZE, "typical")


def test_a_link_holds_the_case_and_cases_are_compared(
    opened: PageOfModel,
    browser: Any,
) -> None:
    opened.enter(SIZE, "3.25")
    values = [opened.value]
    link = browser.current_url
    opened.click("keep")
    opened.click("typical")
    values.append(opened.value)
    cells = opened.run(
        "return [...document.querySelectorAll('td')].map(td => td.textContent)",
    )
    assert [float(cell) for cell in cells[1:3]] == [float(value) for value in values]
    opened.run("fields.get('shop').value = 'shop 3'; keep(true)")  # not yet predicted
    opened.wait()
    assert opened.run("return kept.at(-1).values.shop") == "shop 3"
    linked = PageOfModel(browser, link, "tests.startStub(tests.allKinds)")
    assert linked.value == values[0] != values[1]


def test_the_keyboard_is_enough(opened: PageOfModel) -> None:
    """A reader tabs through all fields, changes one, and opens a curve."""
    from selenium.webdriver import ActionChains, Keys

    def press(key: str) -> str:
        ActionChains(opened.browser).send_keys(key).perform()
        focused = opened.browser.switch_to.active_element
        # The parts of a date have the outline.
        if not str(focused.get_attribute("type")).startswith("date"):
            assert focused.value_of_css_property("outline-style") != "none"
        return str(focused.get_attribute("id"))

    opened.run("$('keep').focus()")
    names = [press(Keys.TAB)]
    while len(names) < 50 and not names[-1].endswith("-effect"):
        names.append(press(Keys.TAB))
        if names[-1] == "field1":
            before = opened.row["it's a count"]
            press(Keys.ARROW_UP)
            opened.wait()
            assert opened.row["it's a count"] == before + 1
    fields = [name for name in names if name.startswith("field") and "-" not in name]
    assert [*dict.fromkeys(fields)] == [f"field{n}" for n in range(8)]
    second = press(Keys.TAB)
    ActionChains(opened.browser).send_keys(Keys.ENTER).perform()
    opened.wait()
    assert opened.run("return document.activeElement.id") == second
    assert opened.run("return document.activeElement.ariaPressed") == "true"


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_all_kinds_of_fields_are_accessible_and_fit(
    opened: PageOfModel,
    width: int,
    scheme: str,
) -> None:
    pytest.importorskip("axe_core_python")
    set_view(opened.browser, width, scheme)
    opened.click("keep")
    opened.enter("shop", "a shop with a rather long name that nobody has typed before")
    opened.check_accessibility()
    check_texts(opened.browser, width)


def test_an_old_answer_never_replaces_a_newer_one(small: PageOfModel) -> None:
    small.run("stub.held = 1")
    small.type("x0", "1")
    small.wait("!!stub.release")
    assert small.text("results", "ariaBusy") == "true"
    small.field("x0", "control").send_keys(".25")
    small.wait()
    assert small.value == "1.25"
    small.run("stub.release()")
    small.wait()
    assert small.value == "1.25"
    requests = [
        request["rows"] for request in small.run("return stub.requests.slice(2)")
    ]
    typed = [rows[0]["x0"] for rows in requests if len(rows) == 1]
    assert typed == [8.5, 1, 1.25]  # no request for each key
    assert max(map(len, requests)) < 50


def test_an_answer_of_another_model_is_not_shown(small: PageOfModel) -> None:
    small.run("stub.md5 = '1'")
    small.enter("x0", "7")
    assert small.text("value") == "No prediction"
    assert small.text("detail").startswith("The server has another model now.")


def test_the_page_recovers_when_the_server_does(small: PageOfModel) -> None:
    small.run("stub.isDown = true")
    small.enter("x0", "1")
    assert small.text("answer") == "No predictionThe server does not answer."
    small.run("stub.isDown = false")
    small.wait("$('value').value == '1'")


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_200_columns_are_folded_by_their_influence(
    browser: Any,
    width: int,
    scheme: str,
) -> None:
    opened = PageOfModel(browser, PAGE, "tests.startStub(tests.manyColumns)", width)
    set_view(browser, width, scheme)
    assert opened.run("return document.querySelectorAll('#fields > *').length") == 12
    assert opened.run("return document.documentElement.scrollHeight") < 3000
    check_texts(browser, width)
    opened.run("document.querySelector('summary').click()")
    check_texts(browser, width)
    opened.enter("x199", "3")
    assert opened.row["x199"] == 3


def test_picture_of_the_default_model(
    reproduced: Path,
    browser: Any,
    pytestconfig: pytest.Config,
) -> None:
    notice = "This model is an exercise. It must not be used for diagnosis."
    screenshots = pytestconfig.getoption("--keep-screenshots")
    with serve_in_thread(reproduced, "--notice", notice) as server:
        for width, scheme in VIEWS:
            PageOfModel(browser, server.address)
            set_view(browser, width, scheme)
            check_texts(browser, width)
            assert browser.get_log("browser") == []
            if screenshots:
                take_screenshot(
                    browser,
                    Path(screenshots) / f"page-{width}-{scheme}.webp",
                )
