"""A Hypothesis strategy for tables as people mail them, with their true values.

Ideas for faults come from the test files of pandas, DuckDB, readr, frictionless and
OpenRefine.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from io import StringIO
from operator import neg
from typing import Any

import numpy as np
from hypothesis import strategies as st

# The columns in ten languages, two words for yes and no, two other words, the decimal
# mark and the format of dates.
LANGUAGES = [
    line.split()
    for line in """
    amount quantity date city note churned yes no Total Source . %Y-%m-%d
    Betrag Menge Datum Stadt Notiz Kündigung ja nein Summe Quelle , %d.%m.%Y
    montant quantité date ville remarque résilié oui non Total Source , %d/%m/%Y
    importe cantidad fecha ciudad nota baja sí no Total Fuente , %d/%m/%Y
    importo quantità data città nota disdetta vero falso Totale Fonte , %d/%m/%Y
    bedrag aantal datum stad opmerking opgezegd ja nee Totaal Bron , %d-%m-%Y
    kwota liczba data miasto uwaga rezygnacja tak nie Suma Dane , %Y-%m-%d
    belopp antal datum stad anteckning uppsagd ja nej Summa Källa , %Y-%m-%d
    valor quantidade data cidade nota cancelado sim não Total Fonte , %d/%m/%Y
    summa määrä päivä kaupunki huomautus irtisanottu kyllä ei Yhteensä Lähde , %d.%m.%Y
    """.strip().splitlines()
]
ROLES = ("amount", "quantity", "date", "city", "note", "answer")
CITIES = ["Köln", "Zürich", "Málaga", "Orléans", "Paris", "Bern"]
NOTE_WORDS = ["paid", "late", "wrote", "café", "naïve", "letter", "open", "twice"]
YES_NO = """\
yes/no
ja/nein
oui/non
sí/no
sì/no
vero/falso
ja/nee
tak/nie
ja/nej
sim/não
kyllä/ei
igen/nem
ano/ne
Y/N
positive/negative
with/without
mit/ohne
true/false
""".splitlines()
MISSING_WORDS = """\
k.A.
unknown
n/a
-
?
keine Angabe
missing
#N/A
#DIV/0!
NULL
\\N
(leer)
inconnu
sin datos
--
fehlt
""".splitlines()
TYPOS = ("{}o", "O{}", "{},2", "{} 7", "{}..", "l{}", "{}x", "~{}", "{0}-{0}", "{} ?")
CURRENCIES = ("€ {}", "${}", "CHF {}", "{} €", "{} EUR", "US$ {}")
UNITS = ("{} kg", "{}kg", "{} km/h", "{} m²", "{} Stück", "{} %", "{}%")
NO_DATES = ("0000-00-00", "00.00.0000", "tbd", "?", "unbekannt")
SWAPPED_MARKS = str.maketrans(",.", ".,")
# The cells and names of columns of any kind.
FEW_WORDS = ["TRUE/FALSE", "0/1", "1/2", "ill/well", "0/1/2/3", *YES_NO]
WORDS = [
    ["red", "Blue ", "blue", "a;b", "x,y"],
    ['say "hi"', "Ä", "no", "007", "-5"],
    *(words.split("/") for words in FEW_WORDS),
    *([f"c{number}" for number in range(size)] for size in (3, 21, 300, 2000)),
]
TEXT_PARTS = [
    *(f"word{number}" for number in range(80)),
    '"quoted"',
    "two\nlines",
    "5;6",
]
DATE_FORMATS = """\
%Y-%m-%d
%d.%m.%Y
%m/%d/%Y
%d/%m/%Y
%Y%m%d
%d %b %Y
%b %Y
%m/%d/%y
%Y-%m-%d %H:%M:%S
%Y-%m-%dT%H:%M:%S+02:00
%d.%m.%Y %H:%M
""".splitlines()
COMMON_NAMES = """\
rows
loss
macro
test
accuracy
target
class
index
fold
output_0
predicted
weight
date
time
id
customer_id
Nr
key
no
null
1
3.5
true
~
-x
#
a: b
[x]
{y}
*
&amp;
<b>
%d
=1+1
a,b
a;b
""".splitlines()
NAMES = [
    "",
    " ",
    "a",
    "b c",
    'quote "',
    "it's",
    "a/b",
    "x.y",
    "größe",
    "名前",
    "n" * 300,
    "a\nb",
    *COMMON_NAMES,
]
Record = str | list[Any]  # a line as it is, or the cells of a row
Change = Callable[[Any], Any]


@dataclass
class Column:
    """The cells of a column.

    Attributes:
        texts: The cells as the file has them.
        values: The true values: None, float, str, bool or datetime; a tuple if several
            are right.
        question: Pattern of a question that is enough, if no key can repair the column.
        may_be_text: Whether the cells may also be read as texts, or be left out.
    """

    texts: list[str]
    values: list[Any]
    question: str = "(?!)"
    may_be_text: bool = False


class RandomTable:
    """A table with its true values, and the text around it, which faults change.

    Attributes:
        bad_rows: The rows that a fault has changed.
    """

    def __init__(self, rng: np.random.Generator, rows: int) -> None:
        self.rng = rng
        self.rows = rows
        words = self.pick(*LANGUAGES)
        self.names = dict(zip(ROLES, words, strict=False))
        self.yes, self.no, self.total, self.source = words[6:10]
        self.point, self.date_format = words[10:]
        delimiters = ",;\t|" if self.point == "." else ";\t|"
        self.delimiter = self.pick(*delimiters)
        self.encoding = "utf-8"
        self.newline = "\n"
        self.quoting = csv.QUOTE_MINIMAL
        self.columns = dict[str, Column]()
        self.padding = list[str]()
        self.bad_rows = set[int]()
        amounts = np.round(np.exp(self.rng.normal(6, 1, rows)), 2)
        days = [
            datetime(2022, 1, 1) + timedelta(int(n))
            for n in self.rng.integers(0, 700, rows)
        ]
        self.fill("amount", amounts, self.number)
        self.fill("quantity", 1.0 + self.rng.poisson(12, rows), "{:.0f}".format)
        self.fill("date", days, lambda date: f"{date:{self.date_format}}")
        self.fill("city", self.rng.choice(CITIES, rows))
        self.fill_with_texts("note", NOTE_WORDS)
        signal = amounts + self.rng.normal(0, 200, rows)
        self.is_yes = signal > np.quantile(signal, self.pick(0.2, 0.8))
        self.answer(self.yes, self.no)

    def pick(self, *options: Any) -> Any:
        """Draw one of some options."""
        return options[int(self.rng.integers(len(options)))]

    def number(
        self,
        value: float,
        group: str = "",
        form: str = ".2f",
    ) -> str:
        """Write a number with the marks of the language."""
        return f"{value:,{form}}".translate({ord(","): group, ord("."): self.point})

    def fill(
        self,
        role: str,
        values: Any,
        write: Change = str,
    ) -> Column:
        """Give a column its true values, and write them."""
        values = values.tolist() if isinstance(values, np.ndarray) else values
        texts = [str(write(value)) for value in values]
        self.columns[role] = Column(texts, values)
        return self.columns[role]

    def answer(self, yes: str, no: str) -> None:
        """Make the target a pair of words, of which the first is the positive class."""
        self.positive = yes
        self.fill("answer", np.where(self.is_yes, yes, no))

    def edit(
        self,
        role: str,
        write: Change,
        share: float = 1,
        truth: Change | None = None,
    ) -> Column:
        """Rewrite a share of the cells of a column, and perhaps their true values."""
        column = self.columns[role]
        rows = np.flatnonzero(self.rng.random(self.rows) < share).tolist()
        if not rows:
            rows = [int(self.rng.integers(self.rows))]
        for row in rows:
            column.texts[row] = write(column.texts[row])
            if truth:
                column.values[row] = truth(column.values[row])
            self.bad_rows.add(row)
        return column

    def fill_with_numbers(self, role: str) -> None:
        """Fill a column with numbers of any magnitude and distribution."""
        rng = self.rng
        rows = self.rows
        normal = rng.normal(size=rows)
        values, form = self.pick(
            # As if the point separated thousands:
            (normal * rng.choice([0.3, 1, 50]), ".3f"),
            (1e4 * np.exp(2 * normal), f".{rng.integers(0, 4)}f"),
            # Nearly constant:
            (rng.choice([1.0, -1e6, 1e9]) * (1 + 1e-9 * normal), ".12g"),
            (np.where(rng.random(rows) < rng.choice([0.1, 0.97]), 0, normal), ".4f"),
            (rng.standard_cauchy(rows), ".6g"),
            (
                10.0 ** rng.integers(-12, 13) * rng.choice([normal, np.abs(normal)]),
                ".8g",
            ),
            (rng.integers(0, rng.choice([2, 3, 12, 100, 10**6, 10**12]), rows), ".0f"),
            (rng.poisson(rng.choice([0.1, 3, 200]), rows), ".0f"),
            (rng.integers(2000, 2024, rows), ".0f"),
            (np.arange(rows) + rng.choice([0, 1000, 10**9]), ".0f"),
        )
        marks = ",'" if self.point == "." else ". "
        group = self.pick("", *marks)
        numbers = [float(f"{value:{form}}") for value in values]
        self.fill(role, numbers, lambda value: self.number(value, group, form))

    def fill_with_dates(self, role: str) -> None:
        """Fill a column with dates or times in one format or in two."""
        both = [self.pick(*DATE_FORMATS), self.pick(*DATE_FORMATS)]
        shares = self.pick((1, 0), (0.7, 0.3))
        forms = self.rng.choice(both, self.rows, p=shares).tolist()
        seconds = self.rng.integers(0, self.pick(40, 4000) * 86400, self.rows).tolist()
        times = [datetime(1990, 1, 1) + timedelta(seconds=second) for second in seconds]
        texts = [f"{time:{form}}" for time, form in zip(times, forms, strict=True)]
        column = self.fill(role, texts)
        column.values = [
            datetime.strptime(text, form.replace("+02:00", "%z"))
            for text, form in zip(texts, forms, strict=True)
        ]

    def fill_with_words(self, role: str) -> None:
        """Fill a column with few or many words; often, most rows have the same."""
        words = self.pick(*WORDS)
        shares = self.rng.dirichlet(np.full(len(words), self.pick(20, 0.5, 0.05)))
        self.fill(role, self.rng.choice(words, self.rows, p=shares))

    def fill_with_texts(self, role: str, words: list[str] = TEXT_PARTS) -> None:
        """Fill a column with texts of at least three words."""
        sizes = self.rng.integers(3, 9, self.rows)
        self.fill(role, [" ".join(self.rng.choice(words, size)) for size in sizes])

    def fill_with_codes(self, role: str) -> None:
        """Fill a column with a different code in each row."""
        numbers = self.rng.permutation(self.rows * 7)
        form = self.pick("{:012}", "{:x}z")
        codes = [form.format(number) for number in numbers[: self.rows].tolist()]
        self.fill(role, codes)

    def vary(self, role: str, *fills: Callable[[str], None]) -> None:
        """Fill a column with cells of any kind, some of which may be missing."""
        self.pick(*fills)(role)
        share = self.pick(0, 0, 0.02, 0.3)
        if share:
            marks = [self.pick("", "NA", "?", "-", "nan", "NULL") for _ in range(2)]
            self.edit(
                role,
                lambda _: str(self.rng.choice(marks)),
                share,
                truth=lambda _: None,
            )
        self.columns[role].may_be_text = True

    def repeat_rows(self, count: int) -> None:
        """Replace the first rows by any rows."""
        order = [*self.rng.integers(0, self.rows, count), *range(count, self.rows)]
        for column in self.columns.values():
            for cells in (column.texts, column.values):
                cells[:] = [cells[row] for row in order]
        self.is_yes = self.is_yes[order]
        self.bad_rows = set()

    def line(self, **texts: str) -> list[Any]:
        """Return the cells of a line that may be no row."""
        return [*(texts.get(role, "") for role in self.columns), *self.padding]

    @cached_property
    def records(self) -> list[tuple[Record, bool]]:
        """Return the lines of the file, and whether each has a fault."""
        cells = [column.texts for column in self.columns.values()]
        rows = [[*row, *self.padding] for row in zip(*cells, strict=True)]
        lines = [(row, number in self.bad_rows) for number, row in enumerate(rows)]
        return [(self.line(**self.names), False), *lines]

    def insert(self, position: int, *records: Record) -> None:
        """Insert faulty lines above the header (0), below it (1), or further below."""
        self.records[position:position] = [(record, True) for record in records]

    def append(self, *records: Record) -> None:
        """Append lines with a fault."""
        self.insert(len(self.records), *records)

    def render(self) -> tuple[bytes, set[int]]:
        """Return the content of the file, and the numbers of the lines with a fault."""
        end = "\n\0"  # between records, as opposed to line breaks in cells
        buffer = StringIO()
        options: dict[str, Any] = {"delimiter": self.delimiter, "quoting": self.quoting}
        writer = csv.writer(buffer, lineterminator=end, **options)
        for record, _ in self.records:
            if isinstance(record, str):
                buffer.write(record + end)
            else:
                writer.writerow(record)
        texts = buffer.getvalue().split(end)
        sizes = [1 + text.count("\n") for text in texts[:-1]]
        content = self.newline.join(texts)
        starts = np.cumsum([1, *sizes]).tolist()
        pairs = zip(starts, self.records, strict=False)
        bad_lines = {start for start, (_, is_bad) in pairs if is_bad}
        return content.encode(self.encoding), bad_lines


Fault = Callable[[RandomTable], Any]


def write(
    role: str,
    *forms: str,
    share: float = 1,
    truth: Change | None = None,
) -> Fault:
    """Write a share of the cells of a column in one of these forms."""
    return lambda table: table.edit(
        role,
        table.pick(*forms).format,
        share,
        truth,
    )


def lose(role: str, *words: str) -> Fault:
    """Write a word in place of some cells, which are missing."""
    return write(role, *words, share=0.05, truth=lambda _: None)


def set_to(**attributes: Any) -> Fault:
    """Set attributes of a table."""
    return lambda table: vars(table).update(attributes)


def swap_marks(table: RandomTable) -> None:
    column = table.edit(
        "amount",
        lambda t: t.translate(SWAPPED_MARKS),
        0.02,
        lambda v: (v, None),
    )
    column.question = "Are these numbers"


def group_thousands(table: RandomTable) -> None:
    marks = [mark for mark in ",.'\u2019 \u00a0" if mark != table.point]
    mark = table.pick(*marks)
    amounts = table.columns["amount"].values
    table.fill("amount", amounts, lambda value: table.number(value, mark))


def write_exponents(table: RandomTable) -> None:
    values = [float(f"{value:.3E}") for value in table.columns["amount"].values]
    table.fill("amount", values, lambda value: f"{value:.3E}".replace(".", table.point))


def write_dates(table: RandomTable) -> None:
    form = table.pick("%Y/%m/%d", "%Y-%m-%d 00:00:00", "%d %b %Y", "%d.%m.%y")
    share = 0.2 if form.startswith("%Y") else 1

    def rewrite(text: str) -> str:
        return datetime.strptime(text, table.date_format).strftime(form)

    table.edit("date", rewrite, share)


def vary_spelling(role: str) -> Fault:
    forms = [str.upper, " {}".format, "{} ".format, *[str] * 20]
    return lambda table: table.edit(role, lambda text: table.pick(*forms)(text))


def break_lines(table: RandomTable) -> None:
    part = table.pick("\n", table.delimiter, ' "so" ', "\n\n")
    notes = table.columns["note"].values
    table.fill("note", [text.replace(" ", part) for text in notes])


def answer_yes_or_no(table: RandomTable) -> None:
    yes, no = table.pick(*YES_NO).split("/")
    table.answer(yes, no)


def add_title(table: RandomTable) -> None:
    lines = table.pick(["Report"], ["R 2024", ""], ["A", "B: 1", ""])
    table.insert(0, *lines)


def number_rows(table: RandomTable) -> None:
    table.columns = {"": table.fill("", range(table.rows))} | table.columns


def add_totals(table: RandomTable) -> None:
    texts = {"quantity": "99999", table.pick("date", "city"): table.total}
    table.append(table.line(amount=table.number(1234567.89), **texts))


def add_source(table: RandomTable) -> None:
    text = f"{table.source}: www.example.org"
    lines = table.pick([[text]], ["", [text]], [table.line(amount=text)])
    table.append(*lines)


# A fault begins with its place. Faults are made in this order: lines contain all
# columns.
FAULTS: dict[str, Fault] = {
    "nothing": lambda _: None,
    "amount: typo": write("amount", *TYPOS, share=0, truth=lambda value: (value, None)),
    "amount: word for missing": lose("amount", *MISSING_WORDS),
    "amount: other decimal mark": swap_marks,
    "amount: negative in brackets": write("amount", "({})", share=0.2, truth=neg),
    "amount: sign behind": write("amount", "{}-", share=0.2, truth=neg),
    "amount: minus sign": write("amount", "\u2212{}", share=0.2, truth=neg),
    "amount: thousands": group_thousands,
    "amount: currency": write("amount", *CURRENCIES),
    "amount: currency at times": write("amount", *CURRENCIES, share=0.6),
    "amount: unit": write("amount", *UNITS),
    "amount: exponent": write_exponents,
    "amount: spaces": write("amount", "{} ", "  {}", "\u00a0{}", "\t{}", share=0.5),
    "date: other format": write_dates,
    "date: no date": lose("date", *NO_DATES),
    "city: spelling": vary_spelling("city"),
    "city: leading zero": lambda t: t.fill(
        "city",
        t.rng.choice(["00120", "00451"], t.rows),
    ),
    "note: line breaks and quotes": break_lines,
    "answer: yes and no": answer_yes_or_no,
    "answer: word for no answer": lose("answer", *MISSING_WORDS),
    "answer: spelling": vary_spelling("answer"),
    "side: empty columns": lambda t: t.padding.extend([""] * t.pick(1, 2, 5)),
    "side: row numbers": number_rows,
    "bytes: UTF-8 with mark": set_to(encoding="utf-8-sig"),
    "bytes: CR": set_to(newline="\r"),
    "bytes: CR LF": set_to(newline="\r\n"),
    "bytes: all in quotes": set_to(quoting=csv.QUOTE_ALL),
    "top: title": add_title,
    "top: sep=": lambda t: t.insert(0, f"sep={t.delimiter}"),
    "top: empty lines": lambda t: t.insert(0, "", t.line()),
    "top: comments": lambda t: t.insert(0, "# exported by Anna", "# 2024-05-31, 14:30"),
    "amount: units below the header": lambda t: t.insert(
        1,
        t.line(amount=t.pick("EUR", "[€]", "(kg)")),
    ),
    "inside: header again": lambda t: t.insert(t.rows // 2, t.line(**t.names)),
    "inside: too many cells": lambda t: t.insert(
        9,
        [*t.line(city="Paris", amount="1"), "more"],
    ),
    "bottom: totals": add_totals,
    "bottom: source": add_source,
    "bottom: empty lines": lambda t: t.append(t.line(), t.line(), "", ""),
    "bottom: count of rows": lambda t: t.append([f"({t.rows} rows)"]),
}


@st.composite
def tables(draw: st.DrawFn, fault: str = "nothing") -> RandomTable:
    """Draw a table with a fault, and perhaps with a second one in another place.

    Columns without a fault may have cells of any kind. A table without a fault may have
    odd names.
    """
    seed = draw(st.integers(0, 2**32 - 1))
    rows = int(50 * 20 ** draw(st.floats(0, 1)))
    table = RandomTable(np.random.default_rng([*f"{seed} {fault}".encode()]), rows)
    faults = {fault.partition(":")[0]: fault}
    if fault != "nothing" and table.pick(False, True):
        second = table.pick(*FAULTS)
        faults = {second.partition(":")[0]: second} | faults
    fills = {
        "quantity": [table.fill_with_numbers],
        "date": [table.fill_with_dates],
        "city": [table.fill_with_words, table.fill_with_numbers],
        "note": [table.fill_with_texts, table.fill_with_words, table.fill_with_codes],
        "answer": [table.fill_with_words, table.fill_with_numbers],
    }
    for role in fills:
        if role not in faults and table.pick(False, True):
            table.vary(role, *fills[role])
    table.repeat_rows(table.pick(0, 0, rows // 20 + 1, rows))
    if fault == "nothing" and table.pick(False, True):
        names = table.rng.choice(NAMES, len(ROLES), replace=False).tolist()
        table.names = dict(zip(ROLES, names, strict=True))
        for column in table.columns.values():
            column.may_be_text = True
    for name in FAULTS:
        if name in faults.values():
            FAULTS[name](table)
    return table
