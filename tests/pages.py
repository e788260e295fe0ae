"""Check in a browser that a page can be read at a desk and on a phone."""

import base64
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

from tests.commands import wait_until

VIEWS = ((1280, "light"), (390, "dark"))
CLASSIFICATION_PICTURES = ["Confusion matrix", "ROC curve", "Calibration"]
SECTIONS = ["Scores", "Where the errors are larger", "What drives it", "What changed"]
SECTIONS += ["Plots", "Data", "Training", "Model card"]
PICTURES_SCRIPT = Path(__file__).with_name("pictures.js").read_text()
CUT_TEXTS_SCRIPT = Path(__file__).with_name("cut_texts.js").read_text()
UNFOLD_SCRIPT = (
    "document.querySelectorAll('details').forEach(details => { details.open = true; })"
)
VISIBLE_SECTIONS_SCRIPT = """
return [...document.querySelectorAll('.fold')].map(
  fold => fold.querySelector('.inside').checkVisibility({contentVisibilityAuto: true}));
"""
PAGE_SCRIPT = Path(__file__).with_name("page.js").read_text()
AXE_SCRIPT = "axe.run().then(results => arguments[0](results.violations))"


class Page(HTMLParser):
    """The text of a page, its elements, and the files that it would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.tags = list[str]()
        self.loads = list[str]()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        links = [values.get("src"), values.get("xlink:href")]
        links += [values.get("href")] if tag in ("link", "image", "use") else []
        self.loads += [
            link for link in links if link and not link.startswith(("#", "data:"))
        ]

    def handle_data(self, data: str) -> None:
        self.text += data.replace("\xa0", " ")


def open_page(
    browser: Any,
    address: str,
    width: int,
    scheme: str = "light",
) -> None:
    """Open a page in a window of this width, without an error of the browser."""
    set_view(browser, width, scheme)
    browser.get("about:blank")
    browser.get_log("browser")  # of the page before
    browser.get(address)
    assert browser.get_log("browser") == []


def set_view(browser: Any, width: int, scheme: str = "light") -> None:
    """Set the width of the window, and light or dark colors."""
    size = {
        "width": width,
        "height": 844,
        "deviceScaleFactor": 1,
        "mobile": width < 500,
    }
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    colors = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": colors})


def take_screenshot(browser: Any, file: Path) -> None:
    """Write a picture of the first screen."""
    file.parent.mkdir(parents=True, exist_ok=True)
    shot = browser.execute_cdp_cmd(
        "Page.captureScreenshot",
        {"format": "webp", "quality": 80},
    )
    file.write_bytes(base64.b64decode(shot["data"]))


def picture_titles(browser: Any) -> list[str]:
    """Return the titles of all pictures, and check that each picture can be read."""
    browser.execute_script(UNFOLD_SCRIPT)
    pictures = list(browser.execute_script(PICTURES_SCRIPT))
    for picture in pictures:
        least = {"width": 280, "height": 60, "marks": 1, "text": 10.5}
        assert all(picture[key] >= value for key, value in least.items()), picture
    return [picture["title"] for picture in pictures]


def check_layout(
    browser: Any,
    page: Path,
    width: int,
    scheme: str,
    screenshots: Path | None = None,
) -> None:
    """Check that no text of a page is cut, also in folded sections.

    Args:
        screenshots: Folder for a screenshot of the first screen.
    """
    open_page(browser, page.as_uri(), width, scheme)
    is_phone = width < 500
    visible = browser.execute_script(VISIBLE_SECTIONS_SCRIPT)
    assert visible == [not is_phone] * len(SECTIONS)
    # The verdict and the score intervals are on the first screen.
    bottom = "document.querySelector('.score-intervals').getBoundingClientRect().bottom"
    assert browser.execute_script(f"return {bottom}") < 844
    if screenshots:
        take_screenshot(browser, screenshots / f"{page.stem}-{width}-{scheme}.webp")
    if is_phone:  # a link in the contents unfolds its section
        height = "return document.documentElement.scrollHeight"
        assert browser.execute_script(height) < 2500
        click = "document.querySelector('nav a[href=\"#data\"]').click()"
        browser.execute_script(click)
        assert browser.execute_script(VISIBLE_SECTIONS_SCRIPT)[SECTIONS.index("Data")]
    browser.execute_script(UNFOLD_SCRIPT)
    check_texts(browser, width)
    background = browser.execute_script(
        "return getComputedStyle(document.body).backgroundColor",
    )
    red, green, blue, *_ = re.findall(r"\d+", background)
    is_dark = int(red) + int(green) + int(blue) < 384
    assert is_dark == (scheme == "dark")


def check_texts(browser: Any, width: int) -> None:
    """Check that no text is cut, and that nothing is wider than the window."""
    text_width = "return document.documentElement.scrollWidth"
    assert browser.execute_script(text_width) <= width
    assert browser.execute_script(CUT_TEXTS_SCRIPT) == []


def check_content(page: Path, browser: Any, titles: list[str]) -> None:
    """Check the sections and pictures of a report, which loads and runs nothing."""
    all_titles = picture_titles(browser)
    assert all_titles[0] == "score intervals"
    start = all_titles.index(titles[0])
    assert all_titles[start : start + len(titles)] == titles
    assert "Importance of the columns" in all_titles
    html = page.read_text()
    assert re.findall("<h2>(.*?)</h2>", html) == SECTIONS
    assert Page(html).loads == []
    assert "script" not in Page(html).tags


class PageOfModel:
    """The page of a model in a browser.

    Args:
        address: Where a server has the page.
        script: What runs before the scripts of the page, after page.js.
    """

    def __init__(
        self,
        browser: Any,
        address: str,
        script: str = "",
        width: int = 1280,
    ) -> None:
        self.browser = browser
        self.address = address
        added = {"source": PAGE_SCRIPT + script}
        added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", added)
        open_page(browser, address, width)
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
        self.wait()

    def wait(self, condition: str = "tests.isAnswered()") -> None:
        """Wait for a condition, or for the answer to the case in the form."""
        wait_until(lambda: self.run(f"return {condition}"), seconds=60)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def text(self, name: str, part: str = "textContent") -> str:
        """Return the text of an element."""
        return self.run(f"return $('{name}').{part}").replace("\xa0", " ")

    @property
    def value(self) -> str:
        """The prediction with all its digits."""
        return self.text("value", "value")

    @property
    def row(self) -> dict[str, Any]:
        """The case as the page shows it for a program."""
        return json.loads(self.text("json"))

    def field(self, name: str, part: str) -> Any:
        return self.run(f"return fields.get(arguments[0]).{part}", name)

    def type(self, name: str, text: str) -> None:
        """Type a text into the field of a column, instead of its text."""
        control = self.field(name, "control")
        control.clear()
        control.send_keys(text)

    def enter(self, name: str, text: str) -> None:
        """Type a text into the field of a column, and wait for the answer."""
        self.type(name, text)
        self.wait()

    def click(self, name: str) -> None:
        self.run(f"$('{name}').click()")
        self.wait()

    def check_accessibility(self) -> None:
        """Check that axe-core finds no violation."""
        self.run(files("axe_core_python").joinpath("axe.min.js").read_text())
        violations = self.browser.execute_async_script(AXE_SCRIPT)
        assert [(each["id"], each["nodes"][0]["html"]) for each in violations] == []
