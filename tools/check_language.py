"""Check names, docstrings and links, as a step of `make check`.

- A name says what it stands for: words such as `found` or `given` are no names.
- The first line of a docstring is a sentence that can be read alone.
- A link in a page leads to a file of the repository and to a heading in it.
"""

import ast
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt

CODE_FOLDERS = ("keras_tabular", "stages", "tests", "benchmarks", "tools")
PAGES = ("*.md", "docs/*.md")
VAGUE_NAME = re.compile(
    "_*(found|of|said|told|shown|given|held|kept|taken|every|there|these|mine|own"
    "|theirs|beside|besides|others|asked|begun|used|known)_*",
)
VAGUE_START = re.compile(
    r"(Of|See|Those|That|These|The same|For|From|By|In|As|Some|Each|All"
    r" of|Which|Whose)\b",
)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def main(root: Path) -> int:
    """Print what is wrong in a repository; return 1 if there is something, else 0."""
    problems = []
    for folder in CODE_FOLDERS:
        for file in sorted((root / folder).rglob("*.py")):
            path = file.relative_to(root)
            problems += [f"{path}:{text}" for text in check_code(file.read_text())]
    for pattern in PAGES:
        for page in sorted(root.glob(pattern)):
            path = page.relative_to(root)
            problems += [f"{path}:{text}" for text in check_links(page)]
    for problem in problems:
        print(problem)
    return int(bool(problems))


def check_code(source: str) -> Iterator[str]:
    """Find vague names, and docstrings that do not begin with a sentence.

    The fields of a class may have any name: some of them are keys of files.

    Yields:
        The number of a line, a colon, and what is wrong there.
    """
    nodes = list(ast.walk(ast.parse(source)))
    yield from check_names(nodes)
    yield from check_docstrings(nodes)


def check_names(nodes: list[ast.AST]) -> Iterator[str]:
    """Find vague names where they are bound."""
    fields = []
    for node in nodes:
        if isinstance(node, ast.ClassDef):
            declared = [line for line in node.body if isinstance(line, ast.AnnAssign)]
            fields += [line.target for line in declared]
    for node in nodes:
        match node:
            case (
                ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name)
            ):
                is_bound = True
            case ast.Name(id=name):
                is_bound = isinstance(node.ctx, ast.Store) and node not in fields
            case _:
                continue
        if is_bound and VAGUE_NAME.fullmatch(name):
            yield f"{node.lineno}: the name {name!r} does not say what it stands for"


def check_docstrings(nodes: list[ast.AST]) -> Iterator[str]:
    """Find docstrings whose first line is not a sentence of its own."""
    for node in nodes:
        if not isinstance(node, DOCUMENTED):
            continue
        docstring = ast.get_docstring(node)
        if not docstring:
            continue
        first_line = docstring.splitlines()[0]
        line = node.body[0].lineno
        if VAGUE_START.match(first_line):
            yield f"{line}: the docstring begins with a vague word: {first_line}"
        if not first_line.endswith((".", "?")):
            yield (
                f"{line}: the first line of the docstring is not a sentence:"
                f" {first_line}"
            )


def check_links(page: Path) -> Iterator[str]:
    """Find links that lead to no file, or to no heading of a page.

    Yields:
        The number of a line, a colon, and what is wrong there.
    """
    for line, link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists():
            yield f"{line}: no such file: {link}"
        elif anchor and anchor not in anchors(target):
            yield f"{line}: no such heading: {link}"


def links(page: Path) -> Iterator[tuple[int, str]]:
    """Return the number of the line and the target of each relative link and image."""
    for block in MarkdownIt().enable("table").parse(page.read_text()):
        line = block.map[0] + 1 if block.map else 0
        for token in block.children or []:
            line += token.type in ("softbreak", "hardbreak")
            link = str(token.attrs.get("href") or token.attrs.get("src") or "")
            if link and not re.match(r"[a-z]+:", link):
                yield line, link


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub forms them."""
    tokens = MarkdownIt().enable("table").parse(page.read_text())
    headings = [
        "".join(token.content for token in inline.children or [])
        for opening, inline in pairwise(tokens)
        if opening.type == "heading_open"
    ]
    return {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}


if __name__ == "__main__":
    sys.exit(main(Path(__file__).parents[1]))
