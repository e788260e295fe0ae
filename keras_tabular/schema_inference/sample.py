"""The sample of rows that a schema is inferred from, and the odd lines of its files."""

import math
import re
import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pyarrow as pa

from keras_tabular.config.schema import Dialect
from keras_tabular.core.errors import UserError, format_list, quote, truncate
from keras_tabular.schema_inference import formats, word_pattern
from keras_tabular.table import csv, excel
from keras_tabular.table.dialect import fit_dialect, has_header, is_csv
from keras_tabular.table.rows import text_columns
from keras_tabular.table.source import column_types, read_rows, readable_names

MIN_ROWS = 3  # below a header, so that lines above it can be titles
MIN_NUMBER_SHARE = 0.9  # of the cells of a column of numbers
MAX_LINES_AT_END = 5  # that are no rows
# Above one of these limits, the header may be wrong, and not the odd lines.
MAX_ODD_LINES = 10
MAX_ODD_SHARE = 0.1  # of the rows
LINES_FOR_FORM = 100  # from which the header and the columns of numbers are inferred
NUMBER = re.compile(r"[^A-Za-z]*\d[^A-Za-z]*(E[+-]?\d+|[A-Za-z/²³]{1,5})?")  # or a date
UNIT = re.compile(
    r"[\[(].+[\])]|[%‰$€£°]|°?[CFK]|[A-Z]{2,3}[$]?"
    r"|[kMGmµμcd]?(g|m|s|l|L|W|Wh|V|A|Hz|Pa|bar|mol|J|€)[23²³]?"
    r"|\w{1,3}/\w{1,3}[23²³]?|t|h|d|a|lbs?|oz|ft|in|mi|min|ha|kcal|mmHg|ppm|"
    + word_pattern("unit"),
)
DOUBTFUL_TOTAL = re.compile(word_pattern("doubtful-total") + ":?", re.IGNORECASE)
TOTAL = re.compile(
    word_pattern("total") + ":?|" + DOUBTFUL_TOTAL.pattern,
    re.IGNORECASE,
)
NOTE = re.compile(word_pattern("note") + " ?:|[*¹©]", re.IGNORECASE)
# Texts that usually stand for a missing value.
MISSING_TEXTS = "NA N/A n/a #N/A NaN nan NULL null None none ? - ."
MISSING = {*MISSING_TEXTS.split()}
# What words of other alphabets look like in cp1252.
ODD_LETTERS = re.compile("[À-ÿ]{3}|[a-zà-ÿ][£¥¯³¹¼¾¿][a-zà-ÿ]|£[a-zà-ÿ]{2}")


@dataclass
class Sample:
    """The first rows of a table.

    Attributes:
        dialect: How the table is written, for its schema.
        delimiter: The delimiter of its files; empty if they are not CSV files.
        columns: How often each text occurs in each column. A type of Parquet that no
            kind of column can hold, such as a list, counts as an empty text.
        raw_rows: The rows, with the columns that can be read.
        row_hashes: A hash of each different row.
        is_complete: Whether these are all rows of the table.
        questions: Questions about keys of the dialect, by the key.
        reading: The dialect in which the sample was read, without lines that may be
            rows or not.
        files: The names of the files that have a column, by its name.
    """

    dialect: Dialect
    delimiter: str
    columns: dict[str, Counter[str]] = field(
        default_factory=lambda: defaultdict(Counter),
    )
    raw_rows: list[csv.RawRows] = field(default_factory=list)
    row_hashes: set[int] = field(default_factory=set)
    is_complete: bool = True
    questions: dict[str, str] = field(default_factory=dict)
    reading: Dialect = field(default_factory=Dialect)
    files: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(len(raw.cells) for raw in self.raw_rows)


class ExtraLine(NamedTuple):
    """A line of a file that is probably no row.

    Attributes:
        number: Number of the line, from 1, or from the end of the file, from -1.
        cells: Its cells.
        form: What the line seems to be.
        is_certain: Whether nothing speaks against it.
    """

    number: int
    cells: list[str]
    form: str
    is_certain: bool = True

    def __str__(self) -> str:
        place = f"line {self.number}"
        if self.number == -1:
            place = "the last line"
        elif self.number < 0:
            place = f"line {-self.number} from the end"
        text = " ".join(cell for cell in self.cells if cell)
        return f"{place} ({quote(text)}, {self.form})"


def read_sample(files: list[Path], limit: int) -> Sample:
    """Read up to `limit` rows, the first ones of each file of a table.

    Raises:
        UserError: A file cannot be read, a header names a column twice, a column can be
            read in some of the files only, or there is no row.
    """
    # The dialect is that of most files. If cp1252 is declared, files in UTF-8 are
    # recognised, and a file may be in ASCII at first.
    dialects = [fit_dialect(file, Dialect()) for file in files if is_csv(file)]
    delimiters = Counter(dialect.delimiter for dialect in dialects)
    dialect = max(
        dialects,
        key=lambda d: (delimiters[d.delimiter], d.encoding == "cp1252"),
        default=Dialect(),
    )
    sample = Sample(dialect, dialect.delimiter if is_csv(files[0]) else "")
    sample.reading = ask_about_dialect(sample, files, limit)
    names = add_names(sample, files)
    for number, file in enumerate(files):
        n_files = len(files) - number
        max_rows = math.ceil((limit - sample.rows) / n_files)
        add_rows(sample, file, names, max_rows)
    if not sample.rows:
        raise UserError(f"{files[0]}: expected rows after the header, got none.")
    if dialect.encoding == "cp1252":
        for text in chain(sample.columns, *sample.columns.values()):
            if ODD_LETTERS.search(text):
                sample.questions["encoding"] = (
                    f"Is {truncate(text)} right? If not, set encoding: cp1250 (Central"
                    " Europe) or encoding: cp1251 (Cyrillic)."
                )
                break
    return sample


def ask_about_dialect(sample: Sample, files: list[Path], limit: int) -> Dialect:
    """Add the sheet and the lines that are no rows to the dialect, with questions.

    Returns:
        The dialect in which to read the sample, without lines that may be rows in all
        files: otherwise, each of their cells would be asked about, too.
    """
    dialect = sample.dialect
    sheets = excel.list_sheets(files[0]) if excel.is_excel(files[0]) else []
    if len(sheets) > 1:
        dialect = dialect.model_copy(update={"sheet": sheets[0]})
        sample.questions["sheet"] = (
            f"Is this the right sheet? There are {format_list(sheets)}."
        )
    lines_by_number = defaultdict(list)
    max_lines = LINES_FOR_FORM + limit // len(files)
    for file in files:
        if has_header(file):
            fitted = fit_dialect(file, dialect)
            records = islice(csv.read_records(file, fitted), max_lines)
            tail = csv.read_last_lines(file, fitted)
            for line in find_extra_lines(records, tail):
                lines_by_number[line.number].append(line)
    in_all_files = []
    skipped = []
    doubtful = []
    for number, lines in lines_by_number.items():
        doubtful.append(lines[0])
        if len(lines) == len(files):
            in_all_files.append(number)
            if all(line.is_certain for line in lines):
                skipped.append(doubtful.pop())
    if lines_by_number:
        sample.questions["skip_lines"] = ask_about_lines(skipped, doubtful)
    skip_lines = tuple(line.number for line in skipped)
    sample.dialect = dialect.model_copy(update={"skip_lines": skip_lines})
    return dialect.model_copy(update={"skip_lines": tuple(in_all_files)})


def ask_about_lines(skipped: list[ExtraLine], doubtful: list[ExtraLine]) -> str:
    """Ask whether the skipped lines are no rows, and whether the doubtful ones are."""
    questions = []
    if skipped:
        questions.append(
            f"Not rows: {'; '.join(map(str, skipped))}. Is this right?",
        )
    numbers = [line.number for line in skipped]
    for line in doubtful:
        questions.append(
            f"Is {line} a row? If not, set skip_lines: {[*numbers, line.number]}.",
        )
    return " ".join(questions)


def find_extra_lines(
    records: Iterator[csv.Record],
    tail: list[list[str]],
) -> list[ExtraLine]:
    """Find the lines that are no rows: titles, units, a second header, notes, totals.

    Rows with too many or too few cells are such lines too, if there are few.

    Args:
        records: The lines of the file, or the first ones.
        tail: The last lines, which are perhaps the same.
    """
    head = [*islice(records, LINES_FOR_FORM)]
    if not head:
        return []
    # The header is the first line that has half as many cells as most rows.
    counts = [len(_texts(cells)) for _, cells in head]
    width = median(counts[len(counts) // 2 :])
    wide = [number for number, count in enumerate(counts) if count > width / 2]
    n_titles = min(wide, default=0)
    lines = [
        ExtraLine(number, cells, "a title")
        for number, cells in head[:n_titles]
        if any(cells)
    ]
    _, header = head[n_titles]
    rows = head[n_titles + 1 :]
    names = _texts(header)
    n_names = len(names)
    if header[:1] == [""]:  # pandas writes the numbers of rows without a name
        n_names += 1
    if len(rows) < MIN_ROWS or n_names < width:
        return []
    # Perhaps a line above is a header without some of the names, and this is a row.
    if lines and any(map(_is_number, names)):
        has_most_names = max(counts[:n_titles]) > width - 2
        if has_most_names or _is_number(names[0]):
            return []
    number_columns = set()
    for column in range(len(header)):
        cells_below = [_cell(cells, column) for _, cells in rows[1:]]
        texts = _texts(cells_below)
        n_numbers = sum(map(_is_number, texts))
        if texts and n_numbers >= MIN_NUMBER_SHARE * len(texts):
            number_columns.add(column)
    lines += _find_units(rows[0], header, number_columns)
    text_columns = {*range(len(header))} - number_columns
    lines += _find_lines_at_end(tail, header, text_columns)
    return lines + _find_odd_lines(chain(rows, records), header, lines)


def _find_units(
    record: csv.Record,
    header: list[str],
    number_columns: set[int],
) -> list[ExtraLine]:
    """Return the line below the header if it has units for the columns of numbers."""
    number, cells = record
    units = _texts([_cell(cells, column) for column in number_columns])
    if not units or cells == header:
        return []
    for unit in units:
        is_number = _is_number(unit) and not UNIT.fullmatch(unit)
        words = re.sub("[%‰$€£°]", "unit", unit)  # a symbol is a unit, and not missing
        if is_number or formats.may_mean_missing(words):
            return []
    are_certain = all(UNIT.fullmatch(unit) for unit in units)
    if not are_certain and len({*units}) == 1:
        return []
    return [ExtraLine(number, cells, "units", are_certain)]


def _find_lines_at_end(
    tail: list[list[str]],
    header: list[str],
    text_columns: set[int],
) -> list[ExtraLine]:
    """Find the notes and totals in the last lines of a file."""
    first = tail.index(header) + 2 if header in tail else 0
    rows = [cells for cells in tail[first:] if _texts(cells)]
    lines = list[ExtraLine]()
    while len(lines) < MAX_LINES_AT_END:
        above = rows[:-1]
        # If few have the length of the header, the lines were not split at the right
        # places.
        n_complete = sum(len(cells) >= len(header) for cells in above)
        if n_complete < MIN_ROWS or 2 * n_complete <= len(above):
            break
        last = rows[-1]
        form, is_certain = _form_at_end(last, above, text_columns)
        is_cut_off = len(last) < len(header) and not is_certain
        if not form or is_cut_off:
            break
        lines.append(ExtraLine(-1 - len(lines), last, form, is_certain))
        rows = above
    return lines


def _form_at_end(
    cells: list[str],
    rows: list[list[str]],
    text_columns: set[int],
) -> tuple[str, bool]:
    """Return what the last line seems to be, perhaps "", and whether it is certain.

    Args:
        cells: The line.
        rows: The lines above it.
        text_columns: The columns that are no numbers.
    """
    texts = _texts(cells)
    rows_above = rows[:-MAX_LINES_AT_END] or rows
    others_have_more = all(len(_texts(row)) > 2 for row in rows_above)
    is_short = 2 * len(texts) < len(rows[0])
    is_note = is_short and NOTE.match(texts[0])
    if is_note or (len(texts) == 1 and others_have_more):
        is_first = cells[0].strip() == texts[0]
        return "a note", is_first and not _is_number(texts[0])
    if not any(map(_is_number, texts)):
        return "", False
    labels = set()
    for column in range(len(cells)):
        label = _cell(cells, column)
        if TOTAL.fullmatch(label):
            labels.add(column)
            if any(_cell(row, column) == label for row in rows):
                return "", False
    has_text = any(_cell(cells, column) for column in text_columns - labels)
    if labels:
        is_doubtful = any(DOUBTFUL_TOTAL.fullmatch(text) for text in texts)
        return "a total", not (has_text or is_doubtful)
    have_texts = all(_cell(row, column) for row in rows for column in text_columns)
    is_total = text_columns and have_texts and not has_text
    return "a total" if is_total else "", False


def _find_odd_lines(
    rows: Iterator[csv.Record],
    header: list[str],
    lines: list[ExtraLine],
) -> list[ExtraLine]:
    """Find rows that repeat the header or lack its length, except for `lines`."""
    known_texts = [_texts(line.cells) for line in lines]
    n_rows = 0
    odd = []
    for number, cells in rows:
        n_rows += 1
        is_unnamed = len(cells) != len(header) or (cells[-1] and not header[-1])
        if cells == header:
            odd.append(ExtraLine(number, cells, "the header again"))
        elif is_unnamed and _texts(cells) not in known_texts:
            odd.append(ExtraLine(number, cells, "too many or too few cells"))
    if len(odd) <= min(MAX_ODD_LINES, MAX_ODD_SHARE * n_rows):
        return odd
    return [line for line in odd if line.cells == header]


def _texts(cells: list[str]) -> list[str]:
    return [*filter(None, map(str.strip, cells))]


def _cell(cells: list[str], column: int) -> str:
    return cells[column].strip() if column < len(cells) else ""


def _is_number(text: str) -> bool:
    return NUMBER.fullmatch(text) is not None


def add_names(sample: Sample, files: list[Path]) -> list[str]:
    """Add the names of the columns, and return those that can be read."""
    readable = set()
    unreadable = set()
    for file in files:
        dialect = fit_dialect(file, sample.reading)
        types = column_types(file, dialect)
        names = {*readable_names(types)}
        readable |= names
        unreadable |= {*types.names} - names
        if readable & unreadable:
            name = min(readable & unreadable)
            raise UserError(
                f"{file}, column {name}: expected the type of the other files.",
            )
        for name in types.names:
            sample.files[name].add(file.name)
        counts = Counter(types.names)
        repeated = sorted(name for name, count in counts.items() if count > 1)
        if repeated:
            place = str(file)
            if has_header(file):
                line, _ = csv.read_header(file, dialect)
                place = csv.describe_place(file, line)
            raise UserError(
                f"{place}: expected different column names, got"
                f" {format_list(map(repr, repeated))} more than once. Rename them in"
                " the file, or add the header if it is missing.",
            )
    if nested := [field.name for field in types if pa.types.is_nested(field.type)]:
        print(
            f"warn: {file}: The model cannot read the nested columns"
            f" {format_list(nested)}. Export the fields of structs as columns: python"
            " -c 'import sys, pyarrow.parquet as p; p.write_table(p.read_table("
            f'sys.argv[1]).flatten(), "table.parquet")\' {shlex.quote(str(file))}',
            file=sys.stderr,
        )
    return [name for name in sample.files if name in readable]


def add_rows(sample: Sample, file: Path, names: list[str], max_rows: int) -> None:
    """Add the first rows of a file to a sample."""
    for raw in read_rows(file, sample.reading, names):
        first_rows = raw._replace(cells=raw.cells[:max_rows])
        n_rows = len(first_rows.cells)
        max_rows -= n_rows
        sample.raw_rows.append(first_rows)
        cells = text_columns(first_rows, {}).to_pydict()
        for name in sample.files:
            texts = cells.get(name, [""] * n_rows)
            sample.columns[name].update(texts)
        rows = zip(*cells.values(), strict=True)
        sample.row_hashes.update(map(hash, rows))
        if n_rows < len(raw.cells):
            sample.is_complete = False
            break
