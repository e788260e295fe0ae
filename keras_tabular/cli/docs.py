"""Print a page of the documentation; without a page, list all pages."""

from argparse import ArgumentParser
from pathlib import Path

from keras_tabular.core.errors import align_columns

PACKAGE = Path(__file__).parents[1]
FOLDERS = (
    PACKAGE / "docs",
    PACKAGE.parent / "docs",
)  # of an installed package, and of a clone


def main(parser: ArgumentParser) -> None:
    folder = next(folder for folder in FOLDERS if folder.is_dir())
    pages = {
        path.stem: path.read_text(encoding="utf-8")
        for path in sorted(folder.glob("*.md"))
    }
    add = parser.add_argument
    add(
        "page",
        nargs="?",
        metavar="PAGE",
        choices=pages,
        help="name of the page, such as schema",
    )
    name = parser.parse_args().page
    if name is None:
        titles = [
            [page, text.partition("\n")[0].lstrip("# ")] for page, text in pages.items()
        ]
        print(align_columns(titles))
    else:
        print(pages[name], end="")
