"""The sample of rows that a schema is inferred from, the form of its file, and odd lines."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from keras_tabular.config.schema import Dialect
from keras_tabular.core.errors import UserError, format_list, quote, truncate
from keras_tabular.infer import formats
from keras_tabular.infer.words import word_pattern
from keras_tabular.table import csv, excel
from keras_tabular.table.dialect import fit_dialect
from keras_tabular.table.rows import text_columns
from keras_tabular.table.source import column_types, is_csv, read_rows, readable_names

MIN_ROWS = 3
MIN_NUMBER_SHARE = 0.9  # of the cells of a column of numbers
MAX_LINES_AT_END = 5
# of the rows; with more, the header may be wrong
MAX_ODD_LINES = 10
MAX_ODD_SHARE = 0.1
LINES_FOR_FORM = 100
NUMBER = re.compile(r"[^A-Za-z]*\d[^A-Za-z]*(E[+-]?\d+|[A-Za-z/²³]{1,5})?")  # or a date
UNIT = re.compile(
    r"[\[(].+[\])]|[%‰$€£°]|°?[CFK]|[A-Z]{2,3}[$]?|[kMGmµμcd]?(g|m|s|l|L|W|Wh|V|A|Hz|Pa|bar|mol|J|€)"
    r"[23²³]?|\w{1,3}/\w{1,3}[23²³]?|t|h|d|a|lbs?|oz|ft|in|mi|min|ha|kcal|mmHg|ppm|"
    + word_pattern("unit"),
)
DOUBTFUL_TOTAL = re.compile(word_pattern("doubtful-total") + ":?", re.IGNORECASE)
TOTAL = re.compile(
    word_pattern("total") + ":?|" + DOUBTFUL_TOTAL.pattern,
    re.IGNORECASE,
)
NOTE = re.compile(word_pattern("note") + " ?:|[*¹©]", re.IGNORECASE)


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
        place = (
            f"line {self.number}"
            if self.number > 0
            else f"line {-self.number} from the end"
        )
        place = "the last line" if self.number == -1 else place
        return f"{place} ({quote(' '.join(filter(None, self.cells)))}, {self.form})"


def find_extra_lines(
    records: Iterator[csv.Record],
    tail: list[list[str]],
) -> list[ExtraLine]:
    """Find the lines that are no rows: titles, units, a second header, and lines at the end.

    Rows with too many or too few cells are such lines too, if there are few.

    Args:
        records: The lines of the file, or the first ones.
        tail: The last lines, which are perhaps the same.
    """
    head = [*islice(records, LINES_FOR_FORM)]
    counts = [len(_texts(cells)) for _, cells in head]
    width = median(counts[len(counts) // 2 :]) if counts else 0
    n_titles = next((n for n, count in enumerate(counts) if count > width / 2), 0)
    lines = [
        ExtraLine(*record, "a title") for record in head[:n_titles] if any(record[1])
    ]
    (_, header), *rows = head[n_titles:] or [(0, [])]
    names = _texts(header)
    # Perhaps the first line is a header without some of the names, and this is a row.
    may_be_row = any(map(_is_number, names)) and (
        _is_number(names[0]) or max(counts[:n_titles], default=0) > width - 2
    )
    n_names = len(names) + (
        header[:1] == [""]
    )  # pandas writes the numbers of rows without a name
    if len(rows) < MIN_ROWS or n_names < width or (lines and may_be_row):
        return []
    columns = range(len(header))
    numbers = {
        n for n in columns if _are_numbers([_cell(row, n) for _, row in rows[1:]])
    }
    units = [text for n in numbers if (text := _cell(rows[0][1], n))]
    may_be_row = any(
        formats.may_mean_missing(re.sub("[%‰$€£°]", "unit", text)) for text in units
    )
    may_be_row |= any(_is_number(text) and not UNIT.fullmatch(text) for text in units)
    if units and rows[0][1] != header and not may_be_row:
        are_units = all(map(UNIT.fullmatch, units))
        if are_units or len({*units}) > 1:
            lines.append(ExtraLine(*rows[0], "units", are_units))
    rows_at_end = tail[tail.index(header) + 2 :] if header in tail else tail
    rows_at_end = [row for row in rows_at_end if _texts(row)]
    # If few have the length of the header, the last lines were not split at the right
    # places.
    for number in range(1, MAX_LINES_AT_END + 1):
        *above, last = rows_at_end or [[]]
        if 2 * sum(len(row) >= len(header) for row in above) <= max(
            len(above),
            2 * MIN_ROWS - 1,
        ):
            break
        form, is_certain = _form_at_end(last, above, {*columns} - numbers)
        if not form or (not is_certain and len(last) < len(header)):  # perhaps cut off
            break
        lines.append(ExtraLine(-number, last, form, is_certain))
        rows_at_end = above
    return lines + _find_odd_lines(chain(rows, records), header, lines)


def _find_odd_lines(
    rows: Iterator[csv.Record],
    header: list[str],
    lines: list[ExtraLine],
) -> list[ExtraLine]:
    """Find the rows that repeat the header or do not have its length, except for `lines`."""
    known_texts = [_texts(line.cells) for line in lines]
    n_rows = 0
    odd = list[ExtraLine]()
    for number, cells in rows:
        n_rows += 1
        is_unnamed = len(cells) != len(header) or (cells[-1] and not header[-1])
        if cells == header:
            odd.append(ExtraLine(number, cells, "the header again"))
        elif is_unnamed and _texts(cells) not in known_texts:
            odd.append(ExtraLine(number, cells, "too many or too few cells"))
    are_few = len(odd) <= min(MAX_ODD_LINES, MAX_ODD_SHARE * n_rows)
    return odd if are_few else [line for line in odd if line.cells == header]


def _form_at_end(
    cells: list[str],
    rows: list[list[str]],
    text_columns: set[int],
) -> tuple[str, bool]:
    """Return what the last line seems to be, and whether that is certain, or an empty text.

    Args:
        rows: The lines above it.
        text_columns: The columns that are no numbers.
    """
    texts = _texts(cells)
    rows_above = rows[:-MAX_LINES_AT_END] or rows
    is_lone = len(texts) == 1 and all(len(_texts(row)) > 2 for row in rows_above)
    if is_lone or (2 * len(texts) < len(rows[0]) and NOTE.match(texts[0])):
        return "a note", cells[0].strip() == texts[0] and not _is_number(texts[0])
    labels = {n for n in range(len(cells)) if TOTAL.fullmatch(_cell(cells, n))}
    is_row = any(_cell(row, n) == _cell(cells, n) for row in rows for n in labels)
    others_are_empty = not any(_cell(cells, n) for n in text_columns - labels)
    if is_row or not any(map(_is_number, texts)):
        return "", False
    if labels:
        return "a total", others_are_empty and not any(
            DOUBTFUL_TOTAL.fullmatch(text) for text in texts
        )
    are_never_empty = all(_cell(row, n) for row in rows for n in text_columns)
    return (
        "a total" if text_columns and others_are_empty and are_never_empty else "",
        False,
    )


def _texts(cells: list[str]) -> list[str]:
    return [text for cell in cells if (text := cell.strip())]


def _cell(cells: list[str], column: int) -> str:
    return cells[column].strip() if column < len(cells) else ""


def _is_number(text: str) -> bool:
    return NUMBER.fullmatch(text) is not None


def _are_numbers(cells: list[str]) -> bool:
    texts = _texts(cells)
    return bool(texts) and sum(map(_is_number, texts)) >= MIN_NUMBER_SHARE * len(texts)


# Texts that usually stand for a missing value.
MISSING = {
    "NA",
    "N/A",
    "n/a",
    "#N/A",
    "NaN",
    "nan",
    "NULL",
    "null",
    "None",
    "none",
    "?",
    "-",
    ".",
}
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


def read_sample(files: list[Path], limit: int) -> Sample:
    """Read up to `limit` rows, the first ones of each file of a table.

    Raises:
        UserError: A file cannot be read, a header names a column twice, a column can be
            read in some of the files only, or there is no row.
    """
    dialects = [fit_dialect(file, Dialect()) for file in files if is_csv(file)] or [
        Dialect(),
    ]
    delimiters = [dialect.delimiter for dialect in dialects]
    # If cp1252 is declared, files in UTF-8 are recognised, and a file may be in ASCII
    # at first.
    dialect = max(
        dialects,
        key=lambda d: (delimiters.count(d.delimiter), d.encoding == "cp1252"),
    )
    sample = Sample(dialect, dialect.delimiter if is_csv(files[0]) else "")
    dialect = sample.reading = ask_about_dialect(sample, files, limit)
    readable = set[str]()
    unreadable = set[str]()
    for file in files:
        fitted = fit_dialect(file, dialect) if is_csv(file) else dialect
        types = column_types(file, fitted)
        readable |= (names := {*readable_names(types)})
        unreadable |= {*types.names} - names
        if mixed := readable & unreadable:
            raise UserError(
                f"{file}, column {min(mixed)}: expected the type of the other files.",
            )
        for name in types.names:
            sample.files[name].add(file.name)
        if repeated := sorted(
            name for name, count in Counter(types.names).items() if count > 1
        ):
            by_line = is_csv(file) or excel.is_excel(file)
            place = (
                csv.describe_place(file, csv.read_header(file, fitted)[0])
                if by_line
                else file
            )
            problem = f"got {format_list(map(repr, repeated))} more than once"
            advice = "Rename them in the file, or add the header if it is missing."
            raise UserError(
                f"{place}: expected different column names, {problem}. {advice}",
            )
    for number, file in enumerate(files):
        max_rows = math.ceil((limit - sample.rows) / (len(files) - number))
        for raw in read_rows(file, dialect, [n for n in sample.files if n in readable]):
            first_rows = raw._replace(cells=raw.cells[:max_rows])
            max_rows -= len(first_rows.cells)
            sample.raw_rows.append(first_rows)
            cells = text_columns(first_rows, {}).to_pydict()
            for name in sample.files:
                sample.columns[name].update(
                    cells.get(name, [""] * len(first_rows.cells)),
                )
            sample.row_hashes.update(map(hash, zip(*cells.values(), strict=True)))
            if len(first_rows.cells) < len(raw.cells):
                sample.is_complete = False
                break
    if not sample.rows:
        raise UserError(f"{files[0]}: expected rows after the header, got none.")
    if dialect.encoding == "cp1252":
        texts = chain(sample.columns, *sample.columns.values())
        if odd := next(filter(ODD_LETTERS.search, texts), ""):
            advice = (
                "If not, set encoding: cp1250 (Central Europe) or encoding: cp1251"
                " (Cyrillic)."
            )
            sample.questions["encoding"] = f"Is {truncate(odd)} right? {advice}"
    return sample


def ask_about_dialect(sample: Sample, files: list[Path], limit: int) -> Dialect:
    """Add the lines that are no rows and the sheet to the dialect, with a question about each.

    Lines that may be rows in all files are not in the sample: otherwise, each of their
    cells would be asked about, too.
    """
    changes: dict[str, Any] = {}
    if excel.is_excel(files[0]) and len(sheets := excel.list_sheets(files[0])) > 1:
        changes["sheet"] = sheets[0]
        sample.questions["sheet"] = (
            f"Is this the right sheet? There are {format_list(sheets)}."
        )
    lines = dict[int, list[ExtraLine]]()
    max_lines = LINES_FOR_FORM + limit // len(files)
    for file in files:
        if is_csv(file) or excel.is_excel(file):
            fitted = fit_dialect(file, sample.dialect)
            records = islice(csv.read_records(file, fitted), max_lines)
            for line in find_extra_lines(
                records,
                csv.read_last_lines(file, fitted),
            ):
                lines.setdefault(line.number, []).append(line)
    skipped = list[ExtraLine]()
    doubtful = list[ExtraLine]()
    for same in lines.values():
        is_certain = len(same) == len(files) and all(line.is_certain for line in same)
        (skipped if is_certain else doubtful).append(same[0])
    if lines:
        numbers = [line.number for line in skipped]
        changes["skip_lines"] = tuple(numbers)
        questions = [
            f"Is {line} a row? If not, set skip_lines: {[*numbers, line.number]}."
            for line in doubtful
        ]
        if skipped:
            questions.insert(
                0,
                f"Not rows: {'; '.join(map(str, skipped))}. Is this right?",
            )
        sample.questions["skip_lines"] = " ".join(questions)
    sample.dialect = sample.dialect.model_copy(update=changes)
    in_all_files = tuple(
        number for number, same in lines.items() if len(same) == len(files)
    )
    return sample.dialect.model_copy(update={"skip_lines": in_all_files})
