"""The report's sections as HTML, each from what one or two runs say."""

import re
from collections.abc import Iterable
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import vl_convert
from markdown_it import MarkdownIt

from stages.lib import drawing
from stages.lib.markup import Html, join, tag
from stages.lib.revisions import Commit, changes, flat, hashes_of, params_of

# Each score in words, and whether more of it is better.
SCORES = {
    "accuracy": ("Accuracy", True),
    "roc_auc": ("ROC AUC", True),
    "average_precision": ("Average precision", True),
    "precision": ("Precision", True),
    "recall": ("Recall", True),
    "f1": ("F1", True),
    "brier": ("Brier score", False),
    "mae": ("Mean absolute error", False),
    "rmse": ("Root mean squared error", False),
    "r2": ("R²", True),
    "loss": ("Loss", False),
}
AVERAGES = {"macro": "each class alike", "weighted": "each row alike"}
SETS = {
    "cross_validation": "Cross-validation",
    "validation": "Validation rows",
    "train": "Training rows",
}
REPEATS = {
    "any_cpu": "the same bytes on any x86-64 CPU with AVX2",
    "same_cpu": "the same bytes on one kind of CPU; the layers are too large for more",
}
FEW = 12  # columns of a table that are shown without a click
NOT_THERE = "–"
# A plot is drawn at the width of a phone, so that its text is not made smaller there.
PLOT_STYLE = {
    "aria": False,  # or each point of it is read aloud
    "background": None,
    "font": "system-ui, Liberation Sans, sans-serif",
    "view": {"stroke": None},
    "axis": {
        **{"labelFontSize": 12, "titleFontSize": 13, "titleFontWeight": "normal"},
        **{"labelColor": "currentColor", "titleColor": "currentColor"},
        **{"gridColor": "#8883", "domainColor": "#888", "tickColor": "#888"},
    },
    "axisX": {"labelAngle": 0, "labelLimit": 90},
    "axisY": {"labelLimit": 110},
    "legend": {
        **{"orient": "bottom", "title": None, "columns": 2, "labelLimit": 130},
        **{"labelFontSize": 12, "labelColor": "currentColor", "symbolStrokeWidth": 2},
    },
    "header": {"title": None, "labelFontSize": 13, "labelColor": "currentColor"},
    "text": {"fontSize": 14},
}


class Run(NamedTuple):
    """What a revision says; a mapping is empty where the revision has no such file."""

    label: str
    commit: Commit | None  # that it is, or that the workspace stands on
    is_workspace: bool
    metrics: dict[str, Any]
    gate: dict[str, Any]
    profile: dict[str, Any]
    validation: dict[str, Any]
    params_file: dict[str, Any]
    lock: dict[str, Any]

    @property
    def params(self) -> dict[str, Any]:
        """Those that the results were made with."""
        return params_of(self.lock) or self.params_file

    @property
    def test(self) -> dict[str, float]:
        """The scores of the test rows by their dotted names."""
        return scores_of(self.metrics.get("test", {}))


def scores_of(found: dict[str, Any]) -> dict[str, float]:
    """The numbers among the scores of some rows, in the order in which they are read."""
    numbers = {k: v for k, v in flat(found) if isinstance(v, int | float) and k != "rows"}
    order = [*SCORES, *(f"{average}.{score}" for average in AVERAGES for score in SCORES)]
    known = {key: numbers.pop(key) for key in order if key in numbers}
    return known | numbers


def score_words(key: str) -> tuple[Html, bool | None]:
    """A score's name for a reader, and whether more is better; None where that is not known."""
    average, _, name = key.rpartition(".")
    words, better = SCORES.get(name, (key.replace("_", " ").replace(".", ", "), None))
    if name not in SCORES or not average:
        return join(words), better
    return join(words, " ", tag("small", AVERAGES.get(average, average))), better


def number(value: Any) -> str:
    """A number as the page shows it: four decimals, or five digits of a large one."""
    if value is None:
        return NOT_THERE
    if isinstance(value, bool | int):
        return f"{value:,}"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.5g}"


def compared(value: float, other: float | None, more_is_better: bool | None) -> Html:
    """Another's score, and how much better or worse than it `value` is: a sign, a word, a colour."""
    if other is None:
        return Html(NOT_THERE)
    difference = value - other
    if number(value) == number(other):
        return join(number(other), tag("small", "same"))
    sign = "+" if difference > 0 else "−"
    amount = f"{sign}{number(abs(difference))}"
    if more_is_better is None:
        return join(number(other), tag("small", amount))
    word = "better" if (difference > 0) == more_is_better else "worse"
    return join(number(other), tag("small", amount, " ", word, class_=word))


def table(header: Iterable[Any], rows: Iterable[Iterable[Any]], class_: str = "cards") -> Html:
    """A table whose rows become cards on a phone; the first cell of a row is its header."""
    names = list(header)
    body = []
    for row in rows:
        first, *cells = row
        body.append(
            tag(
                "tr",
                tag("th", first, scope="row"),
                *(
                    tag("td", cell, data_label=re.sub(r"<[^>]*>", "", name))
                    for name, cell in zip(names[1:], cells, strict=True)
                ),
            )
        )
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in names)))
    return tag("table", head, tag("tbody", *body), class_=class_)


def section(title: str, *children: Any) -> Html:
    """A section with its headline; its id is the title in small letters."""
    return tag("section", tag("h2", title), *children, id=title.lower().replace(" ", "-"))


def folded(summary: Any, *children: Any, is_open: bool = False) -> Html:
    """What is shown on a click."""
    return tag("details", tag("summary", summary), *children, open=is_open)


def heading(run: Run, other: Run | None, note: str) -> Html:
    """What the page is about, and which runs it shows."""
    data = run.params.get("data", {})
    target, source = data.get("target", "?"), Path(str(data.get("source", "?"))).name
    return tag(
        "header",
        tag("h1", target),
        tag("p", f"{data.get('task', 'model')} from {source}", class_="soft"),
        tag("p", tag("b", run.label, class_="this"), " ", tag("small", origin(run))),
        tag("p", tag("b", other.label, class_="other"), " ", tag("small", origin(other)))
        if other
        else None,
        tag("p", note, class_="soft") if note else None,
        tag("p", stale, class_="note") if (stale := unfinished(run)) else None,
    )


def origin(run: Run) -> str:
    """Where a run's files come from."""
    if not run.commit:
        return "files that are in no commit yet"
    stands = f"{run.commit.sha[:7]}, {run.commit.date}: {run.commit.subject}"
    return f"files as they are now, on {stands}" if run.is_workspace else stands


def unfinished(run: Run) -> str:
    """A warning where params.yaml is not what the results were made with."""
    made_with = params_of(run.lock)
    written = {key: run.params_file[key] for key in made_with if key in run.params_file}
    names = list(changes(made_with, written))
    if not names:
        return ""
    return (
        f"params.yaml has changed since these results were made ({', '.join(names)}); "
        "`dvc repro` brings them up to date."
    )


def verdict(run: Run) -> Html:
    """The gate's word and the reason of each of its lines, under the main score."""
    checks = run.gate.get("checks", [])
    word = run.gate.get("verdict")
    signs = {"pass": "✓", "fail": "✗"}
    lines = [
        tag(
            "li",
            tag("b", signs.get(check.get("verdict"), "–"), class_=check.get("verdict")),
            f"{check.get('verdict')}: " if check.get("verdict") not in signs else None,
            check.get("reason") or check.get("rule"),
        )
        for check in checks
    ]
    shown = {"pass": "✓ Pass", "fail": "✗ Fail"}.get(str(word), "No verdict")
    why_not = "This run has no metrics/gate.json, so no gate has judged it."
    return section(
        "Verdict",
        tag(
            "div",
            tag("p", shown, class_="word"),
            tag("p", main_score(run)),
            tag("ul", *lines) if lines else None,
            tag("p", why_not, class_="soft") if word is None else None,
            class_=f"verdict {word or 'none'}",
        ),
    )


def main_score(run: Run) -> str:
    """The score that evaluate prints, in a sentence."""
    scores = run.test
    key = next((key for key in ("accuracy", "mae") if key in scores), None)
    if key is None:
        return "This run has no scores of test rows."
    words = SCORES[key][0]
    rows = run.metrics["test"].get("rows")
    sentence = f"{words} {number(scores[key])} on {number(rows)} test rows"
    if f"{key}_low" in scores:
        low, high = number(scores[f"{key}_low"]), number(scores[f"{key}_high"])
        sentence += f" (95 % interval {low} to {high})"
    return f"{sentence}."


def score_section(run: Run, other: Run | None) -> Html:
    """The test scores beside the other revision's and the baselines'; then those of other rows."""
    scores = run.test
    baselines = {
        name: scores_of(found)
        for name, found in sorted(run.metrics.get("baseline", {}).items(), key=lambda b: b[0])
    }
    theirs = other.test if other else {}
    rows = []
    for key, value in scores.items():
        if key.endswith(("_low", "_high")):
            continue
        words, more = score_words(key)
        interval = None
        if f"{key}_low" in scores and f"{key}_high" in scores:
            interval = f"{number(scores[f'{key}_low'])} to {number(scores[f'{key}_high'])}"
        mine = join(tag("b", number(value)), tag("small", interval) if interval else None)
        beside = [theirs] if other else []
        beside += baselines.values()
        rows.append([words, mine, *(compared(value, b.get(key), more) for b in beside)])
    header: list[Any] = ["Score", tag("span", run.label, class_="this")]
    header += [tag("span", other.label, class_="other")] if other else []
    header += [name.replace("_", " ") for name in baselines]
    count = run.metrics.get("test", {}).get("rows")
    return section(
        "Scores",
        tag("p", f"Of {number(count)} test rows, which training never saw. ", Html(SCORES_READ)),
        tag("p", different_rows(run, other), class_="note") if different_rows(run, other) else None,
        table(header, rows),
        other_rows(run, other),
    )


SCORES_READ = (
    "Better and worse say how this run compares with the column. "
    "Under a score: its 95&nbsp;% interval; a difference well inside it may be chance."
)


def different_rows(run: Run, other: Run | None) -> str:
    """A warning where the two runs were not scored on the same rows."""
    if other is None:
        return ""
    mine, theirs = (
        [out.get("md5") for out in r.lock.get("stages", {}).get("split", {}).get("outs", [])]
        for r in (run, other)
    )
    if mine == theirs or not (mine and theirs):
        return ""
    return (
        "The two runs did not divide the same rows in the same way: "
        "their test rows differ, and so their scores compare only roughly."
    )


def other_rows(run: Run, other: Run | None) -> Html | None:
    """Scores of the rows that training saw, and of the folds or validation rows, on a click."""
    found = {name: run.metrics.get(name, {}) for name in SETS}
    if found["validation"] == found["cross_validation"]:
        del found["validation"]  # the folds are what watched the training
    found = {name: rows for name, rows in found.items() if scores_of(rows)}
    if not found:
        return None
    theirs = {name: scores_of(other.metrics.get(name, {})) for name in found} if other else {}
    keys = list(dict.fromkeys(key for rows in found.values() for key in scores_of(rows)))
    rows_of_table = []
    for key in keys:
        words, more = score_words(key)
        cells = []
        for name, rows in found.items():
            value = scores_of(rows).get(key)
            was = theirs.get(name, {}).get(key)
            cell = join(tag("b", number(value)))
            if value is not None and was is not None and other:
                cell = join(cell, tag("small", f"{other.label}: ", compared(value, was, more)))
            cells.append(cell)
        rows_of_table.append([words, *cells])
    header = ["Score", *(f"{SETS[name]} ({number(rows.get('rows'))})" for name, rows in found.items())]
    return folded("Scores of other rows", table(header, rows_of_table))


def param_section(run: Run, other: Run | None) -> Html:
    """What differs between the parameters that the two runs were made with."""
    if other is None:
        return section("Parameters changed", tag("p", "No other run to compare with."))
    differing = changes(other.params, run.params)
    if not differing:
        return section("Parameters changed", tag("p", f"None: the same as in {other.label}."))
    rows = [
        [tag("code", name), tag("code", shown(new)), tag("code", shown(old))]
        for name, (old, new) in differing.items()
    ]
    header = [
        "Parameter",
        tag("span", run.label, class_="this"),
        tag("span", other.label, class_="other"),
    ]
    listed = table(header, rows, class_="cards text")
    if len(rows) > 2 * FEW:
        listed = folded(f"{len(rows)} parameters", listed)
    return section("Parameters changed", listed)


def shown(value: Any) -> str:
    """A parameter as params.yaml writes it."""
    if value is None:
        return NOT_THERE
    return {True: "true", False: "false"}.get(value, str(value)) if value in (True, False) and isinstance(value, bool) else str(value)


def plot_section(specs: dict[str, dict[str, Any]]) -> Html:
    """The plots as pictures without script: they print, scale, and need nothing."""
    figures = [
        tag("figure", tag("figcaption", title), picture(title, spec, place))
        for place, (title, spec) in enumerate(specs.items())
    ]
    return section("Plots", tag("div", *figures, class_="plots"))


def picture(title: str, spec: dict[str, Any], place: int) -> Html:
    """A Vega-Lite specification as SVG for the width of a phone, without its title."""
    spec = {key: value for key, value in spec.items() if key != "title"}
    for param in spec.get("params", []):
        if param.get("bind") == {"input": "checkbox"}:
            param["value"] = True  # nobody can tick it here
    facet = spec.get("facet", {})
    if "column" in facet and not facet.get("row"):
        spec |= {"facet": facet["column"], "columns": 1}
    svg = vl_convert.vegalite_to_svg(spec, vl_version="5.21", config=PLOT_STYLE)
    # Several pictures share the page, and their ids must not.
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>plot{place}-", svg)
    return Html(svg.replace("<svg ", f'<svg role="img" aria-label="{join(title)}" ', 1))


def data_section(run: Run, other: Run | None) -> Html:
    """The profile of the table, and what validation found."""
    profile = run.profile
    if not profile:
        return section("Data", tag("p", "This run has no profile of its data."))
    rows = profile.get("rows", 0)
    facts = [tag("p", f"{rows:,} rows, {profile.get('columns', 0):,} columns.")]
    if other and other.profile:
        differing = changes(other.profile, profile)
        facts.append(
            tag(
                "p",
                f"The same as in {other.label}."
                if not differing
                else f"Differs from {other.label}: " + "; ".join(described(differing)),
                class_="soft" if not differing else "note",
            )
        )
    if profile.get("target"):
        target = str(run.params.get("data", {}).get("target", "target"))
        facts.append(
            table(
                [target, "Rows", "Share"],
                [
                    [
                        name,
                        number(found["rows"]),
                        join(
                            f"{found['share']:.1%}",
                            tag("span", class_="bar", style=f"width:{found['share']:.1%}"),
                        ),
                    ]
                    for name, found in profile["target"].items()
                ],
                class_="",
            )
        )
    columns = [
        [
            join(name, tag("small", found.get("kind"))),
            missing(found.get("missing", 0), rows),
            number(found.get("distinct")),
            spread(found),
            f"{found['min']:,.5g} to {found['max']:,.5g}" if "min" in found else "",
        ]
        for name, found in profile.get("column", {}).items()
    ]
    header = ["Column", "Missing", "Different values", "Mean ± deviation", "Range"]
    listed = table(header, columns)
    return section(
        "Data",
        *facts,
        folded(f"Profile of {len(columns)} columns", listed, is_open=len(columns) <= FEW),
        tag("h3", "Validation"),
        validation(run.validation),
    )


def described(differing: dict[str, tuple[Any, Any]]) -> list[str]:
    """The first few differences of two profiles in words."""
    words = [
        f"{name.removeprefix('column.').replace('.', ', ')} {number_or_text(old)} → {number_or_text(new)}"
        for name, (old, new) in differing.items()
    ]
    return words if len(words) <= FEW else [*words[:FEW], f"and {len(words) - FEW} more"]


def number_or_text(value: Any) -> str:
    """A value of the profile."""
    return number(value) if value is None or isinstance(value, int | float) else str(value)


def missing(count: int, rows: int) -> str:
    """How many values are missing, and their share."""
    return f"{count:,} ({count / rows:.1%})" if count and rows else "none"


def spread(found: dict[str, Any]) -> str:
    """Mean and standard deviation of a column that has them."""
    if "mean" not in found:
        return ""
    return f"{found['mean']:,.4g} ± {found.get('standard_deviation', 0):,.3g}"


def validation(report: dict[str, Any]) -> Html:
    """The checks that did not pass, and all of them on a click."""
    checks = report.get("checks", {})
    if not checks:
        return tag("p", "This run has no validation report.")
    failed = {name: check for name, check in checks.items() if check["verdict"] != "pass"}
    summary = f"{len(checks)} checks of {report.get('rows', 0):,} rows: "
    summary += f"{len(failed)} found something." if failed else "all passed."

    def listed(some: dict[str, Any]) -> Html:
        return table(
            ["Check", "Verdict", "Rows"],
            [
                [
                    name.replace(".", ": ").replace("_", " ") if "." not in name else check_name(name),
                    tag("span", check["verdict"], class_=check["verdict"]),
                    number(check["failed_rows"]),
                ]
                for name, check in some.items()
            ],
            class_="",
        )

    return join(
        tag("p", summary),
        listed(failed) if failed else None,
        folded("All checks", listed(checks)),
    )


def check_name(name: str) -> str:
    """`BMI.rare_class` in words; the name of a column stays as it is."""
    column, _, check = name.rpartition(".")
    return f"{column}: {check.replace('_', ' ')}"


def network_section(model: bytes | None, missing_because: str) -> Html:
    """The picture of the saved model."""
    if model is None:
        return section("Network", tag("p", missing_because))
    try:
        return section("Network", drawing.draw(drawing.read_config(model)))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        return section("Network", tag("p", f"The saved model cannot be drawn: {error!r}"))


class Card(NamedTuple):
    """What the model card says beyond the run: texts and versions from the same revision."""

    data: str  # Markdown
    purpose: str
    model: str  # path
    packages: dict[str, str]


def card_section(run: Run, card: Card) -> Html:
    """The model card."""
    params = run.params
    data = params.get("data", {})
    source = Path(str(data.get("source", ""))).name
    about, use, limits = split_card(card.data)
    if source not in card.data:
        about, use, limits = f"data/README.md does not mention {source}. Describe it there.", "", ""
    commit = run.commit
    seen = run.metrics.get("train", {}).get("rows")
    facts = {
        "Commit": join(
            tag("code", commit.sha) if commit else "none yet",
            tag("small", f" and changes that are not committed") if run.is_workspace and commit else None,
        ),
        "Learnt from": f"{number(seen)} rows" if seen else NOT_THERE,
        "Repeats": REPEATS.get(str(run.metrics.get("repeats")), NOT_THERE),
    }
    return section(
        "Model card",
        tag("h3", "Data"),
        markdown(about),
        tag("h3", "Intended use"),
        tag("p", card.purpose) if card.purpose else None,
        tag("p", purpose(data)),
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
    return Html(reader.render(text))


def purpose(data: dict[str, Any]) -> str:
    """What the model gives, from the task."""
    target = data.get("target")
    gives = {
        "binary": f"the probability that {target} is {data.get('positive')}",
        "multiclass": f"the probability of each class of {target}",
        "regression": f"the value of {target}, in its own units",
    }.get(str(data.get("task")), f"{target}")
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
    columns = data.get("columns", {})
    texts = any(column.get("kind") == "category" for name, column in columns.items() if name != data.get("target"))
    columns_in = "dict(rows)"
    if texts:
        columns_in = (
            '{name: column.fillna("").to_numpy(object) if column.dtype.kind not in "biuf" '
            "else column for name, column in rows.items()}"
        )
    commit = f"git checkout {run.commit.sha[:12]}\n" if run.commit and not run.is_workspace else ""
    return join(
        tag("pre", f"{commit}dvc pull {path}"),
        tag(
            "pre",
            "import keras\nimport pandas\n\n"
            f'model = keras.models.load_model("{path}", safe_mode=True)\n'
            f'rows = pandas.read_csv("new.csv")  # the columns of the profile above\n'
            f"print(model.predict({columns_in}))",
        ),
    )


def hashes(lock: dict[str, Any]) -> Html:
    """Path, hash and size of what came in from outside and of all that the stages wrote."""
    outs = hashes_of(lock)
    inputs = {path: entry for path, entry in hashes_of(lock, of="deps").items() if path not in outs}
    return table(
        ["Path", "MD5", "Bytes"],
        [
            [path, tag("code", entry.get("md5")), number(entry.get("size"))]
            for path, entry in [*inputs.items(), *outs.items()]
        ],
        class_="cards text",
    )


def render(title: str, sections: Iterable[Html | None]) -> str:
    """The whole page from its template."""
    template = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    return template.substitute(title=join(title), body=join(*sections))
