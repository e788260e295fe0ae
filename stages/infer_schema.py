"""A first `data` section for params.yaml, written from a look at a CSV table."""

import re
from argparse import ArgumentParser
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from stages.lib.params import Column, Data, Value
from stages.lib.source import BROKEN, fits, read_header, records
from stages.lib.stage import UserError, run, whole

MISSING = {"NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "none", "?", "-", "."}
POSITIVE = {
    "1",
    "1.0",
    "yes",
    "y",
    "true",
    "t",
    "pos",
    "positive",
    "sick",
    "bad",
    "default",
    "churn",
}
SENTINELS = {-1, -9, -99, -999, -9999, 9999, 99999}
MAX_CLASSES = 20
MANY = 50  # different texts: more, on most rows, are names or free text


@dataclass
class Guess:
    """What a column seems to hold, and what a person should check."""

    kind: str
    missing_values: list[str] = field(default_factory=list)
    nullable: bool = False
    note: str = ""
    ignore: bool = False


def guess(name: str, counts: Counter[str], rows: int) -> Guess:
    """A column's kind from how often each of its texts occurs in `rows` rows."""
    gaps = counts.pop("", 0)
    markers = sorted(set(counts) & MISSING)
    present = [text for text in counts if text not in markers]
    nullable = bool(gaps or markers)
    note = f"{len(present)} different values"
    if len(present) < 2:
        return Guess("category", note="one value or none in every row", ignore=True)
    for kind in ("boolean", "integer", "real"):
        if not all(fits(text, Column(kind=kind)) for text in present):
            continue
        if kind == "boolean" and set(present) == {"0", "1"}:
            continue
        if any(re.fullmatch(r"\s*-?0\d+", text) for text in present):
            break  # 00123 is a code
        if kind != "boolean":
            note += number_note(counts, present)
        if (
            kind == "integer"
            and len(present) == rows
            and re.search(r"(^|[^a-z])id$|^$", name.lower())
        ):
            return Guess(kind, note="a number for each row", ignore=True)
        return Guess(kind, markers, nullable, note)
    if len(present) > max(MANY, (rows - gaps) / 2):
        return Guess("category", note=f"{note}: names or free text?", ignore=True)
    shown = ", ".join(text for text, _ in counts.most_common(4))
    shown = "".join(letter if letter.isprintable() else " " for letter in shown[:60])
    return Guess("category", markers, nullable, f"{note}: {shown}")


def number_note(counts: Counter[str], present: list[str]) -> str:
    """The range, and a value that may mean missing."""
    values = sorted(map(float, present))
    note = f", {values[0]:g} to {values[-1]:g}"
    zero_is_alone = min((abs(value) for value in values if value), default=0.0) > 5
    for value in values:
        if value in SENTINELS or (value == 0 and zero_is_alone):
            times = sum(counts[text] for text in present if float(text) == value)
            return f"{note}; does {value:g} ({times} rows) mean missing? then missing_values"
    return note


def guess_task(kind: str, counts: Counter[str]) -> str:
    """binary for two values, regression for many numbers, else multiclass."""
    if len(counts) == 2:
        return "binary"
    few = len(counts) <= MAX_CLASSES and counts.total() >= 5 * len(counts)
    if kind in ("boolean", "category") or (kind == "integer" and few):
        return "multiclass"
    return "regression"


def sample(path: Path, limit: int) -> tuple[dict[str, Any], list[str], list[Counter[str]], int]:
    """How the file is written, its header, the texts of each column, and the rows looked at."""
    try:
        start = path.open("rb").read(2**20) if path.suffix != ".gz" else b""
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    how: dict[str, Any] = {}
    try:
        start.decode()
    except UnicodeDecodeError as error:
        if error.end < len(start) - 4:
            how["encoding"] = "latin-1"
    first = start.split(b"\n", 1)[0].decode("latin-1")
    delimiter = max(",;\t|", key=first.count)
    if delimiter != ",":
        how["delimiter"] = delimiter
    column = {"a": Column(kind="real"), "b": Column(kind="real")}
    read_as = Data(source=str(path), task="regression", target="a", columns=column, **how)
    try:
        lines = records(path, read_as)
        header = read_header(lines)
        counts = [Counter[str]() for _ in header]
        rows = 0
        for line, cells in islice(lines, limit):
            if len(cells) != len(header):
                raise UserError(
                    f"{path}: line {line}: found {len(cells)} cells; expected {len(header)}"
                )
            rows += 1
            for count, cell in zip(counts, cells, strict=True):
                count[cell] += 1
    except StopIteration:
        raise UserError(f"{path}: the file is empty; expected a header line") from None
    except BROKEN as error:
        raise UserError(f"{path}: {error}") from None
    return how, header, counts, rows


def flow(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def section(path: Path, target: str, limit: int) -> str:
    """The `data` section as YAML text with comments."""
    how, header, counts, rows = sample(path, limit)
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise UserError(f"{path}: line 1: found {', '.join(repeated)} more than once")
    if target not in header:
        raise UserError(f"--target: found {target!r}; the columns are {', '.join(header)}")
    if not rows:
        raise UserError(f"{path}: found a header and no rows; expected some")
    columns = dict(zip(header, counts, strict=True))
    classes = Counter({t: n for t, n in columns[target].items() if t and t not in MISSING})
    guesses = {name: guess(name, Counter(count), rows) for name, count in columns.items()}
    kind = guesses[target].kind
    task = guess_task(kind, classes)
    if len(classes) < 2:
        raise UserError(
            f"--target: {target} has one value or none in {rows} rows; nothing to learn"
        )
    if task == "multiclass" and len(classes) > 5 * MAX_CLASSES:
        raise UserError(
            f"--target: {target} holds {len(classes)} texts; expected classes or numbers"
        )
    if task != "regression" and kind == "real":
        kind = "category"  # 0.0 and 1.0 are two texts

    lines = [
        f"# From {'all' if rows < limit else 'the first'} {rows} rows. Check every comment.",
        "data:",
        f"  source: {flow(f'data/raw/{path.name}')}",
        *[f"  {key}: {flow(value)}" for key, value in how.items()],
        f"  task: {task}  # of binary, multiclass, regression",
        f"  target: {flow(target)}",
    ]
    values = [typed(text, kind) for text in sorted(classes, key=lambda t: (len(t), t))]
    if task == "binary":
        rarer = min(classes, key=lambda text: (text.lower() not in POSITIVE, classes[text], text))
        lines.append(f"  positive: {flow(typed(rarer, kind))}  # the class to find")
    lines.append("  columns:")
    for name, found in guesses.items():
        declared: dict[str, Any] = {"kind": found.kind}
        note = found.note
        if name == target:
            declared = {"kind": kind} | ({"values": values} if task != "regression" else {})
            note = f"{note}; the target" + ("; rows without one fail" if found.nullable else "")
        elif found.ignore:
            continue
        elif found.nullable:
            declared["nullable"] = True
            if found.missing_values:
                declared["missing_values"] = found.missing_values
        lines.append(f"    {flow(name)}: {flow(declared)}  # {note}")
    ignored = {n: found.note for n, found in guesses.items() if found.ignore and n != target}
    if ignored:
        lines.append("  ignore:")
        lines += [f"    - {flow(name)}  # {note}" for name, note in ignored.items()]
    return "\n".join(lines)


def typed(text: str, kind: str) -> Value:
    """A cell's text as a value of its column."""
    if kind == "boolean":
        return text.lower() in ("1", "true")
    return int(text) if kind == "integer" else text


def replace_section(params: str, written: str) -> str:
    """The text of params.yaml with another `data` section and its comment; all else stays."""
    head, _, rest = re.split(r"^((?:#.*\n)*data:.*\n)", params, maxsplit=1, flags=re.MULTILINE)
    next_section = re.search(r"(^#.*\n)*^\w", rest, re.MULTILINE)
    tail = rest[next_section.start() :] if next_section else ""
    return f"{head}{written}\n\n{tail}"


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("csv", type=Path, help="the table, with a header line")
    parser.add_argument("--target", required=True, help="the column to predict")
    parser.add_argument("--rows", type=int, default=200_000, help="how many rows to look at")
    parser.add_argument(
        "--write", type=Path, metavar="PARAMS", help="put it into this params.yaml instead"
    )
    args = parser.parse_args()
    written = section(args.csv, args.target, args.rows)
    if args.write is None:
        print(written)
        return
    try:
        text = replace_section(args.write.read_text(encoding="utf-8"), written)
    except (OSError, ValueError):
        raise UserError(f"{args.write}: found no data section to replace") from None
    with whole(args.write) as file:
        file.write_text(text, encoding="utf-8")
    print(f"{args.write}: its data section is of {args.csv} now; check its comments")


if __name__ == "__main__":
    run(main)
