"""Draw random small tables, as people have them."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from tests.outcomes import Outcome, Table, run_table

# Numbers of rows; a long table has a column of texts and one of categories.
MIN_ROWS, MAX_ROWS = 24, 700
MIN_LONG_ROWS, MAX_LONG_ROWS = 2500, 5000


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
        texts = [f"{value:,{form}}" for value in values]
        rounded = np.array([float(text.replace(",", "")) for text in texts])
        separators = {ord(","): self.group, ord("."): self.point}
        return Cells([text.translate(separators) for text in texts], rounded)


def draw_numbers(rng: np.random.Generator, rows: int, style: NumberStyle) -> Cells:
    """Draw real or whole numbers of any magnitude and distribution."""
    values = rng.normal(size=rows)
    options = [
        (values * rng.choice([0.3, 1, 50]), ".3f"),  # as if the point separated thousands
        (1e4 * np.exp(2 * values), f".{rng.integers(0, 4)}f"),
        (rng.choice([1.0, -1e6, 1e9]) * (1 + 1e-9 * values), ".12g"),  # nearly constant
        (np.where(rng.random(rows) < 0.97, 5.5, values), ".4f"),
        (rng.standard_cauchy(rows), ".6g"),
        (10.0 ** rng.integers(-12, 13) * rng.choice([values, np.abs(values)]), ".8g"),
        (rng.integers(0, rng.choice([2, 3, 12, 100, 10**6, 10**12]), rows), ".0f"),
        (rng.poisson(rng.choice([0.1, 3, 200]), rows), ".0f"),
        (rng.integers(-5000, 5000, rows), ".0f"),
        (rng.integers(2000, 2024, rows), ".0f"),
    ]
    return style.write(*options[rng.integers(len(options))])


PAIRS = [
    *(("true", "false"), ("TRUE", "FALSE"), ("0", "1"), ("yes", "no"), ("Y", "N"), ("1", "2")),
    ("ill", "well"),
]
WORDS = ["red", "Blue ", "blue", "a;b", "x,y", 'say "hi"', "Ä", "no", "007", "-5", "", "2020-01-01"]


def draw_categories(rng: np.random.Generator, rows: int, _: NumberStyle) -> Cells:
    """Draw names with one, two, few or many distinct values; often, most rows have the same."""
    few = rng.choice(WORDS, rng.integers(1, 5)).tolist()
    many = [f"c{number}" for number in range(rng.integers(2, max(300, rows // 2)))]
    names = [few, many, [*PAIRS[rng.integers(len(PAIRS))]]][rng.integers(3)]
    shares = rng.dirichlet(np.full(len(names), rng.choice([0.5, 0.05])))
    return Cells(rng.choice(names, rows, p=shares).tolist())


DATE_FORMATS = [
    *("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y%m%d", "%d %b %Y", "%b %Y", "%m/%d/%y"),
    *("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S+02:00", "%d.%m.%Y %H:%M"),
]


def draw_dates(rng: np.random.Generator, rows: int, _: NumberStyle) -> Cells:
    """Draw dates or times in one format or in two."""
    start = pd.Timestamp(int(rng.integers(1970, 2020)), 1, 1)
    times = start + pd.to_timedelta(rng.integers(0, rng.choice([40, 4000]) * 86400, rows), unit="s")
    is_second = rng.random(rows) < rng.choice([0, 0, 0.3])
    formats = rng.choice(DATE_FORMATS, 2, replace=False)[is_second.astype(int)]
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
    options = [
        map(str, numbers),
        map(str, rng.permutation(numbers * 7)),
        (rng.bytes(8).hex() for _ in numbers),
        (f"{number:012}" for number in numbers),
    ]
    return Cells([*options[rng.integers(len(options))]])


def draw_units(rng: np.random.Generator, rows: int, style: NumberStyle) -> Cells:
    """Draw prices, percentages, times of day, or numbers with a stray word."""
    numbers = rng.lognormal(5, 2, rows)
    texts, values = style.write(numbers, ".2f")
    options = [
        Cells([f"${text}" for text in texts], values),
        Cells([f"{text} %" for text in texts], values),
        Cells([f"{int(number) % 24}:{int(number) % 60:02}" for number in numbers]),
        Cells([*texts[1:], "unknown"]),
    ]
    return options[rng.integers(len(options))]


COLUMNS = [
    *(draw_numbers, draw_numbers, draw_numbers, draw_categories, draw_categories, draw_dates),
    *(draw_texts, draw_identifiers, draw_units),
]
MISSING_MARKS = ["", "NA", "?", "-", "nan", "NULL"]


def remove_cells(rng: np.random.Generator, cells: Cells, max_share: float) -> Cells:
    """Replace a random share of the cells by marks for missing values."""
    rows = len(cells.texts)
    is_missing = rng.random(rows) < rng.choice([0.02, 0.3, 1]) * max_share
    marks = rng.choice(rng.choice(MISSING_MARKS, rng.integers(1, 3)), rows)
    texts = np.where(is_missing, marks, cells.texts).tolist()
    if cells.values is None:
        return Cells(texts)
    return Cells(texts, pd.Series(cells.values).mask(is_missing).to_numpy())


def draw_target(rng: np.random.Generator, signal: np.ndarray, style: NumberStyle) -> Cells:
    """Draw classes or numbers that depend on a signal of shape (rows,)."""
    rows = len(signal)
    ranks = np.argsort(np.argsort(signal + rng.choice([0.3, 3]) * rng.normal(size=rows))) / rows
    if rng.random() < 0.4:
        options = [
            (np.minimum(rng.poisson(6 * ranks), 18), ".0f"),
            (10.0 ** rng.integers(-6, 8) * np.exp(3 * ranks), ".6g"),
            (np.where(ranks < rng.choice([0.01, 0.9]), 0, 1000 * ranks), ".0f"),
        ]
        return style.write(*options[rng.integers(len(options))])
    if rng.random() < 0.2:
        spellings = [["yes", "Yes", "yes ", "YES"], ["no", "No ", "no", " no"]]
        return Cells([str(rng.choice(spellings[int(rank > 0.5)])) for rank in ranks])
    prefix, count = rng.choice(["class ", ""]), rng.integers(3, rng.choice([5, 9, 21]))
    numbered = [f"{prefix}{number}" for number in range(count)]
    names = [numbered, [*PAIRS[rng.integers(len(PAIRS))]]][rng.integers(2)]
    bounds = np.cumsum(rng.dirichlet(np.full(len(names), rng.choice([1, 20]))))
    texts = np.array(names, object)[np.searchsorted(bounds[:-1], ranks)].tolist()
    for row in rng.choice(rows, rng.choice([0, 0, 0, 2]), replace=False):
        texts[row] = f"once {row}"
    return Cells(texts)


NAMES = [
    *("", " ", "a", "b c", 'quote "', "it's", "a/b", "x.y", "größe", "名前", "n" * 300, "a\nb"),
    *("rows", "loss", "macro", "test", "accuracy", "target", "class", "index", "fold", "output_0"),
    *("predicted", "weight", "date", "time", "id", "customer_id", "Nr", "key", "no", "null", "1"),
    *("3.5", "true", "~", "-x", "#", "a: b", "[x]", "{y}", "*", "&amp;", "<b>", "%d", "=1+1"),
    *("a,b", "a;b"),
]
# Delimiters with a decimal point, and the separators of thousands that may come with them.
STYLES = [(",", ".", ",'"), (";", ",", ". "), (";", ".", ","), ("\t", ".", ",")]


def random_table(seed: int, is_long: bool) -> Table:
    """Draw the table of a seed."""
    rng = np.random.default_rng(seed)
    limits = (MIN_LONG_ROWS, MAX_LONG_ROWS) if is_long else (MIN_ROWS, MAX_ROWS)
    rows = int(np.exp(rng.uniform(*np.log(limits))))
    delimiter, point, groups = STYLES[rng.integers(len(STYLES))]
    style = NumberStyle(point, str(rng.choice([*groups, "", ""])))
    signal = rng.normal(size=rows)
    columns = [style.write(signal, ".4f")]
    draws = [COLUMNS[number] for number in rng.choice(len(COLUMNS), rng.integers(1, 9))]
    draws += [draw_texts, draw_categories] if is_long else []
    for draw in draws:
        cells = draw(rng, rows, style)
        columns.append(remove_cells(rng, cells, 0.9) if rng.random() < 0.4 else cells)
    target = draw_target(rng, signal, style)
    columns.append(remove_cells(rng, target, 0.3) if rng.random() < 0.2 else target)
    order = np.arange(rows)  # of the rows in the file, some of which may be there twice
    repeated_rows = rng.choice([0, 0, rows // 20 + 1, rows])
    order[:repeated_rows] = rng.choice(rows, repeated_rows)
    names = rng.choice(NAMES, len(columns), replace=False).tolist()
    by_name = dict(zip(names, columns, strict=True))
    frame = pd.DataFrame({name: cells.texts for name, cells in by_name.items()})
    frame = frame.iloc[order, rng.permutation(len(names))]
    line_end = str(rng.choice(["\n", "\r\n"]))
    csv = frame.to_csv(index=False, sep=delimiter, lineterminator=line_end)
    values = {n: cells.values[order] for n, cells in by_name.items() if cells.values is not None}
    return Table(csv, names[-1], values)


def run_seed(seed: int) -> Outcome:
    """Run the table of a seed; every fourth one is long, and every seventh trains two networks."""
    return run_table(random_table(seed, is_long=seed % 4 == 3), both=seed % 7 == 0)
