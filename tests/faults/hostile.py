"""Files that nobody meant well, drawn from a seed, and what the project has to make of them.

By hand, for longer than the tests do: python -m tests.faults.hostile --minutes 60 --seed 7
"""

import argparse
import csv
import gzip
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from tabular.config.params import load_params
from tabular.config.schema import Column, Schema
from tabular.config.sections import Validate
from tabular.config.typed_yaml import check
from tabular.core.errors import MAX_LINE, MAX_LINES, UserError, bounded
from tabular.inference.schema import infer_schema
from tabular.prediction.inputs import row_columns
from tabular.table.checks import check_table
from tests.helpers import PROJECT, checked_rows, mixed_table, read_table

SECONDS = 5.0  # of CPU time that an answer may take
PIECES = [
    *(b"\0", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n", b"\r\n", b"\n\n", b'"', b'""', b'"""', b","),
    *(b";", b"\t", b"1e999", b"0x10", b"nan", b"inf", b"1_0", b"9" * 400, b"1" * 5000, b"-0"),
    *(b"1,5", b"True", b"NA", b"?", b"\xc2\xa0", b"\x0b", b"\x1c", b"\xd9\xa3", b"\xef\xbc\x95"),
    *(b"=cmd|' /C calc'!A0", b"\xe2\x80\xa8", b"41.0", b"1e400", b"\\", b"'", b"#", b"\x1a"),
]


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The content with one to four changes anywhere in it."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(content) + 1)
        end = min(at + int(rng.expovariate(0.1)), len(content))
        piece = rng.choice(PIECES)
        content = rng.choice(
            [
                content[:at] + piece + content[at:],
                content[:at] + piece + content[end:],
                content[:at] + content[end:],
                content[:at] + content[at:end] * rng.randint(2, 50) + content[end:],
                content[:at],
                content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :],
                content[:at] + piece * rng.randint(2, 3000) + content[at:],
            ]
        )
    return content


def base_table() -> bytes:
    """200 rows of all kinds, with quotes and gaps."""
    frame = mixed_table("binary")[:200]
    frame["note"] = ['5" pipe', 'a "quoted" word', "two\nlines", "", "plain"] * 40
    frame["price"] = [f"${1234.5 + 7 * number:,.2f}" for number in range(200)]
    days = pd.date_range("2019-12-28", periods=200, freq="37h")
    frame["day"], frame["at"] = days.strftime("%Y-%m-%d"), days.strftime("%d.%m.%Y %H:%M")
    frame["said"] = [f"word{number} of {number % 7} others" for number in range(200)]
    return frame[[*frame.columns.drop("y"), "y"]].to_csv(index=False).encode()


DATE = r"\d{4}-\d\d-\d\d"
TIME = r"[T ]\d\d(:\d\d(:\d\d([.]\d{1,9})?)?)?( ?Z| ?[+-]\d\d(:?\d\d)?)?"
ISO = re.compile(f"{DATE}({TIME})?", re.ASCII)
PRICE = re.compile(
    r"([+-]?)\$?([+-]?)([1-9]\d{0,2}(?:,\d{3})+|\d+)(\.\d+)?([eE][+-]?\d+)?", re.ASCII
)


def meaning(text: str, column: Column) -> Any:
    """The value of a cell by another reading than the project's; raises ValueError."""
    kind, form = column.kind, column.format
    assert form is None or isinstance(form, str)
    if text == "" or text in {str(value) for value in column.missing_values}:
        return None
    text.encode()  # a byte that is not UTF-8 stands here as half a character
    if kind in ("category", "text"):
        return text
    bare = text.strip(" \t")
    if kind == "datetime":
        return moment(bare, form)
    if kind == "boolean":
        return {"true": True, "1": True, "false": False, "0": False}[bare.lower()]
    if form:
        price = PRICE.fullmatch(bare)
        if not price:
            raise ValueError(text)
        sign, inner, whole, *rest = (part or "" for part in price.groups())
        return float(sign + inner + whole.replace(",", "") + "".join(rest))
    if not bare.isascii() or re.search(r"[_xXnN\s]", bare):
        raise ValueError(text)
    return float(bare) if kind == "real" else int(re.sub(r"\.0+$", "", bare))


def moment(text: str, form: str | None) -> str:
    """A date or a time in ISO 8601 and UTC; raises ValueError."""
    if form is None:
        if not ISO.fullmatch(text):
            raise ValueError(text)
        found = datetime.fromisoformat(re.sub(r" ([Z+-])", r"\1", text))
    else:
        if not (text.isascii() and text.isprintable()):
            raise ValueError(text)
        found = datetime.strptime(text, form)
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return found.astimezone(UTC).isoformat()


def expected_rows(content: bytes, schema: Schema) -> list[list[Any]]:
    """What the declared columns of a CSV hold; raises ValueError, KeyError or csv.Error."""
    csv.field_size_limit(2**30)
    text = content.decode(schema.encoding, "surrogateescape").removeprefix("\ufeff")
    header, *rows = csv.reader(StringIO(text, newline=""), delimiter=schema.delimiter, strict=True)
    places = {name: header.index(name) for name in schema.columns}
    found = []
    for cells in filter(None, rows):
        if len(cells) != len(header):
            raise ValueError(cells)
        found.append(
            [meaning(cells[places[name]], column) for name, column in schema.columns.items()]
        )
    return found


def answer(work: Callable[[], Any]) -> tuple[str, Any]:
    """`read` and a value, or `refused` and a bounded message, in time; all else is raised."""
    start = time.process_time()
    try:
        outcome = "read", work()
    except UserError as error:
        message = bounded(str(error))
        assert 0 < len(message) <= MAX_LINES * (MAX_LINE + 4)
        outcome = "refused", message
    took = time.process_time() - start
    assert took < SECONDS, f"{took:.1f} s"
    return outcome


def try_table(content: bytes, file: Path, schema: Schema) -> str:
    """Read a table as ingest, validate, predict and infer_schema do; what came of it.

    Raises:
        AssertionError: a value was read as another one, or it took too long.
    """
    file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)
    outcome, tables = answer(lambda: [*read_table(file, schema)])
    if outcome == "read":
        rows = [
            [value.isoformat() if isinstance(value, datetime) else value for value in row.values()]
            for table in tables
            for row in table.to_pylist()
        ]
        assert repr(rows) == repr(expected_rows(content, schema)), "a value is another one"
        with tempfile.TemporaryDirectory() as scratch:
            answer(lambda: check_table(tables, schema, Validate(), Path(scratch)))
    answer(lambda: checked_rows(file, schema, row_columns(file, schema)))

    def infer() -> None:
        check(yaml.safe_load(infer_schema(file, "y", 1000).text), Schema, file)

    return f"{outcome}, schema {answer(infer)[0]}"


VALUES: list[Any] = [
    *(None, True, False, 0, -1, 10**9, 10**30, 0.5, -0.0, 1e308, "", "auto", "\0", "x" * 10**5),
    *([], [None], {}, {"a": {"b": [1]}}, [[]], "!!int x", "2020-01-01", "0x10", "é", "[1", "~"),
]


def mutated_params(text: str, rng: random.Random) -> str:
    """params.yaml with other bytes, or with another value or key somewhere."""
    if rng.random() < 0.5:
        return mutated(text.encode(), rng).decode("utf-8", "replace")
    found = yaml.safe_load(text)
    place = found
    while True:
        key = rng.choice(list(place))
        if not isinstance(place[key], dict) or not place[key] or rng.random() < 0.2:
            break
        place = place[key]
    match rng.randrange(3):
        case 0:
            place[key] = rng.choice(VALUES)
        case 1:
            place[str(rng.choice(VALUES))] = place.pop(key)
        case 2:
            del place[key]
    return yaml.safe_dump(found, allow_unicode=True)


def try_params(text: str, file: Path, schema: Schema) -> str:
    """Load params.yaml as a stage does; what came of it."""
    file.write_text(text, encoding="utf-8")
    return answer(lambda: load_params("train", schema=schema, path=file))[0]


def table_schema(file: Path) -> Schema:
    """The schema of `base_table`."""
    file.write_bytes(base_table())
    return check(yaml.safe_load(infer_schema(file, "y", 1000).text), Schema, file)


def try_many(tables: int, params: int, seed: int, folder: Path) -> Counter[str]:
    """The outcomes of so many mutated tables and params files.

    Raises:
        AssertionError: one was not answered as it should be; the message names the file kept.
    """
    rng, outcomes = random.Random(seed), Counter[str]()
    schema, table = table_schema(folder / "t.csv"), base_table()
    whole = (PROJECT / "params.yaml").read_text(encoding="utf-8")
    for number in range(tables + params):
        if number < tables:
            content = mutated(table, rng)
            file = folder / rng.choice(["t.csv"] * 9 + ["t.csv.gz"])
            attempt = partial(try_table, content, file, schema)
        else:
            file, text = folder / "params.yaml", mutated_params(whole, rng)
            attempt = partial(try_params, text, file, schema)
        try:
            outcome = attempt()
        except Exception as error:
            kept = file.rename(file.with_name(f"failed-{seed}-{number}-{file.name}"))
            raise AssertionError(f"{kept}: {error!r:.500}") from error
        outcomes[f"{file.name}: {outcome}"] += 1
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, required=True, help="of the first hundred cases")
    args = parser.parse_args()
    total, end = Counter[str](), time.monotonic() + 60 * args.minutes
    folder, failed = Path(tempfile.mkdtemp()), 0
    while time.monotonic() < end:
        try:
            total += try_many(90, 10, args.seed, folder)
        except AssertionError as error:
            failed += 1
            print(f"seed {args.seed}: {error}", flush=True)
        args.seed += 1
    print(f"{total.total()} cases answered, {failed} not")
    for outcome, count in total.most_common():
        print(f"{count:8} {outcome}")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
