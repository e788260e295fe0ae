"""Draw random small tables, as people have them."""

import csv
from collections.abc import Callable
from io import StringIO
from typing import NamedTuple

import numpy as np
import pandas as pd

from tests.outcomes import Outcome, Table, run_table

MIN_ROWS, MAX_ROWS = 24, 700


class Cells(NamedTuple):
    """The cells of a column.

    Attributes:
        texts: The cells as the file has them.
        values: Their values as float64 or datetime64[us], if they are numbers or dates.
    """

    texts: list[str]
    values: np.ndarray | None = None


class NumberStyle(NamedTuple):
    """The decimal point of a file, and its thousands separator, which may be empty."""

    point: str
    group: str

    def write(self, values: np.ndarray, form: str) -> Cells:
        """Format numbers; the values of the cells are the rounded numbers."""
        if self.group and "f" in form:
            form = f",{form}"
        texts = [f"{value:{form}}" for value in values]
        rounded = np.array([float(text.replace(",", "")) for text in texts])
        separators = {ord(","): self.group, ord("."): self.point}
        return Cells([text.translate(separators) for text in texts], rounded)


def draw_numbers(rng: np.random.Generator, rows: int, style: NumberStyle) -> Cells:
    """Draw real numbers of any magnitude, some of them skewed, nearly constant or of one sign."""
    values = rng.normal(size=rows)
    match rng.integers(6):
        case 0:  # three decimals: the decimal point looks like a thousands separator
            return style.write(values * rng.choice([0.3, 1, 50]), ".3f")
        case 1:
            return style.write(1e4 * np.exp(2 * values), f".{rng.integers(0, 4)}f")
        case 2:  # nearly constant: the spread is far smaller than the numbers
            return style.write(rng.choice([1.0, -1e6, 1e9]) * (1 + 1e-9 * values), ".12g")
        case 3:
            return style.write(np.where(rng.random(rows) < 0.97, 5.5, values), ".4f")
        case 4:
            return style.write(rng.standard_cauchy(rows), ".6g")
    magnitude = 10.0 ** rng.integers(-12, 13)
    return style.write(magnitude * rng.choice([values, np.abs(values)]), ".8g")


def draw_integers(rng: np.random.Generator, rows: int, style: NumberStyle) -> Cells:
    """Draw whole numbers, small or large, with few or many distinct values."""
    values = [
        rng.integers(0, rng.choice([2, 3, 12, 100, 10**6, 10**12]), rows),
        rng.poisson(rng.choice([0.1, 3, 200]), rows),
        rng.integers(-5000, 5000, rows),
        2000 + rng.integers(0, 24, rows),
    ][rng.integers(4)]
    return style.write(values.astype(float), ".0f")


def draw_categories(rng: np.random.Generator, rows: int, _: NumberStyle) -> Cells:
    """Draw names with few or many distinct values, some rare, some with two spellings."""
    words = ["red", "Blue ", "blue", "a;b", "x,y", 'say "hi"', "Ä", "no", "007", "-5"]
    few, many = rng.choice(words, 4).tolist(), [f"c{n}" for n in range(rng.integers(2, 300))]
    chosen = [few, many][rng.integers(2)]
    shares = rng.dirichlet(np.full(len(chosen), 0.5))
    return Cells(rng.choice(chosen, rows, p=shares).tolist())


def draw_booleans(rng: np.random.Generator, rows: int, _: NumberStyle) -> Cells:
    """Draw true and false as tables spell them; sometimes one of them is rare."""
    pairs = [("true", "false"), ("TRUE", "FALSE"), ("0", "1"), ("yes", "no"), ("Y", "N")]
    pair = pairs[rng.integers(len(pairs))]
    return Cells([pair[int(flag)] for flag in rng.random(rows) < rng.choice([0.5, 0.98])])


DATE_FORMATS = [
    *("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y%m%d", "%d %b %Y", "%b %Y", "%m/%d/%y"),
    *("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S+02:00", "%d.%m.%Y %H:%M"),
]


def draw_dates(rng: np.random.Generator, rows: int, _: NumberStyle) -> Cells:
    """Draw dates or times in one format or in two."""
    start = pd.Timestamp(int(rng.integers(1970, 2020)), 1, 1)
    times = start + pd.to_timedelta(rng.integers(0, rng.choice([40, 4000]) * 86400, rows), unit="s")
    both_formats = rng.choice(DATE_FORMATS, 2, replace=False)
    is_second = rng.random(rows) < rng.choice([0, 0, 0.3])
    formats = both_formats[is_second.astype(int)]
    texts = [time.strftime(form) for time, form in zip(times, formats, strict=True)]
    values = [
        pd.to_datetime(text, format=form.replace("+02:00", "%z"), utc=True).to_datetime64()
        for text, form in zip(texts, formats, strict=True)
    ]
    return Cells(texts, np.array(values, "datetime64[us]"))


def draw_texts(rng: np.random.Generator, rows: int, _: NumberStyle) -> Cells:
    """Draw texts of 1 to 11 words, which may contain line breaks, quotes and delimiters."""
    words = [*(f"word{number}" for number in range(80)), "naïve", '"quoted"', "two\nlines", "5;6"]
    return Cells([" ".join(rng.choice(words, rng.integers(1, 12))) for _ in range(rows)])


def draw_identifiers(rng: np.random.Generator, rows: int, _: NumberStyle) -> Cells:
    """Draw a different identifier for each row: a number, a hash, or a code."""
    numbers = np.arange(rows) + rng.choice([0, 1, 1000, 10**9])
    match rng.integers(4):
        case 0:
            return Cells([str(number) for number in numbers])
        case 1:
            return Cells([str(number) for number in rng.permutation(numbers * 7)])
        case 2:
            return Cells([rng.bytes(8).hex() for _ in range(rows)])
    return Cells([f"{number:012}" for number in numbers])


def draw_constant(rng: np.random.Generator, rows: int, _: NumberStyle) -> Cells:
    """Draw the same text for all rows, or for all but one."""
    texts = [str(rng.choice(["0", "3.5", "same", "", "2020-01-01", "true"]))] * rows
    if rng.random() < 0.5:
        texts[rng.integers(rows)] = str(rng.choice(["1", "other", ""]))
    return Cells(texts)


def draw_units(rng: np.random.Generator, rows: int, style: NumberStyle) -> Cells:
    """Draw prices, percentages, times of day, or numbers with a stray word."""
    values = rng.lognormal(5, 2, rows)
    cells = style.write(values, ".2f")
    match rng.integers(4):
        case 0:
            return Cells([f"${text}" for text in cells.texts], cells.values)
        case 1:
            return Cells([f"{text} %" for text in cells.texts], cells.values)
        case 2:
            return Cells([f"{int(value) % 24}:{int(value) % 60:02}" for value in values])
    return Cells([*cells.texts[1:], "unknown"])


COLUMNS: list[Callable[[np.random.Generator, int, NumberStyle], Cells]] = [
    *(draw_numbers, draw_numbers, draw_numbers, draw_integers, draw_integers, draw_categories),
    *(draw_categories, draw_booleans, draw_dates, draw_texts, draw_identifiers, draw_constant),
    draw_units,
]
MISSING_MARKS = ["", "NA", "?", "-", "nan", "NULL"]


def remove_cells(rng: np.random.Generator, cells: Cells, max_share: float) -> Cells:
    """Replace a random share of the cells by marks for missing values."""
    missing = rng.random(len(cells.texts)) < rng.choice([0.02, 0.3, 1]) * max_share
    marks = rng.choice(MISSING_MARKS, rng.integers(1, 3))
    texts = [
        str(rng.choice(marks)) if missing[row] else text for row, text in enumerate(cells.texts)
    ]
    values = None if cells.values is None else cells.values.copy()
    if values is not None:
        values[missing] = np.nan if values.dtype == float else np.datetime64("NaT")
    return Cells(texts, values)


def draw_target(rng: np.random.Generator, signal: np.ndarray, style: NumberStyle) -> Cells:
    """Draw classes or numbers that depend on a signal of shape (rows,)."""
    rows = len(signal)
    ranks = np.argsort(np.argsort(signal + rng.choice([0.3, 3]) * rng.normal(size=rows))) / rows
    match rng.integers(8):
        case 0 | 1:
            pairs = [("yes", "no"), ("0", "1"), ("True", "False"), ("1", "2"), ("ill", "well")]
            pair = pairs[rng.integers(len(pairs))]
            return Cells([pair[int(rank > rng.choice([0.5, 0.5, 0.9]))] for rank in ranks])
        case 2 | 3:
            count = int(rng.integers(3, rng.choice([5, 9, 21])))
            prefix = "class " if rng.random() < 0.6 else ""
            names = [f"{prefix}{number}" for number in range(count)]
            bounds = np.cumsum(rng.dirichlet(np.full(count, rng.choice([1, 20]))))
            texts = [names[min(np.searchsorted(bounds, rank), count - 1)] for rank in ranks]
            for row in rng.choice(rows, rng.choice([0, 0, 0, 2]), replace=False):
                texts[row] = f"once {row}"
            return Cells(texts)
        case 4:
            spellings = [["yes", "Yes", "yes ", "YES"], ["no", "No ", "no", " no"]]
            return Cells([str(rng.choice(spellings[int(rank > 0.5)])) for rank in ranks])
        case 5:  # counts
            return style.write(np.minimum(rng.poisson(6 * ranks), 18).astype(float), ".0f")
        case 6:
            return style.write(10.0 ** rng.integers(-6, 8) * np.exp(3 * ranks), ".6g")
    mostly_zero = np.where(ranks < rng.choice([0.01, 0.9]), 0, 1000 * ranks)
    return style.write(mostly_zero, rng.choice([".0f", ".3f"]))


NAMES = [
    *("", " ", "a", "b c", 'quote "', "it's", "a/b", "x.y", "größe", "名前", "n" * 300, "a\nb"),
    *("rows", "loss", "macro", "test", "accuracy", "target", "class", "index", "fold", "output_0"),
    *("predicted", "weight", "date", "time", "id", "customer_id", "Nr", "key", "no", "null", "1"),
    *("3.5", "true", "~", "-x", "#", "a: b", "[x]", "{y}", "*", "&amp;", "<b>", "%d", "=1+1"),
    *("a,b", "a;b"),
]


def random_table(seed: int, max_rows: int = MAX_ROWS) -> Table:
    """Draw the table of a seed, with 24 to `max_rows` rows."""
    rng = np.random.default_rng(seed)
    rows = int(np.exp(rng.uniform(np.log(MIN_ROWS), np.log(max_rows + 1))))
    delimiter = str(rng.choice([",", ",", ";", ";", "\t"]))
    has_decimal_comma = delimiter == ";" and rng.random() < 0.7
    separators = [".", " ", "", ""] if has_decimal_comma else [",", "'", "", "", ""]
    style = NumberStyle("," if has_decimal_comma else ".", str(rng.choice(separators)))
    signal = rng.normal(size=rows)
    columns = [style.write(signal, ".4f")]
    for draw in rng.choice(len(COLUMNS), rng.integers(1, 9)):
        cells = COLUMNS[draw](rng, rows, style)
        columns.append(remove_cells(rng, cells, 0.9) if rng.random() < 0.4 else cells)
    target = draw_target(rng, signal, style)
    columns.append(remove_cells(rng, target, 0.3) if rng.random() < 0.2 else target)
    order = np.arange(rows)  # of the rows in the file, some of which may be there twice
    if rng.random() < 0.2:
        order = rng.choice(rows, rows)
    elif rng.random() < 0.3:
        order[: rows // 20 + 1] = rng.choice(rows, rows // 20 + 1)
    names = rng.choice(NAMES, len(columns), replace=False).tolist()
    places = rng.permutation(len(columns))
    file = StringIO()
    writer = csv.writer(file, delimiter=delimiter, lineterminator=str(rng.choice(["\n", "\r\n"])))
    writer.writerow([names[place] for place in places])
    writer.writerows([columns[place].texts[row] for place in places] for row in order)
    values = {
        name: cells.values[order]
        for name, cells in zip(names, columns, strict=True)
        if cells.values is not None
    }
    return Table(file.getvalue(), names[-1], values)


def run_seed(seed: int, max_rows: int = MAX_ROWS) -> Outcome:
    """Run the table of a seed; every eighth seed trains both architectures."""
    return run_table(random_table(seed, max_rows), both=seed % 8 == 0)
