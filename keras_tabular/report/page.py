"""The page of a run with its model card, and the comment on a pull request."""

import re
import sys
from collections.abc import Iterable
from inspect import getmembers, isfunction
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markdown_it import MarkdownIt
from markupsafe import Markup

from keras_tabular.config.schema import Schema
from keras_tabular.core.errors import format_list
from keras_tabular.core.metrics import BASELINES, ROW_SETS, TASKS
from keras_tabular.experiments.comparison import ChangedValue, Comparison, ScoreRow, points
from keras_tabular.experiments.run import LOCK, Run, params_of
from keras_tabular.experiments.verdict import format_checks
from keras_tabular.prediction.drift import DriftReport
from keras_tabular.report import column_pictures, formats, pictures, vega
from keras_tabular.report.formats import number

DATA_CARD = "data/README.md"


def data_card(run: Run) -> Markup:
    """Render what the data card of the run's revision says of the table, without its title."""
    text = run.text(DATA_CARD)
    if run.source not in text:  # it is still of another table
        text = f"`{DATA_CARD}` does not mention `{run.source}` yet."
    without_title = re.sub(r"\A\s*# .*\n", "", text)
    return markdown(re.sub(r"^##", "###", without_title, flags=re.MULTILINE))


def markdown(text: str) -> Markup:
    """Render CommonMark with tables; HTML in it is shown as text, pictures are left out."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    return Markup(reader.render(text))


MAX_COLUMNS = 8  # of a table of rows
MAX_MOVED, MAX_CALM = 24, 6  # columns with a picture: of those that moved, or where none has
UNDECIDED = (
    "Undecided means that the 95% interval of the difference contains 0: these rows cannot tell "
    "which of the two is better."
)
ESCAPED = str.maketrans({"|": "\\|", "<": "&lt;", "[": "&#91;", "@": "&#64;"})


def cell(value: Any) -> str:
    """Escape text in Markdown or a cell there: it makes no tag, link, image or mention."""
    return " ".join(str(value).split()).translate(ESCAPED)


def row(cells: Iterable[Any]) -> str:
    """Format a line of a Markdown table."""
    return f"| {' | '.join(map(cell, cells))} |"


def header(cells: list[Any]) -> str:
    """Format the first two lines of a Markdown table."""
    return f"{row(cells)}\n{row(['---'] * len(cells))}"


def param_rows(params: list[ChangedValue]) -> list[tuple[str, str, str]]:
    """List name, value and value of the base."""
    return [(p.name, formats.parameter(p.value), formats.parameter(p.base)) for p in params]


def network_rows(networks: dict[str, Any]) -> list[tuple[str, str, int, str]]:
    """List name, weight, members and out-of-fold loss of each architecture."""
    return [
        (name, f"{network['weight']:.2f}", network["members"], number(network.get("loss")))
        for name, network in networks.items()
    ]


def setting_rows(networks: dict[str, Any], run: Run) -> list[list[str]]:
    """List each parameter of the networks: its value, after `auto` where a rule chose it."""
    declared = params_of(run.load(LOCK)).get("train", {}).get("networks", {})
    keys = dict.fromkeys(key for network in networks.values() for key in network["params"])

    def describe(name: str, key: str) -> str:
        value = formats.parameter(networks[name]["params"].get(key))
        return f"auto, {value}" if declared.get(name, {}).get(key) == "auto" else value

    return [[key, *(describe(name, key) for name in networks)] for key in keys]


def split_rule(run: Run) -> str:
    """Describe how the test rows were chosen."""
    schema, by = run.schema, params_of(run.load(LOCK)).get("split", {}).get("by", "random")
    return {
        "random": "drawn at random",
        "hash": "chosen by a hash of each row",
        "group": f"all those of some values of {schema.get('group')}",
        "time": f"the latest by {schema.get('time')}",
        "column": f"named by {schema.get('split')}",
        "file": f"those of {format_list(schema.get('test_files') or [])}",
    }[by]


def column_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Describe the columns that the model reads, and the target, in the order of the file.

    Each has a `spark`, a histogram with its `ends` or categories, and `flags`: what is suspicious.
    """
    files, schema, target = comparison.files, comparison.run.schema, comparison.run.target
    profiles = files["profile"].get("column", {})
    treatment = files["networks"].get("columns", {})
    checks = files["validation"].get("checks", {})
    columns = []
    for name in schema.get("columns") or profiles:
        profile, histogram = profiles.get(name, {}), files["columns"].get(name, {})
        missing, rows = profile.get("missing", 0), files["profile"].get("rows", 0)
        ends = [profile[end] for end in ("min", "max") if profile.get(end) is not None]
        flags = []
        if checks.get(f"{name}.leak", {}).get("verdict", "pass") != "pass":
            flags.append("leaks the target?")
        if histogram.get("moved"):
            flags.append(
                "test and training rows differ: total variation distance "
                f"{histogram['distance']:.2f} (sampling noise up to {histogram['by_chance']:.2f})"
            )
        categories = ", ".join(map(str, histogram.get("names") or ()))
        columns.append(
            {
                "name": name,
                "kind": schema.get("columns", {}).get(name, {}).get("kind") or profile.get("kind"),
                "spark": column_pictures.spark(histogram),
                "ends": categories or " to ".join(map(number, ends)),
                "missing": f"{missing / rows:.1%}" if missing and rows else "",
                "treatment": treatment.get(name, "the target" if name == target else "not read"),
                "flags": flags,
            }
        )
    return columns


def weak_slices(slices: dict[str, Any]) -> list[dict[str, Any]]:
    """List the weakest slices: the `name` of each, and its scores `found` and on `test` rows."""
    weakest = slices.get("weakest", [])
    return [
        slice_ | {"name": conditions_of(slice_, " and "), "found": slice_} for slice_ in weakest
    ]


def declared_slices(slices: dict[str, Any]) -> list[dict[str, Any]]:
    """List all rows, and the slices that params.yaml declares; see `weak_slices`."""
    named = {"all rows": {"where": []} | slices["all_rows"]} | slices["declared"]
    return [
        scores
        | {"name": conditions_of(scores, "; ", name), "found": scores.get("cross_validation", {})}
        for name, scores in named.items()
    ]


def conditions_of(scores: dict[str, Any], between: str, *name: str) -> str:
    """Format the name of a slice, if it has one, and its columns with their values."""
    conditions = [f"{column} {values}" for column, values in scores["where"]]
    return formats.with_minus_signs(between.join([*name, *conditions]))


def error_rows(errors: dict[str, Any], comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """List the largest errors as a header and rows: true, predicted, then the first columns."""
    columns = errors["rows"][0]["columns"]
    rank = {row["column"]: n for n, row in enumerate(points(comparison.run, "importance"))}
    names = sorted(columns, key=lambda name: rank.get(name, len(rank)))[:MAX_COLUMNS]
    lines = []
    for error in errors["rows"]:
        predicted = number(error["predicted"])
        if (probability := error.get("probability_of_true")) is not None:
            predicted += f" ({number(probability)} for the true one)"
        values = [number(error["columns"][name]) for name in names]
        lines.append([number(error["true"]), predicted, *values])
    return ["True", "Predicted", *names], lines


def changed_scores(comparison: Comparison) -> tuple[list[ScoreRow], list[ScoreRow]]:
    """List the scores of the test rows that differ from the base's, and those that do not."""
    with_base = [s for s in comparison.scores["test"].values() if s.base]
    same = [s for s in with_base if s.base and s.base.verdict == "same"]
    return [score for score in with_base if score not in same], same


# What they insert into HTML is escaped, unless it is `Markup`.
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
# What templates call: the functions that these modules define, by their names.
for module in (sys.modules[__name__], formats, column_pictures, pictures):
    functions = getmembers(module, isfunction)
    TEMPLATES.filters |= {n: show for n, show in functions if show.__module__ == module.__name__}
TEMPLATES.filters |= {"svg": vega.svg, "format_checks": format_checks, "baseline": BASELINES.get}
TEMPLATES.globals["UNDECIDED"] = UNDECIDED


def drift_page(report: DriftReport, rows: str, schema: Schema) -> str:
    """Render the page of the drift in a file of this name."""
    moved = [name for name, column in report.columns.items() if column.moved][:MAX_MOVED]
    pictured = moved or list(report.columns)[:MAX_CALM]
    return TEMPLATES.get_template("drift.html").render(
        report=report,
        rows=rows,
        target=schema.target,
        moved=bool(moved),
        pictures=[column_pictures.moved(name, report.columns[name]) for name in pictured],
    )


def render(template: str, comparison: Comparison, **sections: Any) -> str:
    """Render a template with a comparison and the other sections that it names."""
    task = TASKS.get(str(comparison.run.schema.get("task")))
    return TEMPLATES.get_template(template).render(
        comparison=comparison,
        run=comparison.run,
        base=comparison.base,
        task=task.label if task else "A model",
        titles=ROW_SETS,
        **sections,
    )
