"""The model card as HTML: data, use, limits, how to load it, and where it comes from."""

import re
from typing import Any, NamedTuple

from markdown_it import MarkdownIt

from stages.lib.markup import NOT_THERE, Html, folded, join, number, section, table, tag
from stages.lib.params import input_name
from stages.lib.revisions import Run, hashes_of

REPEATS = {
    "any_cpu": "the same bytes on any x86-64 CPU with AVX2",
    "same_cpu": "the same bytes on one kind of CPU (large layers, or adafactor)",
}


class Card(NamedTuple):
    """What the model card says beyond the run: texts and versions from the same revision."""

    data: str  # Markdown
    model: str  # path
    packages: dict[str, str]


def card_section(run: Run, card: Card) -> Html:
    """The model card."""
    if run.source in card.data:
        about, use, limits = split_card(card.data)
    else:  # it is still of another table
        about, use, limits = f"`data/README.md` does not mention `{run.source}` yet.", "", ""
    commit = run.commit
    seen = run.metrics.get("train", {}).get("rows")
    facts = {
        "Commit": join(
            tag("code", commit.sha) if commit else "none yet",
            tag("small", "and changes that are not committed") if run.uncommitted else None,
        ),
        "Learnt from": f"{number(seen)} rows" if seen else NOT_THERE,
        "Repeats": REPEATS.get(str(run.metrics.get("repeats")), NOT_THERE),
    }
    return section(
        "Model card",
        tag("h3", "Data"),
        markdown(about),
        tag("h3", "Intended use"),
        tag("p", purpose(run)),
        markdown(use),
        tag("h3", "Limits"),
        tag("ul", *(tag("li", line) for line in known_limits(run))),
        markdown(limits),
        tag("h3", "How to load it"),
        loading(run, card.model),
        tag("h3", "Where it comes from"),
        table(["", ""], facts.items(), class_="facts text"),
        folded(
            "Package versions",
            table(["Package", "Version"], card.packages.items(), class_="text"),
        ),
        folded("Hashes of dvc.lock", hashes(run.lock)),
    )


def split_card(text: str) -> tuple[str, str, str]:
    """A data card without its title: what it says of the data, of the use and of limits."""
    parts = re.split(r"^##\s+(.+?)\s*$", re.sub(r"\A\s*# .*\n", "", text), flags=re.MULTILINE)
    named = dict(zip((p.lower() for p in parts[1::2]), parts[2::2], strict=True))
    use, limits = named.pop("intended use", ""), named.pop("limits", "")
    rest = "".join(f"\n\n**{name.capitalize()}**\n\n{body}" for name, body in named.items())
    return parts[0] + rest, use, limits


def markdown(text: str) -> Html:
    """CommonMark with tables; HTML in it is shown as text, pictures are left out."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    return tag("div", Html(reader.render(text)), class_="prose") if text.strip() else Html()


def purpose(run: Run) -> str:
    """What the model gives, from the task."""
    data, target = run.params.get("data", {}), run.target
    gives = {
        "binary": f"the probability that {target} is {data.get('positive')}",
        "multiclass": f"the probability of each class of {target}",
        "regression": f"the value of {target}, in its own units",
    }.get(str(data.get("task")), target)
    return f"For a raw row of the table, gaps included, it gives {gives}."


def known_limits(run: Run) -> list[str]:
    """What the run's own numbers say about how far to trust it."""
    rows = run.metrics.get("test", {}).get("rows")
    lines = [
        f"It is measured on {number(rows)} rows of the table that it was trained on; "
        "other places and times may differ.",
        "It has not seen values outside the ranges in the profile above.",
    ]
    shares = {name: found["rows"] for name, found in run.profile.get("target", {}).items()}
    if shares:
        rare = min(shares, key=lambda name: shares[name])
        lines.append(f"The rarest class, {rare}, has {shares[rare]:,} rows in the whole table.")
    if run.gate.get("verdict") == "fail":
        lines.append("It does not pass its gate.")
    return lines


def loading(run: Run, path: str) -> Html:
    """How to get the file and use it with plain Keras."""
    data = run.params.get("data", {})
    features = {n: c for n, c in data.get("columns", {}).items() if n != run.target}
    texts = {name: "str" for name, column in features.items() if column["kind"] == "category"}
    read = f'"new.csv", dtype={texts}' if texts else '"new.csv"'
    names = {name: input_name(name) for name in features if name != input_name(name)}
    columns = "dict(rows)"
    if texts:
        columns = (
            '{name: column.fillna("").to_numpy(object) if column.dtype.kind not in "biuf" '
            "else column for name, column in rows.items()}"
        )
    commit = f"git checkout {run.commit.sha[:12]}\n" if run.commit and not run.uncommitted else ""
    return join(
        tag("pre", f"{commit}dvc pull {path}"),
        tag(
            "pre",
            "import keras\nimport pandas\n\n"
            f'model = keras.models.load_model("{path}", safe_mode=True)\n'
            f"# a table with the columns {', '.join(features)}\n"
            f"rows = pandas.read_csv({read}){f'.rename(columns={names})' if names else ''}\n"
            f"print(model.predict({columns}))",
        ),
    )


def hashes(lock: dict[str, Any]) -> Html:
    """Path, hash and size of what came in from outside and of all that the stages wrote."""
    outs = hashes_of(lock)
    inputs = {
        path: entry
        for path, entry in hashes_of(lock, of="deps").items()
        if not any(f"{path}/".startswith(f"{out}/") for out in outs)
    }
    return table(
        ["Path", "MD5", "Bytes"],
        [
            [path, tag("code", entry.get("md5")), number(entry.get("size"))]
            for path, entry in [*inputs.items(), *outs.items()]
        ],
        class_="cards text",
    )
