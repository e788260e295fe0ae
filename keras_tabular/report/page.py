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

from keras_tabular.config.schema import Schema
from keras_tabular.core.errors import format_list
from keras_tabular.core.metrics import BASELINES, ROW_SETS, TASKS
from keras_tabular.experiments.comparison import ChangedValue, Comparison, read_points
from keras_tabular.experiments.run import LOCK, Run, locked_params
from keras_tabular.experiments.verdict import format_checks
from keras_tabular.prediction.drift import DriftReport
from keras_tabular.report import column_pictures, formats, pictures, vega
from keras_tabular.report.formats import format_parameter, format_value

DATA_CARD = "data/README.md"
MAX_ERROR_COLUMNS = 8
MAX_DRIFTED_PICTURES, MAX_OTHER_PICTURES = 24, 6
UNDECIDED_NOTE = (
    "The verdict is undecided: the 95% confidence interval (CI) of the difference contains 0, so "
    "these test rows do not show which of the two is better."
)
MARKDOWN_ESCAPES = str.maketrans({"|": "\\|", "<": "&lt;", "[": "&#91;", "@": "&#64;"})


def render(template: str, comparison: Comparison, **sections: Any) -> str:
    """Render a template with a comparison and the other sections that it names."""
    task = TASKS.get(str(comparison.run.schema.get("task")))
    return TEMPLATES.get_template(template).render(
        comparison=comparison,
        run=comparison.run,
        base=comparison.base,
        task=task.label if task else "A model",
        row_set_titles=ROW_SETS,
        **sections,
    )


def render_drift_page(report: DriftReport, file_name: str, schema: Schema) -> str:
    """Render the page about the drift of the rows in a file."""
    drifted = [name for name, column in report.columns.items() if column.moved]
    pictured = drifted[:MAX_DRIFTED_PICTURES] or list(report.columns)[:MAX_OTHER_PICTURES]
    return TEMPLATES.get_template("drift.html").render(
        report=report,
        file_name=file_name,
        target=schema.target,
        has_drift=bool(drifted),
        pictures=[column_pictures.drift_picture(name, report.columns[name]) for name in pictured],
    )


def data_card(run: Run) -> Markup:
    """Render the data card of a run without its title."""
    text = run.text(DATA_CARD)
    if run.source not in text:  # it may still describe another table
        text = f"`{DATA_CARD}` does not mention `{run.source}` yet."
    without_title = re.sub(r"\A\s*# .*\n", "", text)
    return render_markdown(re.sub(r"^##", "###", without_title, flags=re.MULTILINE))


def render_markdown(text: str) -> Markup:
    """Render CommonMark with tables as HTML. HTML in it becomes text, and images are left out."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    return Markup(reader.render(text))


def escape_markdown(value: Any) -> str:
    """Escape text for a line or a cell of Markdown: it makes no tag, link, image or mention."""
    return " ".join(str(value).split()).translate(MARKDOWN_ESCAPES)


def markdown_row(cells: Iterable[Any]) -> str:
    """Format a row of a Markdown table."""
    return f"| {' | '.join(map(escape_markdown, cells))} |"


def markdown_header(cells: list[Any]) -> str:
    """Format the first two lines of a Markdown table."""
    return f"{markdown_row(cells)}\n{markdown_row(['---'] * len(cells))}"


def param_rows(params: list[ChangedValue]) -> list[tuple[str, str, str]]:
    """Return the name of each parameter, its value, and its value in the base."""
    return [(p.name, format_parameter(p.value), format_parameter(p.base)) for p in params]


def network_rows(networks: dict[str, Any]) -> list[tuple[str, str, int, str]]:
    """Return name, weight, number of members and out-of-fold loss of each architecture."""
    return [
        (name, f"{network['weight']:.2f}", network["members"], format_value(network.get("loss")))
        for name, network in networks.items()
    ]


def hyperparameter_rows(networks: dict[str, Any], run: Run) -> list[list[str]]:
    """Return each hyperparameter with its value in each architecture, and whether it was `auto`."""
    declared = locked_params(run.load(LOCK)).get("train", {}).get("networks", {})
    keys = dict.fromkeys(key for network in networks.values() for key in network["params"])

    def describe(name: str, key: str) -> str:
        value = format_parameter(networks[name]["params"].get(key))
        return f"auto, {value}" if declared.get(name, {}).get(key) == "auto" else value

    return [[key, *(describe(name, key) for name in networks)] for key in keys]


def split_rule(run: Run) -> str:
    """Describe how the test rows were chosen."""
    schema, by = run.schema, locked_params(run.load(LOCK)).get("split", {}).get("by", "random")
    return {
        "random": "drawn at random",
        "hash": "chosen by a hash of each row",
        "group": f"all rows with some values of {schema.get('group')}",
        "time": f"the latest rows by {schema.get('time')}",
        "column": f"chosen by the column {schema.get('split')}",
        "file": f"all rows of {format_list(schema.get('test_files') or [])}",
    }[by]


def column_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Describe the columns of the table, in the order of the file.

    Each column has a `spark`, a histogram with its `ends` or categories, and `warnings`.
    """
    files, schema, target = comparison.files, comparison.run.schema, comparison.run.target
    profiles, rows = files["profile"].get("column", {}), files["profile"].get("rows", 0)
    treatment = files["networks"].get("columns", {})
    checks = files["validation"].get("checks", {})
    columns = []
    for name in schema.get("columns") or profiles:
        profile, histogram = profiles.get(name, {}), files["columns"].get(name, {})
        missing = profile.get("missing", 0)
        ends = [profile[end] for end in ("min", "max") if profile.get(end) is not None]
        warnings = []
        if checks.get(f"{name}.leak", {}).get("verdict", "pass") != "pass":
            warnings.append("may leak the target")
        if histogram.get("moved"):
            warnings.append(
                "test and training rows differ: total variation distance "
                f"{histogram['distance']:.2f} (sampling noise up to {histogram['by_chance']:.2f})"
            )
        categories = ", ".join(map(str, histogram.get("names") or ()))
        columns.append(
            {
                "name": name,
                "kind": schema.get("columns", {}).get(name, {}).get("kind") or profile.get("kind"),
                "spark": column_pictures.spark(histogram),
                "ends": categories or " to ".join(map(format_value, ends)),
                "missing": f"{missing / rows:.1%}" if missing and rows else "",
                "treatment": treatment.get(name, "the target" if name == target else "not read"),
                "warnings": warnings,
            }
        )
    return columns


def weakest_slices(slices: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the weakest slices, each with its `name`, its `scores` and those on `test` rows."""
    return [
        {"name": _slice_name(each, " and "), "scores": each, "test": each["test"]}
        for each in slices.get("weakest", [])
    ]


def declared_slices(slices: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all rows and the slices that params.yaml declares, in the form of the weakest ones."""
    by_name = {"all rows": {"where": []} | slices["all_rows"]} | slices["declared"]
    return [
        {
            "name": _slice_name(each, "; ", name),
            "scores": each.get("cross_validation", {}),
            "test": each["test"],
        }
        for name, each in by_name.items()
    ]


def _slice_name(slice_: dict[str, Any], separator: str, *name: str) -> str:
    conditions = [f"{column} {values}" for column, values in slice_["where"]]
    return formats.with_minus_signs(separator.join([*name, *conditions]))


def error_rows(errors: dict[str, Any], comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return a header, and for each of the largest errors its row with the first columns."""
    points = read_points(comparison.run, "importance")
    rank = {point["column"]: n for n, point in enumerate(points)}
    columns = errors["rows"][0]["columns"]
    names = sorted(columns, key=lambda name: rank.get(name, len(rank)))[:MAX_ERROR_COLUMNS]
    rows = []
    for error in errors["rows"]:
        predicted = format_value(error["predicted"])
        if (probability := error.get("probability_of_true")) is not None:
            predicted += f" (probability of the true class: {format_value(probability)})"
        values = [format_value(error["columns"][name]) for name in names]
        rows.append([format_value(error["true"]), predicted, *values])
    return ["True", "Predicted", *names], rows


# Values are escaped in HTML, unless they are `Markup`.
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
# Templates can call every function that these modules define.
for module in (sys.modules[__name__], formats, column_pictures, pictures):
    functions = getmembers(module, isfunction)
    TEMPLATES.filters |= {n: show for n, show in functions if show.__module__ == module.__name__}
TEMPLATES.filters |= {"svg": vega.svg, "format_checks": format_checks, "baseline": BASELINES.get}
TEMPLATES.globals["UNDECIDED_NOTE"] = UNDECIDED_NOTE
