"""Draw the packages of the project and their imports as an SVG picture."""

import tomllib
from argparse import ArgumentParser
from html import escape
from pathlib import Path

import grimp

WIDTH = 870
HEIGHT = 48
STEP = 64
MARGIN = 12
STYLE = (
    "text{font:11.5px"
    " sans-serif;fill:#5b6470}.name{font-size:14px;font-weight:600;fill:#1c2128}"
    "rect{fill:#f6f7f9;stroke:#945dd6}path{fill:none;stroke:#7a828d}"
)
Graph = dict[str, set[str]]


def find_package(module: str) -> str:
    """Return the package of a module; the package of a package is itself."""
    return (
        module if Path(module.replace(".", "/")).is_dir() else module.rpartition(".")[0]
    )


def read_imports() -> Graph:
    """Return the packages that the modules of each package import."""
    graph = grimp.build_graph("stages", "keras_tabular")
    imports: Graph = {find_package(module): set() for module in graph.modules}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            imports[find_package(module)].add(find_package(imported))
    return {
        package: imported - {package, "keras_tabular"}
        for package, imported in imports.items()
        if package != "keras_tabular"  # it contains the other packages
    }


def reduce_imports(imports: Graph) -> Graph:
    """Remove the imports that follow from other imports."""

    def reachable(package: str) -> set[str]:
        packages = {package}
        for imported in imports[package]:
            packages |= reachable(imported)
        return packages

    return {
        package: {
            target
            for target in imported
            if not any(target in reachable(other) for other in imported - {target})
        }
        for package, imported in imports.items()
    }


def read_order() -> list[str]:
    """Return the packages in the order of the data, which import-linter keeps."""
    settings = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    packages = []
    for layer in reversed(layers):
        packages += layer.split(" | ")
    return packages


def draw(imports: Graph, packages: list[str]) -> str:
    """Draw a box with the modules of each package, and an arc for each import."""
    order = [package for package in packages if package in imports]
    shapes = []
    for row, package in enumerate(order):
        y = MARGIN + row * STEP
        modules = sorted(
            path.stem for path in Path(package.replace(".", "/")).glob("*.py")
        )
        listed = ", ".join(name for name in modules if name != "__init__")
        shapes.append(
            f'<rect x="{MARGIN}" y="{y}" width="{WIDTH}" height="{HEIGHT}"'
            f' rx="6"/><text class="name" x="{MARGIN + 12}"'
            f' y="{y + 20}">{escape(package)}</text><text x="{MARGIN + 12}"'
            f' y="{y + 38}">{escape(listed)}</text>',
        )
    longest = 0
    for row, package in enumerate(order):
        for above in sorted(order.index(target) for target in imports[package]):
            longest = max(longest, row - above)
            start = MARGIN + row * STEP + 18
            end = MARGIN + above * STEP + 30
            bend = MARGIN + WIDTH + 22 + 34 * (row - above)
            shapes.append(
                f'<path d="M{MARGIN + WIDTH} {start}C{bend} {start} {bend} {end} '
                f'{MARGIN + WIDTH} {end}" marker-end="url(#tip)"/>',
            )
    width = WIDTH + 2 * MARGIN + 22 + 26 * longest
    height = len(order) * STEP + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}">'
        f'<style>{STYLE}</style><rect width="100%" height="100%"'
        ' style="fill:#fff;stroke:none"/>'
        '<marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" '
        'markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L8 4L0'
        ' 8"/></marker>'
        f"{''.join(shapes)}</svg>\n"
    )


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the SVG file to write")
    args = parser.parse_args()
    args.output.write_text(
        draw(reduce_imports(read_imports()), read_order()),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
