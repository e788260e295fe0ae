"""Tell whether a table is read right, and ends with scores or a clear message."""

import json
import math
import re
import tempfile
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import yaml

from keras_tabular.config.schema import Column, Schema
from keras_tabular.core.errors import UserError
from keras_tabular.core.typed_yaml import parse_section
from keras_tabular.schema_inference.schema import propose_schema
from keras_tabular.table.rows import parse_files
from keras_tabular.table.source import source_files
from tests.commands import call_main
from tests.projects import ONE_CYCLE, STAGE_COMMANDS, change_settings, create_files
from tests.random_tables import RandomTable

Keys = dict[str, Any]  # of a schema, or of one of its columns
TABLE_KEYS = "positive|skip_lines|delimiter|encoding"
COLUMN_KEYS = "kind|missing_values|replace|format|nullable|timezone"
# A key in a comment with its value: a list, a mapping, a text in quotes, or the next
# words.
QUOTED = r'"(?:\\.|[^"])*"'
VALUE = rf"\[(?:{QUOTED}|[^\]])*\]|{{(?:{QUOTED}|[^}}])*}}|{QUOTED}"
WORDS = r"[^,;}\]]+?(?=[,;}?]|[.] |[.]$| above| or | and |$)"
MAX_ROWS = 200_000
SCORES = "scores"
MESSAGE = "message"
FAULT = "fault"


def find_misreading(table: RandomTable) -> str:
    """Return what is wrong with the way in which a table is read, or an empty text.

    It is right if the schema of `infer-schema` leads to the true values, if a question
    in the schema names a key that does, or if an error names the line of a fault.
    """
    content, bad_lines = table.render()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(content)
        try:
            inferred = propose_schema(path, table.names["answer"], MAX_ROWS)
            comments = dict[str, str]()
            lines = inferred.text.splitlines()
            for number in inferred.question_lines:
                key, comment = lines[number - 1].split(" # ", 1)
                name = next(iter(yaml.safe_load(key))) if key.startswith(" ") else key
                copies = comment.partition("The same for ")[2].rstrip(".")
                comments |= dict.fromkeys([name, *copies.split(", ")], comment)

            def check(keys: Keys) -> str:
                problems = (
                    check_column(path, keys, comments, table, role)
                    for role in table.names
                )
                return next(filter(None, problems), "")

            keys = yaml.safe_load(inferred.text)
            comment = " ".join(comments.values())
            problem = try_proposals(check, keys, comment, TABLE_KEYS)
        except UserError as error:
            problem = str(error)
    numbers = {int(number) for number in re.findall(r"line (\d+)", problem)}
    is_refused = bool(numbers & bad_lines)
    if table.columns["answer"].may_be_text:  # it may be no target
        is_refused |= problem.startswith("target: expected")
    return "" if is_refused else problem


def check_column(
    path: Path,
    keys: Keys,
    comments: dict[str, str],
    table: RandomTable,
    role: str,
) -> str:
    """Return the first wrong value of a column, or an empty text."""
    name = table.names[role]
    column = table.columns[role]
    comment = comments.get(name, "")
    if re.search(column.question, comment):
        return ""
    is_asked = re.search(r"(?i)both (formats )?fit|a mistake\?", comment)
    if column.may_be_text and (is_asked or name not in keys["columns"]):
        return ""
    positive = keys.get("positive")
    is_certain = "mean missing?" not in comment
    if (
        role == "answer"
        and is_certain
        and not (column.may_be_text or is_same(positive, table.positive))
    ):
        return f"positive is {positive}"

    def check(column_keys: Keys) -> str:
        schema = parse_section(keys, Schema, path)
        columns = {name: parse_section(column_keys, Column, Path(name))}
        ignore = (*schema.columns, *schema.ignore)
        schema = schema.model_copy(update={"columns": columns, "ignore": ignore})
        values = pa.concat_tables([*parse_files(source_files(str(path)), schema)])[
            name
        ].to_pylist()
        if len(values) != len(column.values):
            return f"{len(values)} rows instead of {len(column.values)}"
        for value, truth, text in zip(values, column.values, column.texts, strict=True):
            options = truth if isinstance(truth, tuple) else (truth,)
            texts = [text.strip().lower(), str(truth).removesuffix(".0")]
            is_text = column.may_be_text and str(value).strip().lower() in texts
            if not is_text and not any(is_same(value, option) for option in options):
                return f"{name}: {value!r} instead of {truth!r}, from {text!r}"
        return ""

    return try_proposals(
        check,
        keys["columns"].get(name, {}),
        comment,
        COLUMN_KEYS,
    )


def is_same(value: Any, truth: Any) -> bool:
    """Return whether a value is true."""
    if isinstance(value, datetime) and isinstance(truth, datetime):
        return (value if truth.tzinfo else value.replace(tzinfo=None)) == truth
    if isinstance(value, bool):
        word = str(truth).strip().lower()
        return value == (word in ("true", "yes", "y", "t", "1", "1.0"))
    if isinstance(value, int | float) and isinstance(truth, float):
        return math.isclose(value, truth, rel_tol=1e-9)
    return type(value) is type(truth) and bool(value == truth)


def try_proposals(
    check: Callable[[Keys], str],
    keys: Keys,
    comment: str,
    pattern: str,
) -> str:
    """Check keys alone, then with each proposal of a comment, then with all.

    Returns:
        The problem of the keys as they are, or an empty text if a proposal has no
        problem.
    """
    matches = re.findall(rf"\b({pattern}): ({VALUE}|{WORDS})", comment)
    proposals = [{key: yaml.safe_load(text)} for key, text in matches]
    all_keys: Keys = {}
    for proposal in proposals:
        all_keys |= proposal
    without = {key: value for key, value in all_keys.items() if key != "replace"}
    problems = list[str]()
    for proposal in [{}, *proposals, all_keys, without]:
        try:
            problems.append(check(merge_keys(keys, proposal)))
        except UserError as error:
            problems.append(str(error))
        if not problems[-1]:
            return ""
    return problems[0]


def merge_keys(keys: Keys, proposal: Keys) -> Keys:
    """Return keys with those of a proposal; lists and mappings are joined."""
    merged = dict(keys)
    for key, value in proposal.items():
        if isinstance(value, list) and isinstance(merged.get(key), list):
            value = merged[key] + value
        elif isinstance(value, dict) and key in merged:
            value = merged[key] | value
        merged[key] = value
    return merged


def run_table(
    csv: bytes,
    target: str,
    numbers: pd.DataFrame,
    train: Keys = ONE_CYCLE,
) -> tuple[str, str]:
    """Take a table from `infer-schema` through all stages to the report.

    Args:
        numbers: Columns that are either read as these numbers, or as no numbers.

    Returns:
        One of the constants above, and the traceback of a message or a fault. It is a
        fault if ingest or validate ends with a message that `infer-schema` has not
        announced.
    """
    infer = (
        "keras_tabular.cli",
        "infer-schema",
        "data/raw/t.csv",
        f"--target={target}",
    )
    stages = [command[2:] for command in STAGE_COMMANDS.values()]
    output = StringIO()
    is_announced = False
    with (
        tempfile.TemporaryDirectory() as temporary,
        redirect_stdout(output),
        redirect_stderr(output),
    ):
        folder = Path(temporary) / "project"
        create_files(folder, csv.decode())
        change_settings(folder, train=train)
        for module, *arguments in [infer, *stages, ["keras_tabular.cli", "report"]]:
            try:
                call_main(folder, module, *arguments)
            except (Exception, SystemExit) as error:
                is_user_error = isinstance(error.__context__, UserError)
                is_early = module in ("stages.ingest", "stages.validate")
                if not is_user_error or (is_early and not is_announced):
                    return FAULT, traceback.format_exc()
                return MESSAGE, traceback.format_exc()
            is_announced = "`make repro` will stop" in output.getvalue()
        for file in (folder / "metrics").glob("*.json"):
            json.loads(file.read_text(), parse_constant=int)  # refuses NaN and Infinity
        ingested = pd.read_parquet(folder / "data/ingested").select_dtypes("number")
        for name in ingested.columns.intersection(numbers.columns):
            pd.testing.assert_series_equal(
                ingested[name],
                numbers[name],
                check_dtype=False,
                rtol=1e-12,
                atol=0,
            )
    if is_announced:
        return FAULT, "infer-schema announced a stop that did not come"
    return SCORES, ""
