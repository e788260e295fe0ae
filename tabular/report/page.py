"""The page of a run and the comment on a pull request, from their templates."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from tabular.errors import listed
from tabular.metrics import ROWS, TASKS
from tabular.report import charts, formats
from tabular.runs.comparison import Changed, Comparison
from tabular.runs.lock import LOCK, params_of
from tabular.runs.run import Run

ESCAPED = str.maketrans({"|": "\\|", "<": "&lt;", "[": "&#91;", "@": "&#64;"})


def cell(value: Any) -> str:
    """Text in Markdown, or in a cell of a table there: it makes no tag, link, image or mention."""
    return " ".join(str(value).split()).translate(ESCAPED)


def row(cells: Iterable[Any]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(map(cell, cells))} |"


def header(cells: list[Any]) -> str:
    """The first two lines of a Markdown table."""
    return f"{row(cells)}\n{row(['---'] * len(cells))}"


def param_rows(params: list[Changed]) -> list[tuple[str, str, str]]:
    """Name, value and value of the base."""
    return [(p.name, formats.parameter(p.value), formats.parameter(p.base)) for p in params]


def check_rows(checks: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Name, verdict and failed rows; the name of a column stays as it is in `BMI.rare_class`."""
    return [
        (f"{column}: {name.replace('_', ' ')}", check["verdict"], check["failed_rows"])
        for key, check in checks.items()
        for column, _, name in [key.rpartition(".")]
    ]


def network_rows(networks: dict[str, Any]) -> list[tuple[str, str, int, str]]:
    """Name, weight, number of members and out-of-fold loss of each kind of network."""
    return [
        (name, f"{of['weight']:.2f}", of["members"], formats.number(of.get("loss")))
        for name, of in networks.items()
    ]


def setting_rows(networks: dict[str, Any], run: Run) -> list[list[str]]:
    """A row for each parameter of a network: its value, after `auto` where a rule chose it."""
    declared = params_of(run.load(LOCK)).get("train", {}).get("networks", {})
    keys = dict.fromkeys(key for of in networks.values() for key in of["params"])

    def shown(name: str, key: str) -> str:
        value = formats.parameter(networks[name]["params"].get(key))
        return f"auto, {value}" if declared.get(name, {}).get(key) == "auto" else value

    return [[key, *(shown(name, key) for name in networks)] for key in keys]


def split_rule(run: Run) -> str:
    """How the test rows were chosen, in words."""
    by = params_of(run.load(LOCK)).get("split", {}).get("by", "random")
    return {
        "hash": "chosen by a hash of each row",
        "group": f"all those of some values of {run.schema.get('group')}",
        "time": f"the latest by {run.schema.get('time')}",
        "column": f"named by {run.schema.get('split')}",
        "file": f"those of {listed(run.schema.get('test_files') or [])}",
    }.get(by, "drawn at random")


# What they insert into HTML and SVG is escaped, unless it is `Markup`.
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=select_autoescape(["html", "svg"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
for show in (
    *(formats.number, formats.other, formats.signed, formats.baseline, formats.paired),
    *(
        formats.range_of,
        formats.origin,
        formats.differences,
        formats.main_score,
        charts.labels_in,
        charts.svg,
    ),
    *(cell, row, header, param_rows, check_rows, network_rows, setting_rows, split_rule),
):
    TEMPLATES.filters[show.__name__] = show


def render(template: str, comparison: Comparison, **sections: Any) -> str:
    """A template with a comparison and the other sections that it names."""
    task = TASKS.get(str(comparison.run.schema.get("task")))
    return TEMPLATES.get_template(template).render(
        comparison=comparison,
        run=comparison.run,
        base=comparison.base,
        task=task.label if task else "A model",
        titles=ROWS,
        **sections,
    )
