"""The HTML page of a run with its model card, and the comment on a pull request."""

import re
import sys
from collections.abc import Iterable
from inspect import getmembers, isfunction
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markdown_it import MarkdownIt
from markupsafe import Markup

from keras_tabular.config.sections import rule_of_auto
from keras_tabular.core.errors import format_list
from keras_tabular.gate import Verdict
from keras_tabular.report import formats, pictures, vega
from keras_tabular.runs.comparison import Comparison, read_verdict
from keras_tabular.runs.run import Run
from keras_tabular.tasks.metrics import ROW_SETS
from keras_tabular.tasks.task import TASKS

DATA_CARD = "data/README.md"
MAX_ERROR_COLUMNS = 8  # in the table of the largest errors
# What begins a cell, a tag, a link or image, and a mention.
MARKDOWN_ESCAPES = str.maketrans(
    {"|": "\\|", "<": "&lt;", "[": "&#91;", "@": "&#64;"},
)


def render(
    template: str,
    comparison: Comparison,
    verdict: Verdict | None,
    **sections: Any,
) -> str:
    """Render a template with a comparison, a verdict and its other sections."""
    return TEMPLATES.get_template(template).render(
        comparison=comparison,
        verdict=verdict,
        base_verdict=read_verdict(comparison.base) if comparison.base else None,
        run=comparison.run,
        base=comparison.base,
        task=TASKS[comparison.run.schema["task"]],
        row_set_titles=ROW_SETS,
        **sections,
    )


def data_card(run: Run) -> Markup:
    """Render the data card of a run without its title."""
    text = run.read(DATA_CARD)
    if run.source not in text:  # it may still describe another table
        text = f"`{DATA_CARD}` does not mention `{run.source}` yet."
    text = re.sub(r"\A\s*# .*\n", "", text)  # the title
    text = re.sub(r"^##", "###", text, flags=re.MULTILINE)
    return render_markdown(text)


def render_markdown(text: str) -> Markup:
    """Render CommonMark with tables as HTML.

    HTML in it becomes text, and images are left out.
    """
    reader = MarkdownIt("commonmark", {"html": False})
    reader.enable("table").disable("image")
    return Markup(reader.render(text))


def escape_markdown(value: Any) -> str:
    """Escape text for a line or a cell of Markdown.

    It makes no tag, link, image or mention.
    """
    return " ".join(str(value).split()).translate(MARKDOWN_ESCAPES)


def markdown_row(cells: Iterable[Any]) -> str:
    r"""Format a row of a Markdown table.

    >>> markdown_row(["a|b", "<b>\nc", 3])
    '| a\\|b | &lt;b> c | 3 |'
    """
    texts = map(escape_markdown, cells)
    return f"| {' | '.join(texts)} |"


def important_columns(names: Iterable[str], run: Run) -> list[str]:
    """Return the most important of these columns, the most important one first."""
    points = run.read_points("importance")
    rank = {point["column"]: n for n, point in enumerate(points)}
    ranked = sorted(names, key=lambda name: rank.get(name, len(rank)))
    return ranked[:MAX_ERROR_COLUMNS]


# Values are escaped in HTML, unless they are `Markup`.
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
# Templates can call every function of these modules.
for module in (sys.modules[__name__], formats, pictures):
    TEMPLATES.filters |= dict(getmembers(module, isfunction))
TEMPLATES.filters |= {"svg": vega.svg, "format_list": format_list}
TEMPLATES.globals["rule_of_auto"] = rule_of_auto
