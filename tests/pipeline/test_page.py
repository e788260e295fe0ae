"""The page of a server: what people see and do in a browser.

The answers come from a stub, which has columns of all kinds, and can be slow or stop. The tests in
test_serve.py visit the pages of models.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from keras_tabular.config.sections import Validate
from keras_tabular.serving import page
from keras_tabular.serving.rows import check_json_rows
from keras_tabular.table.checks import declared_checks
from tests.helpers import build_schema
from tests.pages import VIEWS, PageOfModel, check_texts, set_view, take_screenshot
from tests.servers import serve_in_thread

REQUESTS = "return performance.getEntriesByType('resource').map(({name}) => name)"
SIZE, IMAGE = 'size "in" <b>m</b>', "<img src=x onerror=alert(1)>"


def describe_column(kind: str, training: list[Any], **keys: Any) -> dict[str, Any]:
    """Describe a column for the page, as `describe_model` does."""
    ends = training[:1] + training[-1:]
    return {"kind": kind, "range": ends, "training": training, "frequent": [], **keys}


REAL = describe_column("real", [n + 0.5 for n in range(17)], share=1.0)
SHOPS = [f"shop {n}" for n in range(20)]
DAYS = [f"2023-01-{n:02}T00:00:00" for n in range(1, 17)]
TIMES = [f"2023-01-08T{n:02}:00:00" for n in range(16)]
ALL_KINDS = {
    SIZE: REAL | {"nullable": True},
    "it's a count": describe_column("integer", [*range(16)]),
    "flag": describe_column("boolean", [0.0] * 8 + [1.0] * 8),
    "colour": describe_column("category", [IMAGE, "red"], frequent=[IMAGE, "red"]),
    "shop": describe_column("category", SHOPS, frequent=SHOPS, others=54),
    "day": describe_column("datetime", DAYS, format="%d.%m.%Y"),
    "time": describe_column("datetime", TIMES),
    "note": describe_column("text", []),
}


class Stub(ThreadingHTTPServer):
    """A server of the page whose prediction is the value of the first column.

    Attributes:
        late: Events by the value of `x0`; the answer waits for them.
        received: The rows of each request that came.
        answered: The first value of each answer that was sent.
        md5: Hash of the model that predicts.
    """

    def __init__(self, columns: Mapping[str, Any] | None = None, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), StubHandler)
        self.late, self.md5 = dict[float, threading.Event](), "0"
        self.received, self.answered = list[list[dict[str, Any]]](), list[Any]()
        model = {"target": "y", "classes": [], "notice": "", "columns": columns or {"x0": REAL}}
        self.schema = {"paths": {"/predict": {"post": {"x-model": model}}}}
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class StubHandler(BaseHTTPRequestHandler):
    server: Stub

    def do_GET(self) -> None:
        trained_on = {"rows": 16, "md5": "0", "packages": {}}
        model = {"file": "m.keras", "version": None, "md5": "0", "trained_on": trained_on}
        if self.path.endswith("/schema"):
            self.send(json.dumps(self.server.schema))
        elif self.path.endswith("/health"):
            self.send(json.dumps({"model": model}))
        else:
            self.send(page.HTML, **page.HEADERS, **{"Content-Type": "text/html"})

    def do_POST(self) -> None:
        rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["rows"]
        self.server.received.append(rows)
        name, value = next(iter(rows[0].items()))
        if value in self.server.late:
            self.server.late[value].wait(60)
        reasons = {f"reason_{n + 1}": column for n, column in enumerate([*rows[0]][:8])}
        reasons |= {f"{reason}_effect": 1.0 for reason in reasons}
        answers = [{"predicted": row[name] or 0} | reasons for row in rows]
        self.send(json.dumps({"rows": answers, "model": {"md5": self.server.md5}}))
        self.server.answered.append(value)

    def send(self, content: str, **headers: str) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(BrokenPipeError):  # the page has cancelled the request
            self.wfile.write(content.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with Stub(ALL_KINDS) as server:
        yield server


@pytest.fixture
def opened(stub: Stub, browser: Any) -> PageOfModel:
    """The page of a model with columns of all kinds, whose names and categories look like HTML."""
    return PageOfModel(browser, stub.server_port)


def test_names_and_values_are_shown_as_text(opened: PageOfModel) -> None:
    assert opened.texts("label[for]") == [*ALL_KINDS]
    opened.run("opened = 'colour'; schedule(0)")
    opened.wait()
    assert IMAGE in opened.text("curve")
    assert IMAGE in opened.text("json")
    assert opened.run("return document.images.length") == 0


def test_unusual_and_missing_values_are_marked(opened: PageOfModel, stub: Stub) -> None:
    """The request has the values in the format of their column, as a server reads them."""
    opened.enter("it's a count", "100")
    opened.enter("shop", "shop 99")
    opened.field(SIZE, "missing.click()")
    opened.wait()
    hint = opened.field("it's a count", "hint.textContent")
    assert hint == "Outside of the training rows: 0 to 15"
    row = {SIZE: None, "it's a count": 100, "flag": True, "colour": IMAGE, "shop": "shop 99"}
    row |= {"day": "09.01.2023", "time": "2023-01-08T08:00", "note": None}
    assert json.loads(opened.text("json")) == row
    keys = {"kind", "format"}
    columns = {
        name: {"nullable": True} | {key: column[key] for key in keys & {*column}}
        for name, column in ALL_KINDS.items()
    }
    schema = build_schema("regression", **columns)
    assert check_json_rows([row], schema, declared_checks(schema, Validate()))[1] == []
    assert row in [rows[0] for rows in stub.received]
    body = opened.text("curl").split(" -d ")[1]
    assert json.loads(body[1:-1].replace("'\\''", "'")) == {"rows": [row]}
    opened.field(SIZE, "missing.click()")
    opened.wait()
    assert json.loads(opened.text("json"))[SIZE] == opened.field(SIZE, "typical")


def test_a_link_holds_the_case_and_cases_are_compared(opened: PageOfModel) -> None:
    opened.enter(SIZE, "3.25")
    values, link = [opened.text("value")], opened.browser.current_url
    opened.click("keep")
    opened.click("typical")
    values.append(opened.text("value"))
    assert opened.texts("td")[1:3] == values
    opened.run("fields.get('shop').value = 'shop 3'; keep(true)")  # not yet predicted
    opened.wait()
    assert opened.run("return kept.at(-1).values.shop") == "shop 3"
    opened.browser.get("about:blank")
    opened.browser.get(link)
    opened.wait()
    assert opened.text("value") == values[0] != values[1]


def test_the_keyboard_is_enough(opened: PageOfModel) -> None:
    """A reader tabs through all fields, changes one, and opens the curve of a column."""
    from selenium.webdriver import ActionChains, Keys

    def press(key: str) -> str:
        ActionChains(opened.browser).send_keys(key).perform()
        focused = opened.browser.switch_to.active_element
        # The parts of a date have the outline.
        if not str(focused.get_attribute("type")).startswith("date"):
            assert focused.value_of_css_property("outline-style") != "none"
        return str(focused.get_attribute("id"))

    opened.run("document.getElementById('keep').focus()")
    names = [press(Keys.TAB)]
    while len(names) < 50 and not names[-1].endswith("-effect"):
        names.append(press(Keys.TAB))
        if names[-1] == "field1":
            press(Keys.ARROW_UP)
            opened.wait()
            assert json.loads(opened.text("json"))["it's a count"] == 9
    fields = [name for name in names if name.startswith("field") and "-" not in name]
    assert [*dict.fromkeys(fields)] == [f"field{n}" for n in range(len(ALL_KINDS))]
    second = press(Keys.TAB)
    ActionChains(opened.browser).send_keys(Keys.ENTER).perform()
    opened.wait()
    assert opened.run("return document.activeElement.id") == second
    assert opened.run("return document.activeElement.ariaPressed") == "true"


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_all_kinds_of_fields_are_accessible_and_fit(
    opened: PageOfModel, width: int, scheme: str
) -> None:
    pytest.importorskip("axe_core_python")
    set_view(opened.browser, width, scheme)
    opened.click("keep")
    opened.enter("shop", "a shop with a rather long name that nobody has typed before")
    opened.check_accessibility()
    check_texts(opened.browser, width)


def test_an_old_answer_never_replaces_a_newer_one(browser: Any) -> None:
    with Stub() as stub:
        opened = PageOfModel(browser, stub.server_port)
        stub.late[1] = threading.Event()
        opened.type("x0", "1")
        opened.wait(lambda: stub.received[-1][0]["x0"] == 1)
        assert opened.run("return document.getElementById('results').ariaBusy") == "true"
        opened.field("x0", "control").send_keys(".25")
        opened.wait(lambda: opened.text("value", "value") == "1.25")
        stub.late[1].set()
        opened.wait(lambda: 1 in stub.answered)
        browser.execute_async_script("fetch('health').then(() => arguments[0]())")
        assert opened.text("value", "value") == "1.25"
        typed = [rows[0]["x0"] for rows in stub.received if len(rows) == 1]
        assert typed == [8.5, 1, 1.25]  # no request for each key
        assert max(map(len, stub.received)) < 50


def test_an_answer_of_another_model_is_not_shown(browser: Any) -> None:
    with Stub() as stub:
        opened = PageOfModel(browser, stub.server_port)
        stub.md5 = "1"
        opened.enter("x0", "7")
        assert opened.text("value") == "No prediction"
        assert opened.text("detail").startswith("The server has another model now.")


def test_the_page_recovers_when_the_server_does(browser: Any) -> None:
    with Stub() as stub:
        opened, port = PageOfModel(browser, stub.server_port, "/models/churn"), stub.server_port
    opened.enter("x0", "1")
    assert opened.text("answer") == "No predictionThe server does not answer."
    with Stub(port=port):
        opened.wait(lambda: opened.text("value", "value") == "1")
    assert opened.run(REQUESTS)[-1].startswith(f"http://127.0.0.1:{port}/models/churn/predict")


def test_200_columns_are_folded_by_their_influence(browser: Any) -> None:
    columns = {f"x{n}": REAL | {"share": 1 / (n + 1)} for n in range(200)}
    with Stub(columns) as stub:
        for width, scheme in VIEWS:
            opened = PageOfModel(browser, stub.server_port, width=width)
            set_view(browser, width, scheme)
            assert opened.run("return document.querySelectorAll('#fields > *').length") == 12
            assert opened.run("return document.documentElement.scrollHeight") < 3000
            check_texts(browser, width)
            opened.run("document.querySelector('summary').click()")
            check_texts(browser, width)
            opened.enter("x199", "3")
            assert json.loads(opened.text("json"))["x199"] == 3


def test_picture_of_the_default_model(
    reproduced: Path, browser: Any, pytestconfig: pytest.Config
) -> None:
    notice = "This model is an exercise. It must not be used for diagnosis."
    screenshots = pytestconfig.getoption("--keep-screenshots")
    with serve_in_thread(reproduced, "--notice", notice) as server:
        for width, scheme in VIEWS:
            PageOfModel(browser, server.port)
            set_view(browser, width, scheme)
            check_texts(browser, width)
            assert browser.get_log("browser") == []
            if screenshots:
                take_screenshot(browser, Path(screenshots) / f"page-{width}-{scheme}.webp")
