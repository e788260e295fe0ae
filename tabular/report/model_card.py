"""The model card: data, use, limits, how to load the model, and where it comes from."""

import re
import tomllib
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup

from tabular.config.schema import EPOCHS, input_name
from tabular.report.formats import number
from tabular.runs.comparison import locked_versions
from tabular.runs.lock import LOCK, inputs, outputs
from tabular.runs.run import Run

REPRODUCIBILITY = {
    "any_cpu": "the same bytes on any x86-64 CPU with AVX2",
    "same_cpu": "the same bytes on one kind of CPU",
}


def model_card(run: Run, model: Path, data_card: Path) -> dict[str, Any]:
    """What model_card.html names; texts, locked packages and hashes are of the run's revision."""
    text = run.text(data_card)
    about, use, limits = split_card(text)
    if run.source not in text:  # it is still of another table
        about, use, limits = f"`{data_card}` does not mention `{run.source}` yet.", "", ""
    columns = run.schema.get("columns") or {}
    unseen = {run.target, *(run.schema.get(role) for role in ("group", "split", "weight"))}
    unseen |= set(run.schema.get("ignore") or [])
    features = {name: column for name, column in columns.items() if name not in unseen}
    lock, classes = run.load(LOCK), run.load(run.files["profile"]).get("target") or {}
    return {
        "about": markdown(about),
        "use": markdown(use),
        "limits": markdown(limits),
        "classes": {name: of["rows"] for name, of in classes.items()},
        "model": model,
        "features": list(features),
        # As pandas takes them: the type of columns of text, and the names of the model's inputs.
        "dtype": {
            name: "str"
            for name, column in features.items()
            if column["kind"] in ("category", "text", "datetime")
            and column.get("format") not in EPOCHS
        },
        "seconds": [
            line for name, column in features.items() if (line := in_seconds(name, column))
        ],
        "renamed": {name: input_name(name) for name in features if name != input_name(name)},
        "version": run.scores.get("version"),
        "repeats": REPRODUCIBILITY.get(str(run.scores.get("repeats"))),
        "packages": packages(run.text("pyproject.toml"), locked_versions(run)),
        "hashes": [
            (path, entry.get("md5"), number(entry.get("size")))
            for path, entry in [*inputs(lock).items(), *outputs(lock).items()]
        ],
    }


def in_seconds(name: str, column: dict[str, Any]) -> str:
    """The line of Python that makes of a datetime column what the model takes; empty for others."""
    form, place = column.get("format"), f"rows[{input_name(name)!r}]"
    if column["kind"] != "datetime" or form == "epoch":
        return ""
    if form in EPOCHS:
        return f"{place} /= {EPOCHS[form]}"
    zone = column.get("timezone")
    read = f"pandas.to_datetime({place}, format={form or 'ISO8601'!r}"
    read += f").dt.tz_localize({zone!r})" if zone else ", utc=True)"
    return f'{place} = ({read} - pandas.Timestamp(0, tz="UTC")).dt.total_seconds()'


def packages(pyproject: str, locked: dict[str, str]) -> list[tuple[str, str]]:
    """The locked versions of Keras and of the packages that the project declares."""
    declared = tomllib.loads(pyproject).get("project", {}).get("dependencies", [])
    names = {re.split(r"[^\w.-]", name)[0] for name in declared} | {"keras"}
    return [(name, version) for name, version in locked.items() if name in names]


def split_card(text: str) -> tuple[str, str, str]:
    """A data card without its title: what it says of the data, of the use and of limits."""
    parts = re.split(r"^##\s+(.+?)\s*$", re.sub(r"\A\s*# .*\n", "", text), flags=re.MULTILINE)
    named = dict(zip((p.lower() for p in parts[1::2]), parts[2::2], strict=True))
    use, limits = named.pop("intended use", ""), named.pop("limits", "")
    rest = "".join(f"\n\n**{name.capitalize()}**\n\n{body}" for name, body in named.items())
    return parts[0] + rest, use, limits


def markdown(text: str) -> Markup:
    """CommonMark with tables; HTML in it is shown as text, pictures are left out."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    return Markup(reader.render(text))
