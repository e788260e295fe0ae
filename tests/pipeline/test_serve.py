"""A server makes the same predictions as `predict`, for programs and on its page.

One server for each task answers all tests. It runs in a thread; those of
test_operations.py are processes.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest

import keras_tabular
from keras_tabular.model.predict import Predictor
from keras_tabular.serve import page
from tests.commands import call_command
from tests.pages import VIEWS, PageOfModel, check_texts, set_view
from tests.projects import change_settings, copy_project
from tests.servers import Server, serve_in_thread

NOTICE = "Not for <b>credit</b> decisions."
MAX_FIRST_LOAD = 60_000  # bytes
CASES = 20
PREDICT_LINKS = "tests.predictLinks(arguments[0]).then(arguments[1])"


class Expected(NamedTuple):
    """What the page of a task says, and a column that needs a value in every row.

    Attributes:
        answer: Part of the answer to a case with a predicted value.
        mistake: A column, a text that it does not accept, and the problem.
    """

    never_missing: str
    answer: str
    mistake: tuple[str, str, str]


INTEGER = "expected a whole number of at most 18 digits, got '3.5'"
FINITE = "expected a finite number, got '1-2'"
VALUE = "expected a value in every row, got ''"
TASKS = {
    "mixed_binary": Expected(
        "zip/code",
        "Predicted: {}. The",
        ("count", "3.5", INTEGER),
    ),
    "wine": Expected(
        "alcohol",
        "{}is the predicted target",
        ("alcohol", "1-2", FINITE),
    ),
    "shops": Expected(
        "shop_id",
        "90.0 % prediction interval",
        ("review", " \b", VALUE),
    ),
}


class Task(NamedTuple):
    """A served model.

    Attributes:
        server: Its folder has a schema and policies that have changed since the
            training.
        rows: Rows of the table, without the target.
        predictions: What `predict --explain 2` wrote for them before the change.
    """

    name: str
    server: Server
    rows: list[dict[str, Any]]
    predictions: pd.DataFrame


@pytest.fixture(scope="module", params=TASKS)
def task(
    request: pytest.FixtureRequest,
    trained_project: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Task]:
    """Serve a model with a notice, and log answers."""
    folder = tmp_path_factory.mktemp("served") / "project"
    copy_project(trained_project(request.param), folder)
    raw = pd.read_csv(folder / "data/raw/t.csv", dtype={"zip/code": str})[:100]
    rows = json.loads(raw.drop(columns=raw.columns[-1]).to_json(orient="records"))
    write_rows(folder, rows)
    call_command(folder, "predict", "rows.jsonl", "--explain", "2", "-o", "out.csv")
    if request.param == "shops":
        day = {"timezone": "Asia/Tokyo"}
        shop = {"replace": {"1057": "1027"}}
        change_settings(folder, {"columns": {"day": day, "shop_id": shop}})
    change_settings(folder, validate={"missing": "warn"})
    with serve_in_thread(
        folder,
        "--notice",
        NOTICE,
        "--log",
        str(folder / "answers"),
    ) as server:
        yield Task(
            request.param,
            server,
            rows,
            pd.read_csv(folder / "out.csv"),
        )


def write_rows(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_a_visit_of_the_page(task: Task, browser: Any) -> None:
    """The page shows predictions and mistakes, can be read, and loads nothing."""
    pytest.importorskip("axe_core_python")
    server = task.server
    _, answer, mistake = TASKS[task.name]
    log = server.read_log()
    metrics = server.read_metrics("tabular_rows_total")
    # Some cases have missing values.
    rows = pd.DataFrame(task.rows[:CASES])
    if task.name == "shops":  # the date field of a browser
        days = pd.to_datetime(rows["day"], format="%d.%m.%Y")
        rows["day"] = days.dt.strftime("%Y-%m-%d")
    cases = rows.astype(object).fillna("").to_dict("records")
    links = []
    for case in cases:
        link = urlencode({str(name): cell for name, cell in case.items()})
        links.append(link.replace("=True", "=true").replace("=False", "=false"))
    opened = PageOfModel(browser, f"{server.address}#{links[-1]}")
    sizes = [size for _, size in opened.run("return tests.loaded()")]
    assert sum(sizes) <= MAX_FIRST_LOAD
    assert opened.text("notice") == NOTICE
    browser.set_script_timeout(240)
    answers = browser.execute_async_script(PREDICT_LINKS, links)
    predictions = task.predictions[:CASES]
    probabilities = predictions.filter(like="probability_")
    expected = (
        predictions["predicted"] if probabilities.empty else probabilities.max(axis=1)
    )
    np.testing.assert_array_equal([float(value) for value, _ in answers], expected)
    for predicted, (_, text) in zip(predictions["predicted"], answers, strict=True):
        assert answer.format(predicted) in text.replace("\xa0", " ")
    assert browser.get_log("browser") == []
    isolated = (
        "return [...document.querySelectorAll('#meaning bdi')].map(e => e.textContent)"
    )
    target = opened.run("return document.title").removeprefix("Predict ")
    assert target in opened.run(isolated)  # so that it cannot turn the sentence around

    # The request that the page shows gets the same answer.
    opened.click("random")
    row = opened.row
    response = server.send("/predict?trial=true", [row])[1]["rows"][0]
    assert float(opened.value) in response.values()
    command, _, body = opened.text("curl").partition(" -d ")
    address = f"{server.address}predict"
    assert command == f"curl '{address}' -H 'Content-Type: application/json'"
    assert json.loads(body[1:-1]) == {"rows": [row]}

    name, text, problem = mistake
    for width, scheme in VIEWS:
        set_view(browser, width, scheme)
        opened.click("keep")
        opened.check_accessibility()
        check_texts(browser, width)
        opened.enter(name, text)
        assert opened.text("value") == "No prediction"
        assert opened.field(name, "problem.textContent") == problem
        invalid = "return document.querySelectorAll('[aria-invalid=true]').length"
        assert opened.run(invalid) == 1
        opened.check_accessibility()
        opened.run("location.hash = arguments[0]", links[0])
        opened.wait(
            "!document.querySelector('[aria-invalid=true]') && tests.isAnswered()",
        )

    requests = {address for address, _ in opened.run("return tests.loaded()")}
    paths = ("", "schema", "health", "predict")
    assert requests == {server.address + path for path in paths}
    # Nothing that the page asked is logged or counted.
    assert server.read_log() == log
    assert server.read_metrics("tabular_rows_total") == metrics


def test_a_browser_gets_the_page_and_a_program_the_openapi_document(task: Task) -> None:
    """A policy allows the browser to run only the scripts of the page."""
    request = Request(task.server.address, headers={"Accept": "text/html,*/*;q=0.8"})
    with urlopen(request) as response:
        assert {name: response.headers[name] for name in page.HEADERS} == page.HEADERS
        html = files(page.__package__).joinpath("page.html").read_bytes()
        assert response.read() == html
    assert "unsafe" not in page.POLICY
    assert {"default-src 'none'", "frame-ancestors 'none'"} < {*page.POLICY.split("; ")}
    assert re.search(r"script-src 'sha256-[^']*' 'sha256-[^']*';", page.POLICY)
    _, document = task.server.send("/", Accept="*/*")
    assert document == task.server.send("/schema")[1]
    assert document["paths"]["/predict"]["post"]["x-model"]["notice"] == NOTICE


def test_a_server_that_cannot_predict_is_healthy_but_not_ready(
    task: Task,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert task.server.send("/ready") == (200, {"status": "ready"})
    monkeypatch.setattr(Predictor, "predict", None)
    assert task.server.send("/ready")[0] == 500
    assert task.server.send("/health")[0] == 200


def test_predictions_are_those_of_the_command_to_the_last_bit(task: Task) -> None:
    """One request has all rows, many have one each; all answers are logged.

    Logged rows get the same predictions again.
    """
    server = task.server
    folder = server.folder
    rows = task.rows
    dtypes = task.predictions.dtypes.to_dict()  # identifiers are texts
    explained = server.send("/predict?explain=2", {"rows": rows})[1]["rows"]
    with ThreadPoolExecutor(8) as clients:
        responses = list(
            clients.map(lambda row: server.send("/predict", [row]), rows * 2),
        )
    counts = server.read_metrics("tabular_predicted_")
    answers = pd.DataFrame(explained)
    pd.testing.assert_frame_equal(
        answers.astype(dtypes),
        task.predictions,
        check_exact=True,
    )
    reasons = [column for column in answers.columns if column.startswith("reason_")]
    single = [answer["rows"][0] for _, answer in responses]
    assert single == answers.drop(columns=reasons).to_dict("records") * 2

    logged = server.read_log()
    assert logged[: len(rows)] == list(zip(rows, explained, strict=True))
    answered = zip(rows * 2, single, strict=True)
    assert sorted(map(str, logged[len(rows) :])) == sorted(map(str, answered))
    predicted = [answer["predicted"] for _, answer in logged]
    if task.name == "shops":
        assert counts["tabular_predicted_value_sum"] == pytest.approx(sum(predicted))
        buckets = [v for metric, v in counts.items() if "_bucket" in metric]
        assert buckets == sorted(buckets)
        assert max(np.diff(buckets)) < len(predicted) / 2
    else:
        for value, count in Counter(predicted).items():
            assert counts[f'tabular_predicted_total{{class="{value}"}}'] == count

    write_rows(folder, [inputs for inputs, _ in logged[: len(rows)]])
    call_command(folder, "predict", "rows.jsonl", "--explain", "2", "-o", "again.csv")
    assert (folder / "again.csv").read_bytes() == (folder / "out.csv").read_bytes()


def test_a_number_far_from_the_training_rows_is_a_warning(task: Task) -> None:
    far = {name: -1e9 for name in ("cast", "alcohol") if name in task.rows[0]}
    _, answer = task.server.send("/predict", [task.rows[0] | far])
    for name in far:
        assert answer["warnings"][0].startswith(f"row 1, column {name}: expected ")


def test_a_changed_schema_changes_no_prediction_of_a_trained_model(task: Task) -> None:
    """Command, API and server use the schema and policies in the model's file."""
    folder = task.server.folder
    column = TASKS[task.name].never_missing
    model = keras_tabular.load_model(folder / "models/model.keras")
    predictions = model.predict(pd.DataFrame(task.rows))
    dtypes = predictions.dtypes.to_dict()
    assert task.predictions[[*predictions]].astype(dtypes).equals(predictions)
    assert task.server.send("/predict", [task.rows[0] | {column: None}])[0] == 422
    write_rows(folder, [task.rows[0] | {column: None}])
    with pytest.raises(
        SystemExit,
        match=f"column {column}: expected a value in every row",
    ):
        call_command(folder, "predict", "rows.jsonl", "-o", "incomplete.csv")
