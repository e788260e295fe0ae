"""The report: both runs side by side, on a phone and at a desk, with no network."""

import csv
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from sklearn import datasets

from tests.helpers import must, run

SECTIONS = [
    "Verdict", "Scores", "Parameters changed", "Plots", "Data", "Networks", "Model card",
]  # fmt: skip
# What a reader sees of a plot: how wide it is, how many marks it has, its smallest text in pixels.
DRAWN = """
return [...document.querySelectorAll('#plots figure')].map(figure => {
  const svg = figure.querySelector('svg'), box = svg.getBoundingClientRect();
  const scale = box.width / svg.viewBox.baseVal.width;
  const texts = [...svg.querySelectorAll('text')].filter(t => t.textContent);
  return {
    title: figure.querySelector('figcaption').firstChild.textContent,
    width: box.width, height: box.height,
    marks: [...svg.querySelectorAll('.role-mark path, .role-mark line')]
      .filter(mark => Object.values(mark.getBoundingClientRect().toJSON()).some(n => n)).length,
    text: Math.min(...texts.map(t => parseFloat(getComputedStyle(t).fontSize) * scale)),
  };
});
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


def declared(folder: Path) -> list[str]:
    """The titles of the plots in dvc.yaml whose data has rows, in their order."""
    titles = []
    for plot in yaml.safe_load((folder / "dvc.yaml").read_text())["plots"]:
        ((title, how),) = plot.items()
        with (folder / next(iter(how["y"]))).open() as file:
            if len(list(csv.reader(file))) > 1:
                titles.append(title)
    return titles


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


def opened(browser: Any, page: Path, width: int) -> list[dict[str, Any]]:
    """The plots as drawn in a window of this width, where nothing is wrong with the page."""
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.get_log("browser") == []
    return list(browser.execute_script(DRAWN))


@pytest.mark.parametrize("width", [390, 1280])
def test_every_plot_is_drawn_on_a_phone_and_at_a_desk(
    experiment: Path, browser: Any, width: int
) -> None:
    plots = opened(browser, experiment / "report.html", width)
    assert [plot["title"] for plot in plots] == declared(experiment)
    for plot in plots:
        assert plot["width"] > 300, plot
        assert plot["height"] > 100, plot
        assert plot["marks"] > 0, plot
        assert plot["text"] >= 10.5, plot


def test_both_runs_are_side_by_side(experiment: Path) -> None:
    html = (experiment / "report.html").read_text()
    page = Page(html)
    assert re.findall("<h2>(.*?)</h2>", html) == SECTIONS
    assert page.loads == []
    assert "script" not in page.tags
    head = must(experiment, "git", "rev-parse", "HEAD")[:7]
    for parameter, new, old in (("units", "[4]", "[16]"), ("epochs", 2, 100)):
        assert f"train.networks.plain.{parameter}{new}{old}" in page.text
    for title, end in (("Plots", "Data"), ("Scores", "Parameters changed")):
        part = page.text.split(title, 1)[1].split(end, 1)[0]
        assert "workspace" in part, title
        assert head in part, title
    gate = yaml.safe_load((experiment / "metrics/gate.json").read_text())
    for check in gate["checks"]:
        assert check["reason"] in page.text
    assert "accuracy is " in page.text
    assert "that of logistic regression" in page.text
    for words in ("hidden-1: 4", "epochs", "tensorflow", "public domain, CC0"):
        assert words in page.text


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


@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_three_classes_and_a_regression(workspace: Path, browser: Any, name: str) -> None:
    """The last commit is of another table, so the page shows one run."""
    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    frame.to_csv(workspace / "data/raw/other.csv", index=False)
    infer = ("python", "-m", "commands.infer_schema", "data/raw/other.csv", "--target", "target")
    must(workspace, *infer)
    params = (workspace / "params.yaml").read_text()
    params = params.replace("epochs: 100", "epochs: 2").replace("epochs: auto", "epochs: 2")
    (workspace / "params.yaml").write_text(params)
    must(workspace, "dvc", "repro")
    said = must(workspace, "python", "-m", "commands.report")
    assert said.startswith("report.html: workspace\nNot compared: ")
    assert "is of another table" in said
    plots = opened(browser, workspace / "report.html", 390)
    assert [plot["title"] for plot in plots] == declared(workspace)
    assert all(plot["marks"] for plot in plots)
    page = Page((workspace / "report.html").read_text())
    assert "is of another table: source data/raw/diabetes.csv, target Outcome" in page.text
    assert "data/README.md does not mention other.csv yet" in page.text
