"""The report: both runs side by side, on a phone and at a desk, with no network."""

import base64
import json
import re
import shutil
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tabular.runs.comparison import compare
from tabular.runs.git import WORKSPACE, resolve
from tabular.runs.run import Run
from tests.helpers import must, read_scores, run, table_of

REPORT = ("python", "-m", "commands.report")
DRIFT = ("python", "-m", "commands.drift")
INFER = ("python", "-m", "commands.infer_schema")

SECTIONS = [
    "Scores", "Where it is weak", "What drives it", "What changed", "Pictures", "Data", "Training",
    "Model card",
]  # fmt: skip
WIDTHS = (1280, 768, 390)
# What a reader sees of the pictures: how wide each is, its marks, its smallest text in pixels.
DRAWN = """
return [...document.querySelectorAll('figure, .standing')].map(figure => {
  const svg = figure.querySelector('svg'), box = svg.getBoundingClientRect();
  const scale = box.width / svg.viewBox.baseVal.width;
  const texts = [...svg.querySelectorAll('text')].filter(t => t.textContent.trim());
  return {
    title: figure.querySelector('figcaption')?.firstChild.textContent ?? 'standing',
    width: box.width, height: box.height,
    marks: [...svg.querySelectorAll('.role-mark path, .role-mark line, .role-mark text, circle')]
      .filter(mark => Object.values(mark.getBoundingClientRect().toJSON()).some(n => n)).length,
    text: Math.min(...texts.map(t => parseFloat(getComputedStyle(t).fontSize) * scale)),
  };
});
"""
# The texts that reach out of the page, or of a box that cuts them, or end in an ellipsis.
CUT = """
const width = document.documentElement.clientWidth, found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const text = walker.currentNode, parent = text.parentElement;
  if (!text.textContent.trim() || parent.closest('style')) continue;
  const range = document.createRange();
  range.selectNodeContents(text);
  const box = range.getBoundingClientRect();
  if (!box.width) continue;
  const out = box.left < 0 || box.right > width;
  const dots = parent.closest('figure') && text.textContent.includes('…')
    && !parent.closest('.network');
  if (out || dots) found.push(text.textContent.trim());
}
for (const element of document.querySelectorAll('body *')) {
  const style = getComputedStyle(element);
  const clips = style.overflowX == 'hidden' || style.textOverflow == 'ellipsis';
  if (clips && element.scrollWidth > element.clientWidth + 1) found.push(element.className);
}
return found;
"""
OPEN = "document.querySelectorAll('details').forEach(details => { details.open = true; })"
FOLDED = """
return [...document.querySelectorAll('.fold')].map(
  fold => fold.querySelector('.inside').checkVisibility({contentVisibilityAuto: true}));
"""


class Page(HTMLParser):
    """The text of a page, its elements, and what it would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self.loads = "", list[str](), list[str]()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        loaded = [found.get("src"), found.get("xlink:href")]
        loaded += [found.get("href")] if tag in ("link", "image", "use") else []
        self.loads += [link for link in loaded if link and not link.startswith(("#", "data:"))]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium that reaches no network."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    programs = chromium, shutil.which("chromedriver")
    if None in programs:
        pytest.skip("no browser: chromium or chromedriver is missing")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(programs[0])
    for flag in (
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path_factory.mktemp('b')}",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(str(programs[1]))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def experiment(reproduced: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which an experiment was run and its report made."""
    folder = tmp_path_factory.mktemp("report") / "project"
    shutil.copytree(reproduced, folder, symlinks=True)
    must(
        folder,
        *("dvc", "exp", "run", "-n", "small", "-S", "train.members=[{network: plain}]"),
        *("-S", "train.networks.plain.units=[4]", "-S", "train.networks.plain.epochs=2"),
    )
    done = run(folder, "python", "-m", "commands.report")
    head = must(folder, "git", "rev-parse", "HEAD")[:7]
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"report.html: workspace compared with {head}\n"
    return folder


def opened(browser: Any, page: Path, width: int, scheme: str = "light") -> None:
    """Show a page in a window of this width; nothing in it is missing or refused."""
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    colors = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [colors]})
    browser.get(page.as_uri())
    assert browser.get_log("browser") == []


def pictures(browser: Any) -> list[str]:
    """The titles of the pictures, each of which can be read."""
    browser.execute_script(OPEN)
    found = list(browser.execute_script(DRAWN))
    for picture in found:
        assert picture["width"] > 280, picture
        assert picture["height"] > 60, picture
        assert picture["marks"] > 0, picture
        assert picture["text"] >= 10.5, picture
    return [picture["title"] for picture in found]


def shows_all(browser: Any, page: Path, width: int, scheme: str, keep: Path | None) -> None:
    """No text of a page is cut or reaches out of it, on the first screen and in all its folds.

    Args:
        keep: where to keep a picture of the first screen.
    """
    opened(browser, page, width, scheme)
    visible = browser.execute_script(FOLDED)
    assert visible == [width >= 768] * len(SECTIONS)
    if width < 500:
        assert browser.execute_script("return document.documentElement.scrollHeight") < 2500
    # The answer and its picture are on the first screen.
    box = browser.execute_script(
        "return document.querySelector('.standing').getBoundingClientRect().bottom"
    )
    assert box < 844
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "webp", "quality": 80})
        content = base64.b64decode(shot["data"])
        (keep / f"{page.parent.name}-{width}-{scheme}.webp").write_bytes(content)
    if width < 768:  # the contents open what they lead to
        browser.execute_script("document.querySelector('nav a[href=\"#data\"]').click()")
        assert browser.execute_script(FOLDED)[SECTIONS.index("Data")]
    browser.execute_script(OPEN)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script(CUT) == []
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 384) == (scheme == "dark")


OF_CLASSES = ["Confusion", "ROC curve", "Precision and recall", "Calibration"]
TABLES = {
    "diabetes": [*OF_CLASSES, "Probabilities by class", "Threshold"],
    "experiment": [*OF_CLASSES, "Probabilities by class", "Threshold"],
    "wine": [*OF_CLASSES, "Probabilities by class"],
    "values": ["Predicted and true value", "Residuals"],
}


@pytest.fixture(scope="module", params=TABLES)
def page(
    request: pytest.FixtureRequest,
    experiment: Path,
    reproduced: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The page of a run of two classes, alone and beside another, of three classes, of values."""
    folder = tmp_path_factory.mktemp("page") / request.param
    if request.param == "experiment":
        shutil.copytree(experiment, folder, symlinks=True)
        return folder / "report.html"
    shutil.copytree(reproduced, folder, symlinks=True)
    if request.param == "diabetes":
        must(folder, *REPORT)
        return folder / "report.html"
    frame = table_of(request.param)
    frame.to_csv(folder / "data/raw/other.csv", index=False)
    target = str(frame.columns[-1])
    must(folder, *INFER, "data/raw/other.csv", "--target", target)
    must(folder, "dvc", "repro")
    said = must(folder, *REPORT)
    assert said.startswith("report.html: workspace\nNot compared: ")
    assert "is of another table: source data/raw/diabetes.csv, target Outcome" in said
    return folder / "report.html"


def test_three_tasks_at_three_widths_light_and_dark(
    page: Path, browser: Any, pytestconfig: pytest.Config
) -> None:
    keep = pytestconfig.getoption("--keep-screenshots")
    keep = None if page.parent.name == "experiment" else keep
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            shows_all(browser, page, width, scheme, Path(keep) if keep else None)
    titles = pictures(browser)
    assert titles[0] == "standing"
    expected = TABLES[page.parent.name]
    start = titles.index(expected[0])
    assert titles[start : start + len(expected)] == expected
    assert "Importance of the columns" in titles
    assert "Networks and their weights" in titles
    html = page.read_text()
    assert re.findall("<h2>(.*?)</h2>", html) == SECTIONS
    assert Page(html).loads == []
    assert "script" not in Page(html).tags


def test_the_page_of_new_rows_shows_what_moved(
    reproduced: Path, browser: Any, tmp_path: Path
) -> None:
    rows = pd.read_csv(reproduced / "data/raw/diabetes.csv").drop(columns="Outcome")
    rows["Glucose"] += 30
    rows.to_csv(tmp_path / "new.csv", index=False)
    page = tmp_path / "drift.html"
    done = run(reproduced, *DRIFT, str(tmp_path / "new.csv"), "-o", str(page))
    assert done.returncode == 1
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            opened(browser, page, width, scheme)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
            assert browser.execute_script(CUT) == []
    assert pictures(browser) == ["Glucose"]
    assert Page(page.read_text()).loads == []
    assert "They do not" in Page(page.read_text()).text


def test_both_runs_are_side_by_side(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown is what `compare` found, of files in metrics/ and of dvc.lock."""
    monkeypatch.chdir(experiment)
    found = compare(Run(WORKSPACE), Run(resolve("HEAD")))
    params = {changed.name: changed[1:] for changed in found.params}
    assert params["train.networks.plain.units"] == ([4], [16])
    assert params["train.networks.plain.epochs"] == (2, 100)
    assert (found.data, found.code, found.packages) == ([], [], [])
    assert found.gate == json.loads((experiment / "metrics/gate.json").read_text())
    scores = read_scores(experiment)
    for key, standings in found.standings.items():
        assert [one.name for one in standings[:2]] == ["", ""]
        for name, rows, *numbers in standings:
            of = scores["baseline"][name] if name else scores
            of = of.get(rows, of)
            assert numbers == [of[key], of[f"{key}_low"], of[f"{key}_high"]]
    for key, score in found.scores["test"].by_key.items():
        assert score.value == scores["test"][key]
        assert score.base
        assert score.base.interval  # both have the same test rows
        assert score.base.interval[0] <= score.base.change <= score.base.interval[1]
        for name, change in score.baselines.items():
            if change and change.interval:
                paired = scores["paired_difference"]["test"][name][key]
                assert change.interval == (paired["low"], paired["high"])
    for name in ("slices", "effects", "columns", "networks", "profile", "validation"):
        written = json.loads((experiment / f"metrics/{name}.json").read_text())
        assert found.files[name] == written
    # And the page says it.
    text = Page((experiment / "report.html").read_text()).text
    for said in (found.gate["reason"].replace(" -", " −"), "hidden-1: 4", "public domain, CC0"):
        assert said in text
    errors = json.loads((experiment / "metrics/errors.json").read_text())["rows"]
    assert [one["loss"] for one in errors] == sorted((one["loss"] for one in errors), reverse=True)
    assert len(errors) == 10


def test_any_two_revisions_compare_and_the_bytes_repeat(experiment: Path, tmp_path: Path) -> None:
    """An experiment goes by its name; what is committed is held against what was before."""
    folder = tmp_path / "project"
    shutil.copytree(experiment, folder, symlinks=True)
    report = ("python", "-m", "commands.report")
    must(folder, *report, "HEAD", "small", "-o", "one.html")
    must(folder, *report, "HEAD", "small", "--output", "two.html")
    assert (folder / "one.html").read_bytes() == (folder / "two.html").read_bytes()
    assert "hidden-1: 4" in (folder / "one.html").read_text()

    before = must(folder, "git", "rev-list", "-1", "HEAD", "--", "metrics/metrics.json")[:7]
    must(folder, "git", "commit", "-qam", "Smaller")
    said = must(folder, *report)
    assert said == f"report.html: workspace compared with {before}\n"
    assert "has the results of the last commit" in (folder / "report.html").read_text()

    unknown = run(folder, *report, "nope")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("error: found no revision 'nope'")


def test_a_table_of_500_columns_makes_a_page_that_loads_and_folds_well(
    experiment: Path, browser: Any, tmp_path: Path
) -> None:
    """The files of a run as 500 columns would write them."""
    folder = tmp_path / "wide"
    shutil.copytree(experiment, folder, symlinks=True)
    names = [f"a column with a rather long name, number {n}" for n in range(500)]
    for file, key in (("profile", "column"), ("columns", None), ("networks", "columns")):
        path = folder / f"metrics/{file}.json"
        whole = json.loads(path.read_text())
        of = whole[key] if key else whole
        of |= dict.fromkeys(names, of["Glucose"])
        path.write_text(json.dumps(whole))
    schema = yaml.safe_load((folder / "data/schema.yaml").read_text())
    schema["columns"] |= {name: {"kind": "real"} for name in names}
    (folder / "data/schema.yaml").write_text(yaml.safe_dump(schema, sort_keys=False))
    started = time.monotonic()
    must(folder, *REPORT)
    assert time.monotonic() - started < 10
    assert (folder / "report.html").stat().st_size < 3_000_000
    shows_all(browser, folder / "report.html", 390, "light", None)
