"""Find the lines of a file that are no rows, by their form: titles, units, totals and notes."""

import re
from collections.abc import Iterator
from itertools import chain, islice
from statistics import median
from typing import NamedTuple

from keras_tabular.core.errors import quote
from keras_tabular.schema_inference import formats
from keras_tabular.table.csv import Record

MIN_ROWS = 3
MIN_NUMBER_SHARE = 0.9  # of the cells of a column of numbers
MAX_LINES_AT_END = 5
MAX_ODD_LINES, MAX_ODD_SHARE = 10, 0.1  # of the rows; with more, the header may be wrong
LINES_FOR_FORM = 100
NUMBER = re.compile(r"[^A-Za-z]*\d[^A-Za-z]*(E[+-]?\d+|[A-Za-z/²³]{1,5})?")  # or a date
UNIT = re.compile(
    r"[\[(].+[\])]|[%‰$€£°]|°?[CFK]|[A-Z]{2,3}[$]?|[kMGmµμcd]?(g|m|s|l|L|W|Wh|V|A|Hz|Pa|bar|mol|J|€)"
    r"[23²³]?|\w{1,3}/\w{1,3}[23²³]?|t|h|d|a|lbs?|oz|ft|in|mi|min|ha|kcal|mmHg|ppm|pcs|Stk\.?|Stück"
    r"|(year|yr|month|day|hour|minute|second)s?|Jahre?|Monate?|Tage?|Stunden?|ans|años|anni"
)
# A word that may also be an ordinary value.
DOUBTFUL = r"sum|suma|soma|mean|average|mittelwert|durchschnitt|moyenne|media|promedio"
DOUBTFUL_TOTAL = re.compile(rf"({DOUBTFUL}):?", re.IGNORECASE)
TOTAL = re.compile(
    r"((grand |sub)?totals?|gesamt(summe)?|(zwischen)?summe|insgesamt|summa|somme|totale?"
    r"|totaal|totalt|i alt|yhteensä|razem|ogółem|celkem|spolu|ukupno|toplam|итого|összesen"
    rf"|total g[eé]n[eé]ral|{DOUBTFUL}):?",
    re.IGNORECASE,
)
NOTE = re.compile(
    r"(sources?|quellen?|fuente|fonte|bron|notes?|hinweis|stand) ?:|[*¹©]", re.IGNORECASE
)


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
        place = f"line {self.number}" if self.number > 0 else f"line {-self.number} from the end"
        place = "the last line" if self.number == -1 else place
        return f"{place} ({quote(' '.join(filter(None, self.cells)))}, {self.form})"


def find_extra_lines(records: Iterator[Record], tail: list[list[str]]) -> list[ExtraLine]:
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
    lines = [ExtraLine(*record, "a title") for record in head[:n_titles] if any(record[1])]
    (_, header), *rows = head[n_titles:] or [(0, [])]
    names = _texts(header)
    # Perhaps the first line is a header without some of the names, and this is a row.
    may_be_row = any(map(_is_number, names)) and (
        _is_number(names[0]) or max(counts[:n_titles], default=0) > width - 2
    )
    n_names = len(names) + (header[:1] == [""])  # pandas writes the numbers of rows without a name
    if len(rows) < MIN_ROWS or n_names < width or (lines and may_be_row):
        return []
    columns = range(len(header))
    numbers = {n for n in columns if _are_numbers([_cell(row, n) for _, row in rows[1:]])}
    units = [text for n in numbers if (text := _cell(rows[0][1], n))]
    may_be_gaps = any(formats.may_mean_missing(re.sub("[%‰$€£°]", "unit", text)) for text in units)
    if units and rows[0][1] != header and not may_be_gaps and not any(map(_is_number, units)):
        are_units = all(map(UNIT.fullmatch, units))
        if are_units or len({*units}) > 1:
            lines.append(ExtraLine(*rows[0], "units", are_units))
    rows_at_end = tail[tail.index(header) + 2 :] if header in tail else tail
    rows_at_end = [row for row in rows_at_end if _texts(row)]
    # If few have the length of the header, the last lines were not split at the right places.
    for number in range(1, MAX_LINES_AT_END + 1):
        *above, last = rows_at_end or [[]]
        if 2 * sum(len(row) >= len(header) for row in above) <= max(len(above), 2 * MIN_ROWS - 1):
            break
        form, is_certain = _form_at_end(last, above, {*columns} - numbers)
        if not form or (not is_certain and len(last) < len(header)):  # perhaps cut off
            break
        lines.append(ExtraLine(-number, last, form, is_certain))
        rows_at_end = above
    return lines + _find_odd_lines(chain(rows, records), header, lines)


def _find_odd_lines(
    rows: Iterator[Record], header: list[str], lines: list[ExtraLine]
) -> list[ExtraLine]:
    """Find the rows that repeat the header or do not have its length, except for `lines`."""
    known_texts, n_rows, odd = [_texts(line.cells) for line in lines], 0, list[ExtraLine]()
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
    cells: list[str], rows: list[list[str]], text_columns: set[int]
) -> tuple[str, bool]:
    """Return what the last line seems to be, and whether that is certain, or an empty text.

    Args:
        rows: The lines above it.
        text_columns: The columns that are no numbers.
    """
    texts, rows_above = _texts(cells), rows[:-MAX_LINES_AT_END] or rows
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
    return "a total" if text_columns and others_are_empty and are_never_empty else "", False


def _texts(cells: list[str]) -> list[str]:
    return [text for cell in cells if (text := cell.strip())]


def _cell(cells: list[str], column: int) -> str:
    return cells[column].strip() if column < len(cells) else ""


def _is_number(text: str) -> bool:
    return NUMBER.fullmatch(text) is not None


def _are_numbers(cells: list[str]) -> bool:
    texts = _texts(cells)
    return bool(texts) and sum(map(_is_number, texts)) >= MIN_NUMBER_SHARE * len(texts)
