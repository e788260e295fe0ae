"""A run and the one that it is compared with: origin, verdict, scores and parameters as HTML."""

import json
from typing import Any

from stages.lib.markup import NOT_THERE, Html, folded, join, number, section, table, tag
from stages.lib.params import LOWER_IS_BETTER
from stages.lib.revisions import Run, changes, params_of
from stages.lib.words import BASELINE_WORDS, SCORE_WORDS, flat

TASKS = {
    "binary": "Two classes",
    "multiclass": "Several classes",
    "regression": "Regression",
}
AVERAGES = {"macro": "each class alike", "weighted": "each row alike"}
SETS = {
    "cross_validation": "Cross-validation",
    "validation": "Validation rows",
    "train": "Training rows",
}
HOW_TO_READ = (
    "Better and worse say how this run compares with the column. "
    "Under a score: its 95% interval; a difference well inside it may be chance."
)
MANY = 25  # changed parameters: more are shown on a click


def scores_of(found: dict[str, Any]) -> dict[str, float]:
    """The numbers among the scores of some rows, in the order in which they are read."""
    numbers = {k: v for k, v in flat(found) if isinstance(v, int | float) and k != "rows"}
    order = [*SCORE_WORDS, *(f"{average}.{score}" for average in AVERAGES for score in SCORE_WORDS)]
    known = {key: numbers.pop(key) for key in order if key in numbers}
    return known | numbers


def score_words(key: str) -> tuple[Html, bool | None]:
    """A score's name for a reader, and whether more is better; None where that is not known."""
    average, _, name = key.rpartition(".")
    if name not in SCORE_WORDS:
        return join(key.replace("_", " ").replace(".", ", ")), None
    within = tag("small", AVERAGES.get(average, average)) if average else None
    return join(SCORE_WORDS[name], within), name not in LOWER_IS_BETTER


def difference(value: float, other: float, more_is_better: bool | None) -> tuple[str, str]:
    """How far a score is from another, with a sign, and the word for it: better, worse or same.

    The word is empty where nobody knows which way is better.
    """
    if number(value) == number(other):
        return "", "same"
    signed = f"{'+' if value > other else '−'}{number(abs(value - other))}"
    if more_is_better is None:
        return signed, ""
    return signed, "better" if (value > other) == more_is_better else "worse"


def compared(value: float, other: float | None, more_is_better: bool | None) -> Html:
    """Another's score, and under it how much better or worse `value` is."""
    if other is None:
        return join(NOT_THERE)
    signed, word = difference(value, other, more_is_better)
    return join(number(other), tag("small", f"{signed} {word}".strip(), class_=word))


def heading(run: Run, other: Run | None, note: str) -> Html:
    """What the page is about, and which runs it shows."""
    data = run.params.get("data", {})
    return tag(
        "header",
        tag("h1", f"Predicting {run.target}"),
        tag("p", f"{TASKS.get(data.get('task'), 'A model')} of {run.source}", class_="soft"),
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
    sha = f"{run.commit.sha[:7]}, "
    stands = f"{'' if sha.startswith(run.label) else sha}{run.commit.date}: {run.commit.subject}"
    return f"changes that are not committed, on {stands}" if run.uncommitted else stands


def unfinished(run: Run) -> str:
    """A warning where params.yaml is not what the results were made with."""
    made_with = params_of(run.lock)
    written = {}
    for key in made_with:
        value: Any = run.params_file
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        written[key] = value
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
    scores = scores_of(run.metrics.get("test", {}))
    key = next((key for key in ("accuracy", "mae") if key in scores), None)
    if key is None:
        return "This run has no scores of test rows."
    words = SCORE_WORDS[key]
    rows = run.metrics["test"].get("rows")
    sentence = f"{words} {number(scores[key])} on {number(rows)} test rows"
    if f"{key}_low" in scores:
        low, high = number(scores[f"{key}_low"]), number(scores[f"{key}_high"])
        sentence += f" (95% interval {low} to {high})"
    return f"{sentence}."


def score_section(run: Run, other: Run | None) -> Html:
    """The test scores beside the other revision's and the baselines'; then those of other rows."""
    scores = scores_of(run.metrics.get("test", {}))
    baselines = {
        name: scores_of(found) for name, found in sorted(run.metrics.get("baseline", {}).items())
    }
    theirs = scores_of(other.metrics.get("test", {})) if other else {}
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
    header += [BASELINE_WORDS.get(name, name) for name in baselines]
    count = run.metrics.get("test", {}).get("rows")
    return section(
        "Scores",
        tag("p", f"Of {number(count)} test rows, which training never saw. {HOW_TO_READ}"),
        tag("p", warning, class_="note") if (warning := different_rows(run, other)) else None,
        table(header, rows),
        other_rows(run, other),
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
    header = [
        "Score",
        *(f"{SETS[name]} ({number(rows.get('rows'))})" for name, rows in found.items()),
    ]
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
    if len(rows) > MANY:
        listed = folded(f"{len(rows)} parameters", listed)
    return section("Parameters changed", listed)


def shown(value: Any) -> str:
    """A parameter as params.yaml writes it, or that there is none."""
    if value is None or isinstance(value, str):
        return value or NOT_THERE
    return json.dumps(value, ensure_ascii=False, default=str)
