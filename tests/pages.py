"""What a person sees of a page in a browser."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

WIDTHS = (1280, 768, 390)
SECTIONS = [
    "Scores", "Where it is weak", "What drives it", "What changed", "Plots", "Data", "Training",
    "Model card",
]  # fmt: skip
# What a reader sees of the pictures: how wide each is, its marks, its smallest text in pixels.
DRAWN = """
return [...document.querySelectorAll('figure:has(svg), .standing')].map(figure => {
  const svg = figure.querySelector('svg'), box = svg.getBoundingClientRect();
  const scale = box.width / svg.viewBox.baseVal.width;
  const texts = [...svg.querySelectorAll('text')].filter(t => t.textContent.trim());
  return {
    title: figure.querySelector('figcaption')?.firstChild.textContent ?? 'standing',
    width: box.width, height: box.height,
    marks: [...svg.querySelectorAll('.role-mark path, .role-mark line, .role-mark text')]
      .filter(mark => Object.values(mark.getBoundingClientRect().toJSON()).some(n => n)).length,
    text: Math.min(...texts.map(t => parseFloat(getComputedStyle(t).fontSize) * scale)),
  };
});
"""
# The texts that reach out of the page, or of a box that cuts them, or end in an ellipsis; numbers
# that are broken in two lines.
CUT = r"""
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
  const dots = parent.closest('figure') && text.textContent.includes('…');
  if (out || dots) found.push(text.textContent.trim());
  if (parent.closest('pre, code, svg')) continue;
  const said = text.textContent.replaceAll('\xa0', ' ');
  const number = /(?<![\w.,-])[−+]?\d[\d.,]*%?(?![\w-])/g;
  for (const match of said.matchAll(number)) {
    range.setStart(text, match.index);
    range.setEnd(text, match.index + match[0].length);
    const boxes = [...range.getClientRects()].filter(box => box.width > 0.5);
    if (new Set(boxes.map(box => box.top)).size > 1) found.push(`${match[0]} in two lines`);
  }
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
        self.text += data.replace("\xa0", " ")


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


def shows_all(browser: Any, page: Path, width: int, scheme: str, keep: Path | None = None) -> None:
    """No text of a page is cut or reaches out of it, on the first screen and in all its folds.

    Args:
        keep: where to keep a picture of the first screen.
    """
    opened(browser, page, width, scheme)
    assert browser.execute_script(FOLDED) == [width >= 768] * len(SECTIONS)
    if width < 500:
        assert browser.execute_script("return document.documentElement.scrollHeight") < 2500
    # The answer and its picture are on the first screen.
    bottom = "document.querySelector('.standing').getBoundingClientRect().bottom"
    assert browser.execute_script(f"return {bottom}") < 844
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


def is_whole(page: Path, browser: Any, titles: list[str]) -> None:
    """A report has all its sections and pictures, loads nothing and runs no script."""
    shown = pictures(browser)
    assert shown[0] == "standing"
    start = shown.index(titles[0])
    assert shown[start : start + len(titles)] == titles
    assert "Importance of the columns" in shown
    html = page.read_text()
    assert re.findall("<h2>(.*?)</h2>", html) == SECTIONS
    assert Page(html).loads == []
    assert "script" not in Page(html).tags


OF_CLASSES = ["Confusion", "ROC curve", "Precision and recall", "Calibration"]
