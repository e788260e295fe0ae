"""Print a page of the documentation; without a page, list all pages."""

from argparse import ArgumentParser
from pathlib import Path

from keras_tabular.core.errors import align_columns

PACKAGE = Path(__file__).parents[1]


def main(parser: ArgumentParser) -> None:
    folder = PACKAGE / "docs"
    if not folder.is_dir():  # this is a clone, not an installed package
        folder = PACKAGE.parent / "docs"
    paths = sorted(folder.glob("*.md"))
    pages = {path.stem: path.read_text("utf-8") for path in paths}
    parser.add_argument(
        "page",
        nargs="?",
        metavar="PAGE",
        choices=pages,
        help="name of the page, such as schema",
    )
    name = parser.parse_args().page
    if name is None:
        titles = []
        for page, text in pages.items():
            title = text.splitlines()[0].lstrip("# ")
            titles.append([page, title])
        print(align_columns(titles))
    else:
        print(pages[name], end="")
