"""The page of a server: what people see and do in a browser.

Most tests use a server of a model. A stub that answers as they ask replaces it where a server has
to be slow, stop, or have many columns.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pytest

from keras_tabular.serving import page
from tests.commands import call_command, wait_until
from tests.pages import VIEWS, check_texts, set_view, take_screenshot
from tests.projects import SHORT_TRAINING, change_settings, create_project, run_stages
from tests.servers import Server, start_server

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Content-Type": "text/html"}
SIZE, IMAGE = 'size "in" <b>m</b>', "<img src=x onerror=alert(1)>"
NOTICE = "Not for <b>credit</b> decisions."
MAX_FIRST_LOAD = 60_000  # bytes
# Wait until the page shows the answer to the case in its form.
ANSWERED = """
return document.readyState == 'complete' && !document.getElementById('main').hidden &&
  document.getElementById('results').ariaBusy == 'false';
"""
FIELD = "return [...fields.values()].find(field => field.name == arguments[0]).{}"
REQUESTS = "return performance.getEntriesByType('resource').map(({name}) => name)"
LOADED = """
return performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))
  .map(({transferSize}) => transferSize).reduce((sum, size) => sum + size, 0);
"""
# Open the link of each case, and return the value of the prediction and the text below it.
PREDICT_LINKS = """
const [links, done] = arguments;
async function predict(link) {
  location.hash = link;
  const results = document.getElementById('results');
  while (results.ariaBusy == 'false') await new Promise(resolve => setTimeout(resolve, 2));
  while (results.ariaBusy == 'true') await new Promise(resolve => setTimeout(resolve, 2));
  return [document.getElementById('value').value, document.getElementById('detail').textContent];
}
(async () => {
  const answers = [];
  for (const link of links) answers.push(await predict(link));
  done(answers);
})();
"""


def make_table(rows: int = 400) -> pd.DataFrame:
    """Make a table with columns of all kinds, whose names and categories look like HTML."""
    rng, start = np.random.default_rng(0), pd.Timestamp("2023-01-01")
    size = rng.normal(50, 10, rows).round(1)
    words = [f"word{n}" for n in range(300)]
    frame = pd.DataFrame(
        {
            SIZE: np.where(rng.random(rows) < 0.1, np.nan, size),
            "it's a count": rng.integers(0, 40, rows),
            "a: b": rng.normal(size=rows).round(2),
            "flag": rng.random(rows) > 0.5,
            "colour": rng.choice([IMAGE, "red", 'it\'s "blue"', ""], rows),
            "shop": rng.choice([f"shop {n}" for n in range(30)], rows),
            "day": start + pd.to_timedelta(rng.integers(0, 700, rows), unit="D"),
            "time": start + pd.to_timedelta(rng.integers(0, 10_000, rows), unit="h"),
            "note": [" ".join(rng.choice(words, 12)) for _ in range(rows)],
            "y": np.where(size + 5 * rng.normal(size=rows) > 50, "yes", "no"),
        }
    )
    return frame.assign(
        day=frame["day"].dt.strftime("%d.%m.%Y"),
        time=frame["time"].dt.strftime("%Y-%m-%dT%H:%M:%S"),
    )


@pytest.fixture(scope="module")
def server(make_once: Callable[..., Path]) -> Iterator[Server]:
    """Serve a model of `make_table`, and log answers."""

    def make(folder: Path) -> None:
        create_project(folder, make_table())
        change_settings(folder, train=SHORT_TRAINING)
        run_stages(folder, last="calibrate")

    folder = make_once("page", make)
    with start_server(folder, "--notice", NOTICE, "--log", "answers") as server:
        yield server


class Stub(ThreadingHTTPServer):
    """A server of the page whose prediction is the value of the column `x0`.

    Attributes:
        delays: Seconds until the answer by the value of `x0`.
        rows: The rows of each request that came.
        md5: Hash of the model that predicts.
    """

    def __init__(self, port: int = 0, columns: int = 1) -> None:
        super().__init__(("127.0.0.1", port), StubHandler)
        self.delays, self.rows = dict[float, float](), list[list[dict[str, Any]]]()
        self.md5 = "0"
        values = [n + 0.5 for n in range(16)]
        column = {"kind": "real", "range": [0.0, 16.0], "training": values, "frequent": []}
        names = [f"x{n}" for n in range(columns)]
        described = {name: column | {"share": 1 / (n + 1)} for n, name in enumerate(names)}
        model = {"target": "y", "classes": [], "notice": "", "columns": described}
        self.schema = {"paths": {"/predict": {"post": {"x-model": model}}}}
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class StubHandler(BaseHTTPRequestHandler):
    server: Stub

    def do_GET(self) -> None:
        trained_on = {"rows": 16, "md5": "0", "packages": {}}
        health = {
            "model": {"file": "m.keras", "version": None, "md5": "0", "trained_on": trained_on}
        }
        if self.path.endswith("/schema"):
            self.send(json.dumps(self.server.schema))
        elif self.path.endswith("/health"):
            self.send(json.dumps(health))
        else:
            self.send(page.HTML, **page.HEADERS, **{"Content-Type": "text/html"})

    def do_POST(self) -> None:
        rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["rows"]
        self.server.rows.append(rows)
        time.sleep(self.server.delays.get(rows[0]["x0"], 0))
        reasons = {"reason_1": "x0", "reason_1_effect": 1.0}
        answers = [{"predicted": row["x0"]} | reasons for row in rows]
        self.send(json.dumps({"rows": answers, "model": {"md5": self.server.md5}}))

    def send(self, content: str, **headers: str) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(BrokenPipeError):  # the page has cancelled the request
            self.wfile.write(content.encode())

    def log_message(self, *_: Any) -> None:
        pass


class PageOfModel:
    """The page in a browser."""

    def __init__(self, browser: Any, port: int, path: str = "/", width: int = 1280) -> None:
        self.browser, self.address = browser, f"http://127.0.0.1:{port}{path}"
        set_view(browser, width)
        browser.get("about:blank")
        browser.get_log("browser")
        browser.get(self.address)
        self.wait()

    def wait(self, condition: Callable[[], object] | None = None) -> None:
        """Wait for a condition, or until the page shows the answer to the case in its form."""
        wait_until(condition or (lambda: self.run(ANSWERED)), seconds=20)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def text(self, name: str) -> str:
        content: str = self.run(f"return document.getElementById('{name}').textContent")
        return content.replace("\xa0", " ")

    @property
    def value(self) -> str:
        """The prediction with all its digits."""
        value: str = self.run("return document.getElementById('value').value")
        return value

    def enter(self, name: str, text: str) -> None:
        """Type a text into the field of a column."""
        control = self.run(FIELD.format("control"), name)
        control.clear()
        control.send_keys(text)

    def field(self, name: str, part: str) -> Any:
        return self.run(FIELD.format(part), name)

    def click(self, name: str) -> None:
        self.run(f"document.getElementById('{name}').click()")
        self.wait()


@pytest.fixture
def model_page(server: Server, browser: Any) -> PageOfModel:
    """The page of the server, with a text, which no typical case has."""
    opened = PageOfModel(browser, server.port)
    opened.enter("note", "word1 word2 word3")
    opened.wait()
    return opened


def test_a_browser_gets_the_page_and_a_program_the_openapi_document(server: Server) -> None:
    _, html = server.send("/", **HTML)
    assert html == files("keras_tabular.serving").joinpath("page.html").read_text()
    assert "unsafe" not in page.POLICY
    assert re.search(r"script-src 'sha256-[^']*' 'sha256-[^']*';", page.POLICY)
    assert server.send("/", Accept="*/*") == server.send("/") == server.send("/schema")


def test_names_and_values_are_shown_as_text(model_page: PageOfModel) -> None:
    """No request leaves the server, and the first load is small."""
    assert model_page.text("notice") == NOTICE
    assert model_page.run("return document.images.length") == 0
    labels = model_page.run(
        "return [...document.querySelectorAll('label[for]')].map(l => l.textContent)"
    )
    assert labels[0] == SIZE
    model_page.run("fields.get('colour').value = arguments[0]", IMAGE)
    model_page.run("opened = 'colour'; schedule(0)")
    model_page.wait()
    assert IMAGE in model_page.text("curve")
    assert IMAGE in model_page.text("json")
    assert model_page.run("return document.images.length") == 0
    paths = {re.sub(r"\?.*", "", name) for name in model_page.run(REQUESTS)}
    assert paths == {model_page.address + name for name in ("schema", "health", "predict")}


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("it's a count", "3.5", "expected a whole number of at most 64 bits, got '3.5'"),
        ("a: b", "", "expected a value in every row, got ''"),
        ("a: b", "1-2", "expected a finite number, got '1-2'"),
    ],
)
def test_a_mistake_stands_at_its_field(
    model_page: PageOfModel, name: str, text: str, problem: str
) -> None:
    control = model_page.field(name, "control")
    control.send_keys(*["\b"] * 10, text)
    model_page.wait()
    assert model_page.text("value") == "No prediction"
    assert model_page.field(name, "problem.textContent") == problem
    assert model_page.field(name, "control.ariaInvalid") == "true"
    invalid = model_page.run("return document.querySelectorAll('[aria-invalid=true]').length")
    assert invalid == 1
    model_page.click("typical")
    assert model_page.field(name, "problem.textContent") == ""


def test_unusual_and_missing_values_are_predicted_and_marked(model_page: PageOfModel) -> None:
    model_page.enter("it's a count", "100")
    model_page.enter("shop", "shop 99")
    model_page.field(SIZE, "missing.click()")
    model_page.wait()
    hint = model_page.field("it's a count", "hint.textContent")
    assert hint == "Outside of the training rows: 0 to 39"
    assert json.loads(model_page.text("json"))[SIZE] is None
    assert model_page.text("value").endswith(" %")
    model_page.field(SIZE, "missing.click()")
    assert json.loads(model_page.text("json"))[SIZE] is None
    model_page.wait()
    assert json.loads(model_page.text("json"))[SIZE] == model_page.field(SIZE, "typical")


def test_the_request_of_the_page_gets_the_same_answer(
    model_page: PageOfModel, server: Server
) -> None:
    """Dates have the format of their column. The page's own requests are not logged or counted."""
    before = server.read_metrics("tabular_rows_total")
    model_page.click("random")
    row = json.loads(model_page.text("json"))
    assert re.fullmatch(r"\d\d\.\d\d\.20\d\d", row["day"])
    assert server.read_metrics("tabular_rows_total") == before
    assert sum(log.stat().st_size for log in (server.folder / "answers").iterdir()) == 0
    status, answer = server.send("/predict?trial=true", [row])
    assert status == 200
    assert float(model_page.value) == answer["rows"][0]["probability_yes"]
    command = model_page.text("curl")
    header = "-H 'Content-Type: application/json'"
    assert command.startswith(f"curl '{model_page.address}predict' {header} -d ")
    assert json.loads(command.split(" -d ")[1][1:-1].replace("'\\''", "'")) == {"rows": [row]}


def test_a_link_holds_the_case_and_cases_are_compared(model_page: PageOfModel) -> None:
    model_page.click("random")
    values = [model_page.text("value")]
    link = model_page.browser.current_url
    model_page.click("keep")
    model_page.click("typical")
    values.append(model_page.text("value"))
    cells = model_page.run(
        "return [...document.querySelectorAll('td')].map(cell => cell.textContent)"
    )
    assert [cell.replace("\xa0", " ") for cell in cells[1:3]] == values
    model_page.run("fields.get('shop').value = 'shop 3'; keep(true)")  # not yet predicted
    model_page.wait()
    assert model_page.run("return kept.at(-1).values.shop") == "shop 3"
    model_page.browser.get("about:blank")
    model_page.browser.get(link)
    model_page.wait()
    assert model_page.text("value") == values[0]


def test_the_keyboard_is_enough(model_page: PageOfModel) -> None:
    """A reader tabs through all fields, changes one, and opens the curve of a column."""
    from selenium.webdriver import ActionChains, Keys

    def press(key: str) -> str:
        ActionChains(model_page.browser).send_keys(key).perform()
        focused = model_page.browser.switch_to.active_element
        if not str(focused.get_attribute("type")).startswith(
            "date"
        ):  # whose parts have the outline
            assert focused.value_of_css_property("outline-style") != "none"
        return str(focused.get_attribute("id"))

    model_page.run("document.getElementById('keep').focus()")
    names = [press(Keys.TAB)]
    while len(names) < 50 and not names[-1].endswith("-effect"):
        names.append(press(Keys.TAB))
        if names[-1] == "field1":
            before = json.loads(model_page.text("json"))["it's a count"]
            press(Keys.ARROW_UP)
            model_page.wait()
            assert json.loads(model_page.text("json"))["it's a count"] == before + 1
    fields = [name for name in names if re.fullmatch(r"field\d", name)]
    assert [*dict.fromkeys(fields)] == [f"field{n}" for n in range(9)]
    second = press(Keys.TAB)
    ActionChains(model_page.browser).send_keys(Keys.ENTER).perform()
    model_page.wait()
    assert model_page.run("return document.activeElement.id") == second
    assert model_page.run("return document.activeElement.ariaPressed") == "true"


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_the_page_is_accessible_and_fits(model_page: PageOfModel, width: int, scheme: str) -> None:
    pytest.importorskip("axe_core_python")
    set_view(model_page.browser, width, scheme)
    model_page.field("it's a count", "value = 3.5")
    model_page.wait()
    check_accessibility(model_page)
    model_page.click("typical")
    model_page.enter("note", "word1")
    model_page.wait()
    model_page.click("keep")
    check_accessibility(model_page)
    check_texts(model_page.browser, width)


def check_accessibility(model_page: PageOfModel) -> None:
    """Check that axe-core finds no violation."""
    script = files("axe_core_python").joinpath("axe.min.js").read_text()
    model_page.run(script)
    command = "axe.run().then(results => arguments[0](results.violations))"
    violations = model_page.browser.execute_async_script(command)
    assert [(each["id"], each["nodes"][0]["html"]) for each in violations] == []


def test_an_old_answer_never_replaces_a_newer_one(browser: Any) -> None:
    with Stub() as stub:
        opened = PageOfModel(browser, stub.server_port)
        stub.delays |= {1: 1.0, 1.25: 0.05}
        opened.enter("x0", "1")
        opened.wait(lambda: stub.rows[-1][0]["x0"] == 1)
        assert opened.run("return document.getElementById('results').ariaBusy") == "true"
        opened.field("x0", "control").send_keys(".25")
        opened.wait(lambda: opened.value == "1.25")
        time.sleep(1.2)
        assert opened.value == "1.25"
        typed = [rows[0]["x0"] for rows in stub.rows if len(rows) == 1]
        assert typed == [8.5, 1, 1.25]  # no request for each key
        assert max(map(len, stub.rows)) < 50


def test_an_answer_of_another_model_is_not_shown(browser: Any) -> None:
    with Stub() as stub:
        model_page = PageOfModel(browser, stub.server_port)
        stub.md5 = "1"
        model_page.enter("x0", "7")
        model_page.wait()
        assert model_page.text("value") == "No prediction"
        assert model_page.text("detail").startswith("The server has another model now.")


def test_the_page_recovers_when_the_server_does(browser: Any) -> None:
    with Stub() as stub:
        opened, port = PageOfModel(browser, stub.server_port, "/models/churn"), stub.server_port
    opened.enter("x0", "1")
    opened.wait()
    assert (opened.text("value"), opened.text("detail")) == (
        "No prediction",
        "The server does not answer.",
    )
    with Stub(port):
        opened.wait(lambda: opened.value == "1")
    assert opened.run(REQUESTS)[-1].startswith(f"http://127.0.0.1:{port}/models/churn/predict")


def test_200_columns_are_folded_by_their_influence(browser: Any) -> None:
    with Stub(columns=200) as stub:
        for width, scheme in VIEWS:
            opened = PageOfModel(browser, stub.server_port, width=width)
            set_view(browser, width, scheme)
            assert opened.run("return document.querySelectorAll('#fields > *').length") == 12
            assert opened.run("return document.documentElement.scrollHeight") < 3000
            check_texts(browser, width)
            opened.run("document.querySelector('summary').click()")
            check_texts(browser, width)
            opened.enter("x199", "3")
            opened.wait()
            assert json.loads(opened.text("json"))["x199"] == 3


@pytest.mark.parametrize(
    "name",
    [
        "mixed_binary",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("mixed_regression", "wine")),
    ],
)
def test_predictions_on_the_page_are_those_of_predict(
    trained_project: Callable[[str], Path], name: str, browser: Any, tmp_path: Path
) -> None:
    """The cases are 50 rows of the table, some with missing values."""
    project = trained_project(name)
    raw = pd.read_csv(project / "data/raw/t.csv", dtype=str, keep_default_na=False)[:50]
    frame = raw.drop(columns=raw.columns[-1])
    frame.to_csv(tmp_path / "new.csv", index=False)
    call_command(project, "predict", tmp_path / "new.csv", "-o", tmp_path / "out.csv")
    expected = pd.read_csv(tmp_path / "out.csv")
    cases = [
        row | {k: v.lower() for k, v in row.items() if k == "flag"}
        for row in frame.to_dict("records")
    ]
    with start_server(project) as server:
        opened = PageOfModel(browser, server.port)
        browser.set_script_timeout(60)
        answers = browser.execute_async_script(PREDICT_LINKS, [urlencode(case) for case in cases])
    values = np.array([float(value) for value, _ in answers])
    if name == "mixed_regression":
        np.testing.assert_array_equal(values, expected["predicted"])
    elif name == "mixed_binary":
        np.testing.assert_array_equal(values, expected["probability_pos"])
        for predicted, (_, detail) in zip(expected["predicted"], answers, strict=True):
            assert detail.startswith(f"Predicted: {predicted}.")
    else:
        probabilities = expected.filter(like="probability_").max(axis=1)
        np.testing.assert_array_equal(values, probabilities)
    assert opened.run(LOADED) > 0


def test_picture_of_the_default_model(
    reproduced: Path, browser: Any, pytestconfig: pytest.Config
) -> None:
    notice = "This model is an exercise. It must not be used for diagnosis."
    screenshots = pytestconfig.getoption("--keep-screenshots")
    with start_server(reproduced, "--notice", notice) as server:
        for width, scheme in VIEWS:
            opened = PageOfModel(browser, server.port)
            set_view(browser, width, scheme)
            assert opened.run(LOADED) <= MAX_FIRST_LOAD
            check_texts(browser, width)
            assert browser.get_log("browser") == []
            if screenshots:
                take_screenshot(browser, Path(screenshots) / f"page-{width}-{scheme}.webp")
