"""Scores and parameters of a run beside another's, as tables in Markdown."""

from typing import Any

from stages.lib.comparison import AVERAGES, MANY, difference, scores_of, shown
from stages.lib.markup import NOT_THERE, number
from stages.lib.params import LOWER_IS_BETTER
from stages.lib.revisions import changes
from stages.lib.words import BASELINE_WORDS, SCORE_WORDS


def cell(value: Any) -> str:
    """Text for a cell of a Markdown table."""
    return str(value).replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def table(header: list[str], rows: list[list[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def score_table(metrics: dict[str, Any], base: dict[str, Any], label: str) -> str:
    """The test scores beside those of the base and of the baselines."""
    theirs = scores_of(base.get("test", {}))
    baselines = {name: scores_of(found) for name, found in metrics.get("baseline", {}).items()}
    rows = []
    for key, value in scores_of(metrics["test"]).items():
        average, _, name = key.rpartition(".")
        if name not in SCORE_WORDS:
            continue
        words = f"{SCORE_WORDS[name]} ({AVERAGES[average]})" if average else SCORE_WORDS[name]
        row = [words, number(value), *(number(found.get(key)) for found in baselines.values())]
        if theirs:
            change = NOT_THERE
            if key in theirs:
                more_is_better = name not in LOWER_IS_BETTER
                change = " ".join(difference(value, theirs[key], more_is_better)).strip()
            row += [number(theirs.get(key)), change]
        rows.append(row)
    header = ["Test rows", "this", *(BASELINE_WORDS.get(name, name) for name in baselines)]
    return table(header + ([label, f"against {label}"] if theirs else []), rows)


def param_table(old: dict[str, Any], new: dict[str, Any], label: str) -> str:
    changed = changes(old, new)
    if not changed:
        return "None."
    rows = [[k, shown(after), shown(was)] for k, (was, after) in changed.items()]
    listed = table(["Parameter", "this", label], rows[:MANY])
    left = len(rows) - MANY
    return listed if left <= 0 else f"{listed}\n\nand {left} more"
