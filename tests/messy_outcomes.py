"""Judge how a messy file is read: right, asked, refused or wrong.

- `right`: the schema of `infer-schema` leads to the true values, without a question about a fault.
- `asked`: a question in the schema names a key that leads to the true values, or the schema has the
  key already, with a question.
- `refused`: `infer-schema` or ingest stops with an error that names the line of a fault.
- `wrong`: anything else.
"""

import math
import re
import tempfile
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from keras_tabular.config.schema import Column, Schema
from keras_tabular.config.typed_yaml import parse_section
from keras_tabular.core.errors import UserError
from keras_tabular.schema_inference.schema import infer_schema
from keras_tabular.table.rows import parse_files
from keras_tabular.table.source import source_files
from tests.messy_table import MessyFile

OUTCOMES = RIGHT, ASKED, REFUSED, WRONG = "right", "asked", "refused", "wrong"
TABLE_KEYS = "positive|skip_lines|delimiter|encoding|sheet"
COLUMN_KEYS = "kind|missing_values|replace|format|nullable|timezone"
# A key in a comment with its value: a list, a mapping, a text in quotes, or the next words.
QUOTED = r'"(?:\\.|[^"])*"'
VALUE = rf"\[(?:{QUOTED}|[^\]])*\]|{{(?:{QUOTED}|[^}}])*}}|{QUOTED}"
WORDS = r"[^,;}\]]+?(?=[,;}?]|[.] |[.]$| above| or | and |$)"
ROWS = 200_000


Result = tuple[str, str]  # one of `OUTCOMES`, and what is wrong


def judge(file: MessyFile) -> Result:
    """Write a file, infer its schema, read it, and compare the values with the true ones."""
    content, bad_lines = file.render()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("t.csv" if file.workbook_options is None else "t.xlsx")
        path.write_bytes(content)
        try:
            inferred = infer_schema(path, file.names["answer"], ROWS)
            lines = inferred.text.splitlines()
            questions = [lines[number - 1].split(" # ", 1) for number in inferred.question_lines]
            result, problem = judge_schema(path, yaml.safe_load(inferred.text), questions, file)
        except UserError as error:
            result, problem = WRONG, str(error)
        except Exception:
            return WRONG, traceback.format_exc()
    line_numbers = {int(number) for number in re.findall(r"(?:line|row) (\d+)", problem)}
    if result == WRONG and (line_numbers & bad_lines or re.search(file.hint, problem)):
        result = REFUSED
    return result, problem


def judge_schema(
    path: Path, keys: dict[str, Any], questions: list[list[str]], file: MessyFile
) -> Result:
    """Judge the columns, with the keys of the table and with those that its questions propose."""
    proposals = find_proposals(" ".join(comment for _, comment in questions), TABLE_KEYS)
    is_asked = len(proposals) > 1 or any(not key.startswith(" ") for key, _ in questions)
    best = WRONG, ""
    for proposal in proposals:
        results = [(ASKED if is_asked else RIGHT, "")]
        changed = merge_keys(keys, proposal)
        if str(changed.get("positive")).lower() != str(file.positive).lower():
            results.append((WRONG, f"positive is {changed.get('positive')}"))
        for role, name in file.names.items():
            comments = [text for key, text in questions if re.match(rf" +(- )?{name}\b", key)]
            results.append(judge_column(path, changed, " ".join(comments), file, role))
        worst = max(results, key=lambda result: OUTCOMES.index(result[0]))
        best = best if best[1] else worst
        if worst[0] != WRONG:
            return worst
    return best


def judge_column(
    path: Path, keys: dict[str, Any], comment: str, file: MessyFile, role: str
) -> Result:
    """Judge the values of a column, with its keys and with those that its comment proposes."""
    name, proposals, problems = file.names[role], find_proposals(comment, COLUMN_KEYS), list[str]()
    if role in file.questions and re.search(file.questions[role], comment):
        return ASKED, ""
    for proposal in proposals:
        column = merge_keys(keys["columns"].get(name, {}), proposal)
        try:
            problem = compare(read_column(path, keys, name, column), file, role)
        except UserError as error:
            problem = str(error)
        if not problem:
            return ASKED if len(proposals) > 1 else RIGHT, ""
        problems.append(f"{name} ({column}): {problem}")
    return WRONG, problems[0]


def find_proposals(comment: str, keys: str) -> list[dict[str, Any]]:
    """Return what a comment proposes for some keys: nothing, each proposal, and all of them."""
    proposals = []
    for key, text in re.findall(rf"\b({keys}): ({VALUE}|{WORDS})", comment):
        proposals.append({key: yaml.safe_load(text)})
    merged = {key: value for proposal in proposals for key, value in proposal.items()}
    missing = {key: value for key, value in merged.items() if key != "replace"}
    return [{}, *proposals, merged, missing] if proposals else [{}]


def merge_keys(keys: dict[str, Any], proposal: dict[str, Any]) -> dict[str, Any]:
    """Return keys with those of a proposal; lists and mappings are joined."""
    merged = dict(keys)
    for key, value in proposal.items():
        if isinstance(value, list) and isinstance(merged.get(key), list):
            value = merged[key] + value
        elif isinstance(value, dict) and key in merged:
            value = merged[key] | value
        merged[key] = value
    return merged


def read_column(path: Path, keys: dict[str, Any], name: str, column: dict[str, Any]) -> pa.Array:
    """Read one column as ingest does."""
    schema = parse_section(keys, Schema, path)
    columns = {name: parse_section(column, Column, Path(name))}
    ignore = (*schema.columns, *schema.ignore)
    schema = schema.model_copy(update={"columns": columns, "ignore": ignore})
    parts = [*parse_files(source_files(str(path)), schema)]
    return pa.concat_tables(parts)[name]


def compare(column: pa.Array, file: MessyFile, role: str) -> str:
    """Return how the values of a column differ from the true ones; empty if they do not."""
    truth, values = file.values[role], column.to_pylist()
    if len(values) != len(truth):
        return f"{len(values)} rows instead of {len(truth)}"
    for row, (expected, value) in enumerate(zip(truth, values, strict=True)):
        options = expected if isinstance(expected, tuple) else (expected,)
        if not any(is_same(value, option) for option in options):
            return (
                f"cell {row} is {value!r} instead of {expected!r}, from {file.cells[role][row]!r}"
            )
    return ""


def is_same(value: Any, expected: Any) -> bool:
    """Return whether a value is the true one. A clock may be read as a time or as minutes."""
    if isinstance(value, datetime) and isinstance(expected, float):
        return 60 * value.hour + value.minute == expected
    if isinstance(value, datetime) and isinstance(expected, datetime):
        return value.replace(tzinfo=None) == expected
    if isinstance(value, bool):  # also if the words are true and false
        return str(value).lower() == str(expected).lower()
    if isinstance(value, int | float) and isinstance(expected, float):
        return math.isclose(value, expected, rel_tol=1e-9)
    return type(value) is type(expected) and bool(value == expected)
