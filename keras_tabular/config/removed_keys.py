"""What version 0.5 had and this version does not have, or calls by another name.

This module only needs the standard library, because `upgrade` runs before any package is installed.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

# A line with a key, and perhaps a value before a comment: `  units: [16]  # the width`.
KEY_LINE = re.compile(r"( *)[\"']?([\w.]+)[\"']? *:(?: +(.*?))?(?: *#.*)?$")


class RemovedKey(NamedTuple):
    """What an earlier version wrote for a key, and what its owner can do without it.

    Attributes:
        default: The value in a new project, as YAML; None if the key was not there.
        advice: One or two sentences.
    """

    default: str | None
    advice: str


REMOVED_KEYS = {
    "train.growing": RemovedKey("auto", "To leave out columns, list them in train.ignore."),
    "evaluate.temperature": RemovedKey("auto", "Nothing replaces it."),
    "evaluate.threshold.confidence": RemovedKey(None, "Ask for a higher recall or precision."),
    "evaluate.groups": RemovedKey("[]", "Declare slices: {women: {sex: [f]}} instead."),
    "search": RemovedKey(None, "Put its keys into the file search.yaml."),
    "gate.groups": RemovedKey("{}", "Limit the scores of evaluate.slices in gate.min."),
}

# Words in the line of a key of version 0.5, and those of this version: the key itself, or values.
RENAMED_WORDS = {
    "ingest.rows_per_part": {"rows_per_part": "rows_per_file"},
    "split.equal_rows": {"equal_rows": "duplicates"},
    "gate.worse_than_last": {"worse_than_last": "worse_than_base"},
    "gate.beat_baselines": {"constant": "dummy", "boosted": "gradient_boosting"},
    "gate.lowest": {"lowest": "min"},
    "gate.highest": {"highest": "max"},
}

# Modules that the owner's scripts may import, in version 0.5 and in this version.
MOVED_MODULES = {
    "keras_tabular.networks.backend": "keras_tabular.network.backend",
    "keras_tabular.scoring.scores": "keras_tabular.evaluation.scores",
    "keras_tabular.tasks.metrics": "keras_tabular.config.metrics",
    "keras_tabular.tasks.task": "keras_tabular.config.task",
}


def explain_removed_key(key: str) -> str:
    """Say that a key does not exist any more, and what to do; empty for any other key."""
    if removed := REMOVED_KEYS.get(key):
        return f"{key}: version 0.6 has no such key. Delete it. {removed.advice}"
    name = RENAMED_WORDS.get(key, {}).get(key.rpartition(".")[2])
    return f"{key}: version 0.6 calls this key {name}." if name else ""


def rename_words(line: str, key: str) -> str:
    """Return the line of a key with the words of this version; its comment stays."""
    text, mark, comment = line.partition(" #")
    for old, new in RENAMED_WORDS[key].items():
        text = re.sub(rf"\b{old}\b", new, text, count=1)
    return text + mark + comment


def find_old_keys(text: str) -> Iterator[tuple[int, str, str]]:
    """Find the keys in the text of params.yaml that are removed, or whose words are renamed.

    Yields:
        The index of the line, the dotted key, and its value as YAML. The value is empty if the key
        is inside of braces, or if the value is in the next lines.
    """
    path: list[tuple[int, str]] = []  # indentation and name of each section and key
    for index, line in enumerate(text.splitlines()):
        if match := KEY_LINE.match(line):
            indentation, name, value = len(match[1]), match[2], match[3] or ""
            path = [parent for parent in path if parent[0] < indentation] + [(indentation, name)]
            key = ".".join(name for _, name in path)
            for removed in (*REMOVED_KEYS, *RENAMED_WORDS):
                last = removed.rpartition(".")[2]
                if removed == key:
                    yield index, removed, value
                elif removed.startswith(f"{key}.") and re.search(rf"\b{last}[\"']? *:", value):
                    yield index, removed, ""
