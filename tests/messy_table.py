"""A small table with its true values, and the file that contains it, which faults change."""

import csv
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import numpy as np

from tests.workbooks import write_workbook

# The columns in ten languages, two words for yes and no, two other words, the decimal mark and the
# format of dates.
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
NOTE_WORDS = ["paid", "late", "twice", "called", "wrote", "café", "naïve", "new", "letter", "open"]
Record = str | list[Any]  # a line as it is, or the cells of a row


class MessyFile:
    """A table with its true values, and the lines and bytes around it, which faults change.

    Attributes:
        cells: The texts of each column, by its role.
        values: The true values of each column: None, float, str, bool or datetime; a tuple if
            several values are right.
        questions: Patterns for a question about a column, if no key can repair it.
        bad_rows: The rows that a fault has changed.
        hint: Pattern for a message that refuses the file without a line.
    """

    def __init__(self, seed: int) -> None:
        rng = self.rng = np.random.default_rng(seed)
        words = self.pick(LANGUAGES)
        self.names = dict(zip(ROLES, words, strict=False))
        self.yes, self.no, self.total, self.source, self.point, self.date_format = words[6:]
        self.csv_options = {"delimiter": self.pick([*",;\t|"]), "lineterminator": "\n"}
        self.encoding, self.newline, self.hint = "utf-8", "\n", "(?!)"
        self.workbook_options: dict[str, Any] | None = None
        self.sheets_before, self.sheets_after = list[Any](), list[Any]()
        self.top, self.below, self.bottom = list[Record](), list[Record](), list[Record]()
        self.inside, self.padding, self.bad_rows = dict[int, Record](), list[str](), set[int]()
        self.questions = dict[str, str]()
        self.positive: Any = None
        self.cells, self.values = dict[str, list[str]](), dict[str, list[Any]]()
        self.rows = rows = int(np.exp(rng.uniform(*np.log([50, 5000]))))
        amounts = np.round(np.exp(rng.normal(6, 1, rows)), 2)
        dates = [datetime(2022, 1, 1) + timedelta(int(day)) for day in rng.integers(0, 700, rows)]
        notes = [" ".join(rng.choice(NOTE_WORDS, rng.integers(3, 9))) for _ in dates]
        self.fill("amount", amounts, self.number)
        self.fill("quantity", 1.0 + rng.poisson(12, rows), "{:.0f}".format)
        self.fill("date", dates, lambda date: f"{date:{self.date_format}}")
        self.fill("city", rng.choice(CITIES, rows))
        self.fill("note", notes)
        signal = amounts + rng.normal(0, 200, rows)
        self.is_yes = signal > np.quantile(signal, self.pick([0.2, 0.8]))
        if rng.random() < 0.3:
            self.fill("answer", np.round(rng.normal(400, 50, rows), 2), self.number)
        else:
            self.answer(self.yes, self.no)
        self.clean = {role: [*texts] for role, texts in self.cells.items()}

    def pick(self, options: Sequence[Any]) -> Any:
        """Draw one of some options."""
        return options[int(self.rng.integers(len(options)))]

    def number(self, value: float, group: str = "") -> str:
        """Write a number with two decimals and the decimal mark of the language."""
        return f"{value:,.2f}".translate({ord(","): group, ord("."): self.point})

    def fill(self, role: str, values: Any, write: Callable[[Any], str] = str) -> None:
        """Give a column its true values, and write them."""
        self.values[role] = values.tolist() if isinstance(values, np.ndarray) else values
        self.cells[role] = [write(value) for value in self.values[role]]

    def answer(self, yes: str, no: str) -> None:
        """Make the target a pair of words, of which the first is the positive class."""
        self.positive = yes
        self.fill("answer", np.where(self.is_yes, yes, no))

    def edit(
        self,
        role: str,
        write: Callable[[str], str],
        share: float = 1.0,
        truth: Callable[[Any], Any] = lambda value: value,
    ) -> None:
        """Rewrite a share of the cells of a column, at least one, and their true values."""
        rows = np.flatnonzero(self.rng.random(self.rows) < share).tolist()
        for row in rows or [int(self.rng.integers(self.rows))]:
            self.cells[role][row] = write(self.cells[role][row])
            self.values[role][row] = truth(self.values[role][row])
            self.bad_rows.add(row)

    def line(self, **texts: str) -> list[str]:
        """Return the cells of a line that may be no row."""
        return [*(texts.get(role, "") for role in self.cells), *self.padding]

    def typed_cells(self, role: str) -> list[Any]:
        """Return the cells of a column; Excel stores numbers and dates that have no fault."""
        if self.workbook_options is None or role not in self.clean:
            return self.cells[role]
        cells = zip(self.cells[role], self.clean[role], self.values[role], strict=True)
        return [value if text == clean else text for text, clean, value in cells]

    def records(self) -> list[tuple[Record, bool]]:
        """Return the lines of the file, and whether each has a fault."""
        records: list[tuple[Record, bool]] = [(record, True) for record in self.top]
        records.append((self.line(**self.names), False))
        records += [(record, True) for record in self.below]
        columns = [self.typed_cells(role) for role in self.cells]
        for row, texts in enumerate(zip(*columns, strict=True)):
            if row in self.inside:
                records.append((self.inside[row], True))
            records.append(([*texts, *self.padding], row in self.bad_rows))
        return records + [(record, True) for record in self.bottom]

    def render(self) -> tuple[bytes, set[int]]:
        """Return the content of the file, and the numbers of the lines with a fault."""
        records = self.records()
        if self.workbook_options is not None:
            rows: list[Any] = [
                [record] if isinstance(record, str) else record for record, _ in records
            ]
            bad_rows = {number for number, (_, is_bad) in enumerate(records, 1) if is_bad}
            sheets = [*self.sheets_before, rows, *self.sheets_after]
            return write_workbook(*sheets, **self.workbook_options), bad_rows
        texts, bad_lines, line = list[str](), set[int](), 1
        for record, is_bad in records:
            texts.append(record if isinstance(record, str) else self.write(record))
            bad_lines |= {line} if is_bad else set()
            line += 1 + texts[-1].count("\n")
        text = self.newline.join([*texts, ""])
        if self.encoding == "cp1252":  # which has neither of these characters
            text = text.translate({ord("\u202f"): "\u00a0", ord("\u2212"): "-"})
        return text.encode(self.encoding), bad_lines

    def write(self, cells: list[str]) -> str:
        """Write cells as a line, which may contain line breaks in quotes."""
        buffer = StringIO()
        csv.writer(buffer, **self.csv_options).writerow(cells)
        return buffer.getvalue()[:-1]
