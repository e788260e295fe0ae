"""Draw small files as people mail them, with one or two faults.

`python -m tests.messy_files 300` prints how 300 of them are read, by kind of fault. Ideas for kinds
come from the test files of pandas, DuckDB, readr, frictionless and OpenRefine.
"""

import csv
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from tests.messy_outcomes import OUTCOMES, WRONG, judge
from tests.messy_table import MessyFile
from tests.workbooks import PERCENT

Fault = Callable[[MessyFile], None]
YES_NO = [
    *("yes/no", "ja/nein", "oui/non", "sí/no", "sì/no", "vero/falso", "ja/nee", "tak/nie"),
    *("ja/nej", "sim/não", "kyllä/ei", "igen/nem", "ano/ne", "Y/N", "positive/negative"),
    *("with/without", "mit/ohne", "true/false"),
]
MISSING_WORDS = (
    *("k.A.", "unknown", "n/a", "-", "?", "keine Angabe", "missing", "#N/A", "#DIV/0!", "NULL"),
    *("\\N", "(leer)", "inconnu", "sin datos", "--", "fehlt"),
)
TYPOS = ("{}o", "O{}", "{},2", "{} 7", "{}..", "l{}", "{}x", "~{}", "{0}-{0}", "{} ?")
NO_DATES = ("0000-00-00", "00.00.0000", "tbd", "?", "unbekannt")
SWAPPED_MARKS = str.maketrans(",.", ".,")
EXCEL_EPOCH, UNIX_EPOCH = datetime(1899, 12, 30), datetime(1970, 1, 1)


def write(role: str, *forms: str, share: float = 1.0, truth: Any = lambda value: value) -> Fault:
    """Write a share of the cells of a column in one of these forms."""
    return lambda file: file.edit(role, file.pick(forms).format, share, truth)


def lose(role: str, *words: str) -> Fault:
    """Write a word in place of some cells, which are missing."""
    return write(role, *words, share=0.05, truth=lambda _: None)


def negate(form: str) -> Fault:
    """Make a fifth of the amounts negative, and write them in a form without an ordinary sign."""
    return write("amount", form, share=0.2, truth=lambda value: -value)


def swap_marks(file: MessyFile) -> None:
    file.edit("amount", lambda text: text.translate(SWAPPED_MARKS), 0.02, lambda v: (v, None))
    file.questions["amount"] = "Are these numbers"


def group_thousands(*marks: str) -> Fault:
    """Write the amounts with one of these thousands separators."""

    def change(file: MessyFile) -> None:
        mark = file.pick([mark for mark in marks if mark != file.point])
        file.fill("amount", file.values["amount"], lambda value: file.number(value, mark))

    return change


def mix_units(*units: str) -> Fault:
    """Write the amounts in several units. No key converts one into the other."""

    def change(file: MessyFile) -> None:
        file.edit("amount", lambda text: f"{text} {file.pick(units)}")
        file.questions["amount"] = "(?i)unit|currenc|Are these numbers"

    return change


def write_exponents(file: MessyFile) -> None:
    values = [float(f"{value:.3E}") for value in file.values["amount"]]
    file.fill("amount", values, lambda value: f"{value:.3E}".replace(".", file.point))


def count_time(start: datetime, unit: timedelta) -> Fault:
    """Write dates as the number of days or seconds since a start."""

    def change(file: MessyFile) -> None:
        file.fill("date", file.values["date"], lambda date: str((date - start) // unit))
        file.names["date"] = "date"

    return change


def date_as(form: str, share: float = 1.0) -> Fault:
    """Write a share of the dates in another format."""
    return lambda file: file.edit(
        "date", lambda text: f"{datetime.strptime(text, file.date_format):{form}}", share
    )


def write_clocks(file: MessyFile) -> None:
    minutes = file.rng.integers(0, 24 * 60, file.rows).astype(float)
    file.fill("quantity", minutes, lambda value: f"{int(value) // 60:02}:{int(value) % 60:02}")
    file.questions["quantity"] = "(?i)time|clock|minutes"


def vary_spelling(role: str) -> Fault:
    """Write some texts in capital letters, and some with a space."""

    def change(file: MessyFile) -> None:
        file.edit(role, str.upper, 0.1)
        file.edit(role, lambda text: file.pick([f" {text}", f"{text} "]), 0.1)

    return change


def write_codes(file: MessyFile) -> None:
    codes = [f"{number:05}" for number in file.rng.integers(1, 3000, 12)]
    file.fill("city", file.rng.choice(codes, file.rows))


def break_lines(file: MessyFile) -> None:
    part = file.pick(["\n", file.csv_options["delimiter"], ' "so" ', "\n\n"])
    file.fill("note", [text.replace(" ", part) for text in file.values["note"]], str)


def write_windows(file: MessyFile) -> None:
    file.edit("note", "“{}” – 5 €".format, 0.5)
    file.values["note"], file.encoding = [*file.cells["note"]], "cp1252"


def mix_booleans(file: MessyFile) -> None:
    words = {True: ["TRUE", "1"], False: ["FALSE", "0"]}
    file.fill("answer", file.is_yes, lambda value: file.pick(words[value]))
    file.positive = True


def add_totals(file: MessyFile) -> None:
    texts = {"quantity": "99999", file.pick(["date", "city"]): file.total}
    file.bottom = [file.line(amount=file.number(1234567.89), **texts)]


def add_source(file: MessyFile) -> None:
    text = f"{file.source}: www.example.org"
    file.bottom = file.pick([[[text]], ["", [text]], [file.line(amount=text)]])


def add_cell(file: MessyFile) -> None:
    row = int(file.rng.integers(file.rows))
    texts = [texts[row] for texts in file.cells.values()]
    file.inside[row] = [*texts, "more", *file.padding]


def number_rows(file: MessyFile) -> None:
    file.cells = {"": [str(row) for row in range(file.rows)], **file.cells}


def set_to(**attributes: Any) -> Fault:
    """Set attributes of a file; a function is called with the file."""

    def change(file: MessyFile) -> None:
        for name, value in attributes.items():
            setattr(file, name, value(file) if callable(value) else value)

    return change


FAULTS: dict[str, dict[str, Fault]] = {
    "nothing": {"clean": lambda _: None},
    "side": {
        "empty columns": set_to(padding=lambda f: [""] * f.pick([1, 2, 5])),
        "row numbers": number_rows,
    },
    "amount": {
        "typo": write("amount", *TYPOS, share=0, truth=lambda value: (value, None)),
        "word for missing": lose("amount", *MISSING_WORDS),
        "other decimal mark": swap_marks,
        "accounting": negate("({})"),
        "sign behind": negate("{}-"),
        "minus sign": negate("\u2212{}"),
        "Swiss thousands": group_thousands("'", "\u2019"),
        "spaces in thousands": group_thousands(" ", "\u00a0", "\u202f"),
        "thousands": group_thousands(",", "."),
        "percent": write("amount", "{} %", "{}%"),
        "currency": write("amount", "€ {}", "${}", "CHF {}", "{} €", "{} EUR", "US$ {}"),
        "currency at times": write("amount", "€ {}", "${}", "{} €", "{} EUR", share=0.6),
        "unit": write("amount", "{} kg", "{}kg", "{} km/h", "{} m²", "{} Stück"),
        "two units": mix_units("kg", "g"),
        "two currencies": mix_units("EUR", "USD"),
        "exponent": write_exponents,
        "spaces": write("amount", "{} ", "  {}", "\u00a0{}", "\t{}", share=0.5),
    },
    "date": {
        "second date format": date_as("%Y/%m/%d", 0.2),
        "month names": date_as("%d %b %Y"),
        "short years": date_as("%d.%m.%y"),
        "dates with 00:00": date_as("%Y-%m-%d 00:00:00", 0.3),
        "serial days": count_time(EXCEL_EPOCH, timedelta(1)),
        "Unix seconds": count_time(UNIX_EPOCH, timedelta(seconds=1)),
        "no date": lose("date", *NO_DATES),
    },
    "quantity": {"clocks": write_clocks},
    "city": {"spelling": vary_spelling("city"), "leading zeros": write_codes},
    "note": {"line breaks and quotes": break_lines},
    "answer": {
        "yes and no": lambda f: f.answer(*f.pick(YES_NO).split("/")),
        "mixed booleans": mix_booleans,
        "word for no answer": lose("answer", *MISSING_WORDS),
        "spelling of answers": vary_spelling("answer"),
    },
    "top": {
        "title": set_to(top=lambda f: f.pick([["Report"], ["Report 2024", ""], ["A", "B: 1", ""]])),
        "sep=": set_to(top=lambda f: [f"sep={f.csv_options['delimiter']}"]),
        "empty lines above": set_to(top=lambda f: ["", f.line()]),
        "comments": set_to(top=["# exported by Anna", "# 2024-05-31, 14:30"]),
        "units": set_to(below=lambda f: [f.line(amount=f.pick(["EUR", "[€]", "(kg)"]))]),
        "same name twice": set_to(
            names=lambda f: f.names | {"note": f.names["city"]}, hint="more than once"
        ),
    },
    "bottom": {
        "totals": add_totals,
        "source": add_source,
        "empty lines below": set_to(bottom=lambda f: [f.line(), f.line(), "", ""]),
        "cut off": set_to(bottom=lambda f: [[f.cells["amount"][0], "1"]]),
        "count of rows": set_to(bottom=lambda f: [[f"({f.rows} rows)"]]),
    },
    "inside": {
        "header again": lambda f: f.inside.update({f.rows // 2: f.line(**f.names)}),
        "too many cells": add_cell,
    },
    "bytes": {
        "Windows characters": write_windows,
        "UTF-16": set_to(encoding="utf-16", hint="(?i)utf-16"),
        "UTF-16 without mark": set_to(encoding="utf-16-le", hint="(?i)utf-16"),
        "UTF-8 with mark": set_to(encoding="utf-8-sig"),
        "CR": set_to(newline="\r"),
        "CR LF": set_to(newline="\r\n"),
        "all in quotes": lambda f: f.csv_options.update(quoting=csv.QUOTE_ALL),
        "workbook": set_to(workbook_options={}),
        "workbook with percent": set_to(workbook_options={"style": PERCENT}),
        "workbook with formulas": set_to(workbook_options={"formula": "<f>1*1</f>"}),
        "workbook with title": set_to(workbook_options={"merged": "A1:D1"}, top=["Report", ""]),
        "workbook with two sheets": set_to(workbook_options={}, sheets_after=[[["Read me"]]]),
        "workbook with notes first": set_to(
            workbook_options={}, sheets_before=[[["Read me"]]], hint="(?i)sheet"
        ),
    },
}
KINDS = [(place, kind) for place, faults in FAULTS.items() for kind in faults]


def draw_file(seed: int) -> tuple[str, MessyFile]:
    """Draw the file of a seed: the next kind of fault, and every other time a second fault."""
    rounds, number = divmod(seed, len(KINDS))
    place, kind = KINDS[number]
    file, chosen = MessyFile(seed), {place: kind}
    if rounds % 2 == 1:
        candidates = [other for other in KINDS if other[0] not in (place, "nothing")]
        chosen |= dict([file.pick(candidates)])
    for place in FAULTS:  # in this order, since lines contain all columns
        if place in chosen:
            FAULTS[place][chosen[place]](file)
    return " + ".join(chosen.values()), file


def main() -> None:
    """Print the outcomes of files by kind, and what is wrong."""
    n_files, first = (int(text) for text in [*sys.argv[1:], "300", "0"][:2])
    counts = defaultdict[str, Counter[str]](Counter)
    for seed in range(first, first + n_files):
        kind, file = draw_file(seed)
        result, problem = judge(file)
        for key in (*kind.split(" + "), "two faults" if " + " in kind else "one fault"):
            counts[key][result] += 1
        if result == WRONG:
            print(f"seed {seed}, {kind}: {problem}")
    print(f"{'kind':40}", *OUTCOMES, sep="\t")
    for key, by_result in counts.items():
        print(f"{key:40}", *(by_result[result] for result in OUTCOMES), sep="\t")


if __name__ == "__main__":
    main()
